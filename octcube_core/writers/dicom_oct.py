"""A volume as an Ophthalmic Tomography Image (PS3.3 A.52).

The distance between B-scans is Spacing Between Slices, the pattern is coded in Scan Pattern Type (CID 4272), and the
place of each B-scan on the en-face image is its Ophthalmic Frame Location. Each B-scan is a frame of one stack. A
raster whose directions are known on an en-face image of known pixel size has planes in patient coordinates (x to the
left of the patient, y to the back, z up; the en-face image lies in x and -z), of an arbitrary origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import OphthalmicTomographyImageStorage, generate_uid
from pydicom.valuerep import DSfloat

from octcube_core.exam import Exam, ScanPattern
from octcube_core.readers.dicom_private import write_private
from octcube_core.writers.dicom_header import Visit, add_eye_state, code_sequence, new_dataset
from octcube_core.writers.dicom_pixels import StoredPixels, add_pixels, value_mapping

_CORNER = (
    0.5  # Reference Coordinates count from the corner of the first pixel, ours from its centre
)
_IN_STACK_POSITION, _FRAME_CONTENT = 0x00209057, 0x00209111
_PATTERN: dict[ScanPattern, Code] = {
    "raster": codes.DCM.RasterBScanPattern,
    "radial": codes.DCM.RadialBScanPattern,
    "circle": codes.DCM.CircleBScanPattern,
    "line": codes.DCM.LineBScanPattern,
}
_MOST_POINTS = 8000
_STRAIGHT = 1e-3  # of a pixel
_SQUARE = 1e-3  # cosine of an angle that counts as a right one


@dataclass(frozen=True)
class Planes:
    """A raster in patient coordinates: direction of a B-scan, and the step to the next, both of length 1."""

    along: NDArray[np.float64]
    across: NDArray[np.float64]


def oct_dataset(visit: Visit, pixels: StoredPixels, enface: list[FileDataset]) -> FileDataset:
    """Everything of the file but Pixel Data, given the datasets of the exam's en-face images."""
    exam = visit.exam
    dataset = new_dataset(visit, OphthalmicTomographyImageStorage, 1, "OCT")
    dataset.Modality = "OPT"
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    add_pixels(dataset, pixels)
    # Ophthalmic Tomography demands these three of every image (C.8.17.7), though it is no concatenation.
    dataset.ConcatenationFrameOffsetNumber = 0
    dataset.InConcatenationNumber = 1
    dataset.InConcatenationTotalNumber = 1
    dataset.AcquisitionContextSequence = Sequence()
    dataset.FrameOfReferenceUID = visit.frame_of_reference_uid
    dataset.PositionReferenceIndicator = ""
    planes = raster_planes(exam)
    dataset.OphthalmicVolumetricPropertiesFlag = "YES" if planes else "NO"
    if planes:
        dataset.OphthalmicAnatomicReferencePointXCoordinate = None
        dataset.OphthalmicAnatomicReferencePointYCoordinate = None
    _add_device(dataset, exam)
    _add_dimensions(dataset)
    dataset.SharedFunctionalGroupsSequence = Sequence([_shared(visit, pixels, enface, planes)])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(
        _frame(exam, index, enface, planes) for index in range(len(pixels.values))
    )
    axial, lateral = exam.volume.spacing_mm[1:]
    partly = (axial is None) != (lateral is None)
    write_private(
        dataset, exam.volume.spacing_mm if partly else None, pixels.value_range, pixels.scale
    )
    return dataset


def raster_planes(exam: Exam) -> Planes | None:
    """Directions of a raster of known size, or None if they cannot be known."""
    if exam.scan_pattern != "raster" or not exam.volume.is_metric or exam.locations is None:
        return None
    down, right = exam.enface[exam.locations.image].spacing_mm
    lines = exam.locations.polylines
    if down is None or right is None or len(lines) < 2:
        return None
    if any(len(line) != 2 for line in lines):
        return None
    ends = np.stack(lines) * np.array([down, right])
    runs, steps = ends[:, 1] - ends[:, 0], np.diff(ends[:, 0], axis=0)
    tolerance = _STRAIGHT * max(down, right)
    if np.ptp(runs, axis=0).max() > tolerance or np.ptp(steps, axis=0).max() > tolerance:
        return None
    lengths = np.hypot(*runs[0]), np.hypot(*steps[0])
    if min(lengths) <= tolerance:
        return None
    along, across = runs[0] / lengths[0], steps[0] / lengths[1]
    if abs(along @ across) > _SQUARE:
        return None  # lines that start beside each other are no box of voxels
    # (row, column) -> x to the right of the picture, which is the patient's left, and z up.
    return Planes(*(np.array([way[1], 0.0, -way[0]]) for way in (along, across)))


