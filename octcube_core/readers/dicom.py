"""DICOM: Ophthalmic Tomography (OPT) and other multi-frame files, each frame one B-scan.

Spacing comes from the functional groups alone (see `dicom_geometry`); secondary captures and the
like have none. Identity (name, id, dates) goes into ``Exam.patient`` and nowhere else.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import FileDataset
from pydicom.encaps import parse_basic_offsets, parse_fragments
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import get_expected_length

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, Laterality, OCTVolume, Patient
from octcube_core.readers.dicom_geometry import frame_groups, scan_geometry
from octcube_core.readers.failures import (
    COLOURED_BSCANS,
    check_volume_bytes,
    reading,
    spacing_warnings,
)
from octcube_core.readers.intensity import display_intensities, luminance
from octcube_core.readers.options import NO_OPTIONS, ReadOptions

_FUNDUS_OR_RESULT = {
    uid.OphthalmicPhotography8BitImageStorage,
    uid.OphthalmicPhotography16BitImageStorage,
    uid.WideFieldOphthalmicPhotographyStereographicProjectionImageStorage,
    uid.WideFieldOphthalmicPhotography3DCoordinatesImageStorage,
    uid.OphthalmicOpticalCoherenceTomographyEnFaceImageStorage,
    uid.OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage,
}
_LATERALITY: dict[str, Laterality] = {"R": "OD", "L": "OS"}


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a DICOM file as a volume of shape (frames, rows, columns).

    ``value_range`` follows Bits Stored; MONOCHROME1 is inverted so that bright is reflective.

    Raises
    ------
    ExamReadError
        If the file is truncated or damaged, holds no B-scans, states another number of frames than
        it holds, or is compressed in a way that cannot be decoded.
    """
    with reading(path, "a DICOM file"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's quote values, so a patient's name
        dataset = pydicom.dcmread(path, force=True)  # the dispatcher has checked the signature
        _check_is_bscans(path, dataset)
        frames = int(dataset.get("NumberOfFrames") or 1)
        _check_frames(path, dataset, frames)
        voxels, value_range, coloured = _intensities(dataset, frames)
        geometry = scan_geometry(dataset, frames)
        volume = OCTVolume(voxels, geometry.spacing_mm, value_range)
        return Exam(
            volume,
            laterality=_laterality(dataset),
            scan_pattern=geometry.scan_pattern,
            device=_device(dataset),
            source=path,
            format="DICOM",
            warnings=(
                *spacing_warnings(volume.spacing_mm, frames),
                *geometry.warnings,
                *((COLOURED_BSCANS,) if coloured else ()),
            ),
            patient=_patient(dataset),
        )


def _check_is_bscans(path: Path, dataset: FileDataset) -> None:
    if dataset.get("SOPClassUID") in _FUNDUS_OR_RESULT:
        raise ExamReadError(
            f"{path.name} is a fundus image or an analysis, not B-scans; open the OCT file of the "
            "same exam."
        )
    if "PixelData" not in dataset:
        raise ExamReadError(
            f"{path.name} holds no images: it is truncated or not an OCT file; export it again."
        )
    syntax = dataset.file_meta.get("TransferSyntaxUID", uid.ImplicitVRLittleEndian)
    dataset.file_meta.TransferSyntaxUID = syntax
    try:
        decodes = get_decoder(syntax).is_available
    except NotImplementedError:
        decodes = False
    if not decodes:
        raise ExamReadError(
            f"{path.name} is compressed as {syntax.name}, which cannot be decoded here; export it "
            "uncompressed, as JPEG 2000, JPEG-LS or RLE."
        )


def _check_frames(path: Path, dataset: FileDataset, frames: int) -> None:
    """Compare the stated number of frames with the stored ones before decoding any."""
    shape = (frames, int(dataset.Rows), int(dataset.Columns), int(dataset.SamplesPerPixel))
    check_volume_bytes(path, shape, -(-int(dataset.BitsAllocated) // 8))
    stored = _stored_frames(dataset, frames)
    if stored != frames or 0 in shape:
        raise ExamReadError(
            f"{path.name} states {frames} frames of {shape[1]} x {shape[2]} pixels but holds "
            f"{stored}; it is truncated or damaged: export it again."
        )


def _stored_frames(dataset: FileDataset, frames: int) -> int:
    data: bytes = dataset.PixelData or b""
    if not dataset.file_meta.TransferSyntaxUID.is_compressed:
        per_frame = get_expected_length(dataset) / max(frames, 1)
        return int(len(data) / per_frame) if per_frame else 0
    offsets = parse_basic_offsets(data)
    start = 8 + 4 * len(offsets)  # the offset table is an item, too
    fragments, _ = parse_fragments(data[start:])
    if offsets:
        return len(offsets) if fragments >= len(offsets) else fragments
    return 1 if frames == 1 and fragments else fragments


def _intensities(
    dataset: FileDataset, frames: int
) -> tuple[NDArray[Any], tuple[float, float] | None, bool]:
    """Voxels (frame, row, column), what is black and white, and whether they were coloured."""
    values: NDArray[Any] = dataset.pixel_array
    interpretation = str(dataset.PhotometricInterpretation)
    if interpretation == "PALETTE COLOR":
        values = apply_color_lut(values, dataset)
    if frames == 1:
        values = values[np.newaxis]
    coloured = False
    if values.ndim == 4:
        values, coloured = luminance(values)
    if values.dtype.kind not in "ui" or interpretation == "PALETTE COLOR":
        return display_intensities(values), None, coloured
    white = 2 ** int(dataset.BitsStored) - 1
    if values.dtype.kind == "i":
        values = values.astype(np.int64) + (white + 1) // 2
    if values.min() < 0 or values.max() > white:
        values = np.clip(values, 0, white)  # overlays in the unused bits
    if interpretation == "MONOCHROME1":
        values = white - values
    return display_intensities(values), (0.0, float(white)), coloured


def _laterality(dataset: FileDataset) -> Laterality | None:
    stated = [dataset.get("ImageLaterality")]
    for group in frame_groups(dataset):
        for anatomy in group.get("FrameAnatomySequence") or ():
            stated.append(anatomy.get("FrameLaterality"))
    stated.append(dataset.get("Laterality"))
    eyes = [_LATERALITY[str(side)] for side in stated if str(side) in _LATERALITY]
    return eyes[0] if eyes and len(set(eyes)) == 1 else None


def _device(dataset: FileDataset) -> str | None:
    maker = str(dataset.get("Manufacturer") or "").strip()
    model = str(dataset.get("ManufacturerModelName") or "").strip()
    return " ".join(part for part in (maker, model) if part) or None


def _patient(dataset: FileDataset) -> Patient:
    def text(keyword: str) -> str | None:
        return str(dataset.get(keyword) or "").strip() or None

    def date(*keywords: str) -> str | None:
        found = next((value for keyword in keywords if (value := text(keyword))), None)
        if found is None or not found[:8].isdigit() or len(found) < 8:
            return found
        return f"{found[:4]}-{found[4:6]}-{found[6:8]}"

    return Patient(
        text("PatientName"),
        text("PatientID"),
        date("PatientBirthDate"),
        date("AcquisitionDateTime", "AcquisitionDate", "ContentDate", "StudyDate"),
    )
