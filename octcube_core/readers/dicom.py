"""DICOM: Ophthalmic Tomography (OPT) and other multi-frame files, each frame one B-scan, with their fundus images.

Spacing and places come from the functional groups (see `dicom_geometry` and `dicom_location`); secondary captures and
the like have none. Identity (name, id, dates) goes into ``Exam.patient`` and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydicom import uid

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, Modality
from octcube_core.readers.dicom_concatenation import check_whole
from octcube_core.readers.dicom_exam import UNREADABLE_FUNDUS, build_exam, check_groups
from octcube_core.readers.dicom_file import PHOTOGRAPHS, DicomFile, read_file
from octcube_core.readers.dicom_location import named_images
from octcube_core.readers.dicom_neighbours import (
    NOT_FOUND,
    Pairing,
    contradict,
    find_photographs,
    oct_file_of,
)
from octcube_core.readers.dicom_order import in_order
from octcube_core.readers.dicom_pixels import frame_layout, read_frames
from octcube_core.readers.dicom_values import reading_dicom
from octcube_core.readers.options import NO_OPTIONS, ReadOptions

_ANALYSES = (
    uid.OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage,
    uid.ParametricMapStorage,  # such as our own saliency
)


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a DICOM file as a volume of shape (frames, rows, columns), with the fundus images beside it.

    ``value_range`` follows Bits Stored; MONOCHROME1 is inverted so that bright is reflective. Fundus images are those
    that the file refers to and those of the same patient, study and eye in its folder.

    Raises
    ------
    ExamReadError
        If the file is truncated or damaged, holds no B-scans or only part of a volume, states another
        number of frames than it holds, or is compressed in a way that cannot be decoded.
    """
    with reading_dicom(path):
        file = read_file(path)
        _check_is_bscans(file)
        return _exam(file, find_photographs, {})
    raise AssertionError("unreachable")


def assemble(
    volume_file: Path,
    photographs: Sequence[Path],
    modalities: Mapping[Path, Modality] | None = None,
) -> Exam:
    """Read a DICOM file with fundus images that the caller knows to belong to it.

    Parameters
    ----------
    volume_file : Path
    photographs : sequence of Path
        In the order in which they become ``Exam.enface``, but the one on which the B-scans are placed first.
    modalities : mapping of Path to str, optional
        Overrides what a photograph says of itself.

    Raises
    ------
    ExamReadError
        As `read`; a photograph that cannot be read, or is of another patient or eye, is left out with a warning.
    """
    with reading_dicom(volume_file):
        file = read_file(volume_file)
        _check_is_bscans(file)
        found: list[DicomFile] = []
        notes: list[str] = []
        for path in photographs:
            try:
                photograph = read_file(path)
            except ExamReadError:
                notes.append(UNREADABLE_FUNDUS)
                continue
            if contradict(file, photograph):
                notes.append("A fundus image is of another patient or eye; it is left out.")
            else:
                found.append(photograph)
        wanted = named_images(file)
        placed = {photograph.instance for photograph in found}
        if wanted and not placed.intersection(wanted):
            notes.append(NOT_FOUND)
        found.sort(key=lambda photograph: photograph.instance not in wanted)
        pairing = Pairing(tuple(found), tuple(notes))
        return _exam(file, lambda _: pairing, modalities or {})
    raise AssertionError("unreachable")


def _check_is_bscans(file: DicomFile) -> None:
    if file.sop_class not in PHOTOGRAPHS and file.sop_class not in _ANALYSES:
        return
    other = oct_file_of(file) if file.sop_class in PHOTOGRAPHS else None
    hint = f"open {other}, which belongs to it" if other else "open the OCT file of the same exam"
    raise ExamReadError(f"{file.path.name} is a fundus image or an analysis, not B-scans; {hint}.")


def _exam(
    file: DicomFile,
    pairing_of: Callable[[DicomFile], Pairing],
    modalities: Mapping[Path, Modality],
) -> Exam:
    notes = check_whole(file)
    layout = frame_layout(file)
    check_groups(file, layout.frames)  # before any is decoded
    file, frames, order_notes = in_order(file, read_frames(file, layout))
    pairing = pairing_of(file)
    pairing = replace(pairing, warnings=(*pairing.warnings, *notes, *order_notes))
    return build_exam(file, frames, pairing, modalities)