def _add_device(dataset: Dataset, exam: Exam) -> None:
    dataset.AxialLengthOfTheEye = None
    add_eye_state(dataset)
    dataset.AcquisitionDeviceTypeCodeSequence = code_sequence(
        codes.SCT.OpticalCoherenceTomographyScanner
    )
    dataset.LightPathFilterTypeStackCodeSequence = Sequence()
    dataset.DetectorType = "INT"
    if exam.scan_pattern is not None:
        dataset.ScanPatternTypeCodeSequence = code_sequence(_PATTERN[exam.scan_pattern])
    for unknown in (
        "IlluminationWaveLength",
        "IlluminationPower",
        "IlluminationBandwidth",
        "DepthSpatialResolution",
        "MaximumDepthDistortion",
        "AlongScanSpatialResolution",
        "MaximumAlongScanDistortion",
        "AcrossScanSpatialResolution",
        "MaximumAcrossScanDistortion",
    ):
        setattr(dataset, unknown, 0.0)  # DICOM demands a number; no exam states one


def _add_dimensions(dataset: Dataset) -> None:
    organization = Dataset()
    organization.DimensionOrganizationUID = generate_uid()
    dataset.DimensionOrganizationSequence = Sequence([organization])
    index = Dataset()
    index.DimensionOrganizationUID = organization.DimensionOrganizationUID
    index.DimensionIndexPointer = _IN_STACK_POSITION
    index.FunctionalGroupPointer = _FRAME_CONTENT
    index.DimensionDescriptionLabel = "B-scan"
    dataset.DimensionIndexSequence = Sequence([index])


def _shared(
    visit: Visit, pixels: StoredPixels, enface: list[FileDataset], planes: Planes | None
) -> Dataset:
    group = Dataset()
    pitch, axial, lateral = visit.exam.volume.spacing_mm
    measures = Dataset()
    if axial is not None and lateral is not None:
        measures.PixelSpacing = [DSfloat(value, auto_format=True) for value in (axial, lateral)]
    if pitch is not None:
        measures.SpacingBetweenSlices = DSfloat(pitch, auto_format=True)
        if planes:
            measures.SliceThickness = measures.SpacingBetweenSlices  # volumes must state it
    group.PixelMeasuresSequence = Sequence([measures])
    anatomy = Dataset()
    anatomy.FrameLaterality = visit.side
    anatomy.AnatomicRegionSequence = code_sequence(codes.SCT.Retina)
    group.FrameAnatomySequence = Sequence([anatomy])
    orientation = Dataset()
    group.PlaneOrientationSequence = Sequence([orientation])
    if planes:
        orientation.ImageOrientationPatient = _decimals([*planes.along, 0.0, 1.0, 0.0])
    if enface:
        group.ReferencedImageSequence = Sequence(_reference(image) for image in enface)
    if pixels.scale:
        group.RealWorldValueMappingSequence = value_mapping(pixels.scale)
    return group


def _frame(exam: Exam, index: int, enface: list[FileDataset], planes: Planes | None) -> Dataset:
    group = Dataset()
    content = Dataset()
    content.FrameAcquisitionNumber = index + 1
    content.StackID = "1"
    content.InStackPositionNumber = index + 1
    content.DimensionIndexValues = [index + 1]
    group.FrameContentSequence = Sequence([content])
    position = Dataset()
    group.PlanePositionSequence = Sequence([position])
    if planes:
        pitch = exam.volume.spacing_mm[0] or 0.0
        position.ImagePositionPatient = _decimals(planes.across * (pitch * index))
    if exam.locations is not None:
        line = _thinned(exam.locations.polylines[index])
        location = _reference(enface[exam.locations.image])
        location.ReferenceCoordinates = (line + _CORNER).ravel().tolist()
        location.OphthalmicImageOrientation = "LINEAR" if len(line) == 2 else "NONLINEAR"
        group.OphthalmicFrameLocationSequence = Sequence([location])
    return group


def _thinned(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """The line with as many of its points as an element of 64 kB can hold."""
    if len(line) <= _MOST_POINTS:
        return line
    kept = np.linspace(0, len(line) - 1, _MOST_POINTS).round().astype(int)
    return np.asarray(line[kept], dtype=np.float64)


def _reference(image: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID = image.SOPClassUID
    reference.ReferencedSOPInstanceUID = image.SOPInstanceUID
    reference.PurposeOfReferenceCodeSequence = code_sequence(codes.DCM.Localizer)
    return reference


def _decimals(values: Any) -> list[DSfloat]:
    return [DSfloat(float(value) + 0.0, auto_format=True) for value in values]
