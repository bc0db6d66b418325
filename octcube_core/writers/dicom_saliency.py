"""The saliency of one target as a DICOM Parametric Map (PS3.3 A.75) that refers to the files it was computed from.

A frame per layer of tokens, 32-bit floating point, in mm: in the source's frame of reference where its frames state
their planes, else in one of its own, whose axes are x along a B-scan, y in depth and z across the B-scans, and whose
origin is the centre of the first voxel. Study, series and instance UIDs of the source are kept, as a reference is made
of them; of the patient and the visit nothing is, unless it is asked for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from octcube_core import __version__
from octcube_core.exam import Exam
from octcube_core.export import target_files
from octcube_core.readers.quiet import quiet_warnings
from octcube_core.results import DISCLAIMER, Analysis
from octcube_core.writers.dicom_header import UNKNOWN, code_sequence
from octcube_core.writers.dicom_reasons import check_dicom
from octcube_core.writers.dicom_source import Box, DicomSource, find_source
from octcube_core.writers.facts import SYNTHETIC_EYE, is_synthetic

if TYPE_CHECKING:
    from highdicom.pm import ParametricMap

FILES = "saliency_{}.dcm"
SERIES_NUMBER = 9001  # behind those of devices
_SIDE = {"OD": "R", "OS": "L", None: "B"}
_OWN_AXES = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")
_STUDY = ("StudyDate", "StudyTime", "AccessionNumber", "StudyID", "ReferringPhysicianName")
_GRADIENTS = "Grad-CAM"


def write_saliency_dicom(
    path: Path, exam: Exam, analysis: Analysis, target: str, keep_identity: bool = False
) -> None:
    """Write the map of one target.

    Raises
    ------
    InputError
        If `why_no_dicom` says why not, the exam's files are gone, or the model does not explain the target.
    """
    source = _source(exam)
    _write(path, source, exam, analysis, target, generate_uid(), keep_identity)


def write_all_saliency_dicom(folder: Path, exam: Exam, analysis: Analysis) -> tuple[str, ...]:
    """Write the maps of all targets, without identity, as one series, and return the names of the files."""
    source, series = _source(exam), generate_uid()
    names = target_files(FILES, analysis.targets)
    for target, name in names.items():
        _write(folder / name, source, exam, analysis, target, series, False)
    return tuple(names.values())


def _source(exam: Exam) -> DicomSource:
    check_dicom(exam)
    return find_source(exam)


def _write(
    path: Path,
    source: DicomSource,
    exam: Exam,
    analysis: Analysis,
    target: str,
    series: str,
    keep_identity: bool,
) -> None:
    with quiet_warnings():  # highdicom's quote values, so a patient's name
        dataset = _parametric_map(source, exam, analysis, target, series, keep_identity)
        _say_what_it_is(dataset, exam, analysis, target, keep_identity)
        dataset.save_as(path, enforce_file_format=True)


def _parametric_map(
    source: DicomSource,
    exam: Exam,
    analysis: Analysis,
    target: str,
    series: str,
    keep_identity: bool,
) -> ParametricMap:
    import highdicom as hd

    known = [value for value in exam.volume.spacing_mm if value is not None]  # all three are
    step, first = analysis.grid.scale_and_translate(known)
    box = source.box or Box(np.zeros(3), _OWN_AXES)
    origin = box.origin + first @ box.axes
    places = origin + np.arange(analysis.grid.shape[0])[:, None] * step[0] * box.axes[0]
    orientation = [*box.axes[2], *box.axes[1]]
    system = hd.CoordinateSystemNames.PATIENT
    stand_ins = _stand_ins(source, exam, box.origin, orientation, keep_identity)
    index = analysis.index(target)
    return hd.pm.ParametricMap(
        source_images=stand_ins[:1],
        further_source_images=stand_ins[1:],
        pixel_array=np.ascontiguousarray(analysis.saliency[index], np.float32),
        series_instance_uid=series,
        series_number=SERIES_NUMBER,
        sop_instance_uid=generate_uid(),
        instance_number=index + 1,
        manufacturer="napari-octcube",
        manufacturer_model_name=_text(analysis.card.title),
        software_versions=__version__,
        device_serial_number=UNKNOWN,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            hd.pm.RealWorldValueMapping(
                lut_label=_text(target, 16),
                lut_explanation=_text(f"{analysis.method} saliency, {analysis.name_of(target)}"),
                unit=codes.UCUM.NoUnits,
                value_range=(0.0, 1.0),
                slope=1.0,
                intercept=0.0,
                quantity_definition=_quantity(analysis.method),
            )
        ],
        voi_lut_transformations=[hd.VOILUTTransformation(window_center=0.5, window_width=1.0)],
        transfer_syntax_uid=ExplicitVRLittleEndian,
        pixel_measures=hd.PixelMeasuresSequence(
            pixel_spacing=(float(step[1]), float(step[2])),
            slice_thickness=float(step[0]),
            spacing_between_slices=float(step[0]),
        ),
        plane_orientation=hd.PlaneOrientationSequence(system, orientation),
        plane_positions=[hd.PlanePositionSequence(system, list(place)) for place in places],
        content_label="SALIENCY",
        content_description=_text(f"Saliency for {analysis.name_of(target)}"),
        specific_character_set="ISO_IR 192",
    )


def _stand_ins(
    source: DicomSource,
    exam: Exam,
    place: NDArray[np.float64],
    orientation: list[float],
    keep_identity: bool,
) -> list[Dataset]:
    """What highdicom is told of the source: only that, so that nothing else of it can get into the file."""
    head = source.first
    frame = head.text("FrameOfReferenceUID") if source.box else generate_uid()
    stand_ins = []
    for sop_class, instance in source.instances:
        dataset = Dataset()
        dataset.SpecificCharacterSet = "ISO_IR 192"
        for keyword in (*_PATIENT, *_STUDY):
            setattr(dataset, keyword, head.text(keyword) if keep_identity else "")
        dataset.StudyInstanceUID = head.text("StudyInstanceUID")
        dataset.SeriesInstanceUID = head.text("SeriesInstanceUID")
        dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, instance
        dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = frame, ""
        dataset.NumberOfFrames, dataset.Rows, dataset.Columns = 1, *exam.volume.shape[1:]
        measures, turn, position = Dataset(), Dataset(), Dataset()
        measures.PixelSpacing = list(exam.volume.spacing_mm[1:])
        turn.ImageOrientationPatient = [float(value) for value in orientation]
        position.ImagePositionPatient = [float(value) for value in place]
        shared, frame_group = Dataset(), Dataset()
        shared.PixelMeasuresSequence = [measures]
        shared.PlaneOrientationSequence = [turn]
        frame_group.PlanePositionSequence = [position]
        dataset.SharedFunctionalGroupsSequence = [shared]
        dataset.PerFrameFunctionalGroupsSequence = [frame_group]
        for part in (measures, turn, position):  # where files of one frame have them
            dataset.update(part)
        stand_ins.append(dataset)
    return stand_ins


def _say_what_it_is(
    dataset: Dataset, exam: Exam, analysis: Analysis, target: str, keep_identity: bool
) -> None:
    """Add what highdicom does not ask for: eye, method, disclaimer, and whether the patient is named."""
    synthetic = f" {SYNTHETIC_EYE}" if is_synthetic(exam) else ""
    dataset.SeriesDescription = _text(f"Saliency, {analysis.card.title}")
    dataset.ImageComments = (
        f"{analysis.method} saliency at {analysis.layer} for {analysis.name_of(target)} ({target}) by "
        f"{analysis.card.title}; 1 is the maximum of the volume. {DISCLAIMER}.{synthetic}"
    )
    anatomy = Dataset()
    anatomy.FrameLaterality = _SIDE[exam.laterality]
    anatomy.AnatomicRegionSequence = code_sequence(codes.SCT.Retina)
    dataset.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [anatomy]
    dataset.PatientIdentityRemoved = "NO" if keep_identity else "YES"
    if not keep_identity:
        dataset.DeidentificationMethod = "No attribute of the patient or the visit is written"
    dataset.LongitudinalTemporalInformationModified = "UNMODIFIED" if keep_identity else "REMOVED"


def _quantity(method: str) -> Any:
    gradients = method.startswith(_GRADIENTS)
    return codes.DCM.GradientWeightedClassActivation if gradients else codes.DCM.Saliency


def _text(text: str, most: int = 64) -> str:
    """Text that a DICOM string of so many characters takes."""
    return re.sub(r"[\\\x00-\x1f\x7f]", " ", text).strip()[:most].strip()
