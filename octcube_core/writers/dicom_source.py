"""The DICOM files that an exam was read from, found again: what a file made from them refers to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.readers.dicom_elements import (
    IMAGE_ORIENTATION,
    IMAGE_POSITION,
    PLANE_ORIENTATION,
    PLANE_POSITION,
    items,
    numbers,
)
from octcube_core.readers.dicom_file import DicomFile, read_file, read_summary
from octcube_core.readers.dicom_neighbours import files_beside
from octcube_core.readers.dicom_order import ordered_groups
from octcube_core.readers.dicom_values import reading_dicom

GONE = "The DICOM files of this exam are not where they were; please open the exam again."
_SAME = 1e-3
_EVEN = 0.05  # of the distance between B-scans, as readers allow


@dataclass(frozen=True)
class Box:
    """Where the volume lies in the source's frame of reference, in mm.

    Attributes
    ----------
    origin : (x, y, z) of the centre of voxel (0, 0, 0)
    axes : array, shape (3, 3)
        Directions of (B-scans, depth, width) as rows, each of length 1.
    """

    origin: NDArray[np.float64]
    axes: NDArray[np.float64]


@dataclass(frozen=True)
class DicomSource:
    """The files of a volume; the first one stands for all.

    Attributes
    ----------
    instances : tuple of (SOP Class UID, SOP Instance UID)
    box : Box or None
        None where the frames have no planes, or not those of a box.
    """

    first: DicomFile
    instances: tuple[tuple[str, str], ...]
    box: Box | None


def find_source(exam: Exam) -> DicomSource:
    """Find the files of an exam of the format DICOM.

    Raises
    ------
    InputError
        If they are not there any more, or do not hold what the exam holds.
    """
    if exam.source is None or not exam.source.is_file():
        raise InputError(GONE)
    with reading_dicom(exam.source):
        first = read_file(exam.source)
        files = (first, *_other_files(first, exam.volume.shape[0]))
        instances = tuple((file.sop_class, file.instance) for file in files)
        if not all(class_ and instance for class_, instance in instances):
            raise InputError(
                "The DICOM files of this exam have no UID, so nothing can refer to them."
            )
        if not (first.text("StudyInstanceUID") and first.text("SeriesInstanceUID")):
            raise InputError(
                "The DICOM files of this exam name no study or series, so nothing can refer to them."
            )
        return DicomSource(first, instances, _box(first, exam) if len(files) == 1 else None)
    raise AssertionError("unreachable")


def _other_files(first: DicomFile, bscans: int) -> list[DicomFile]:
    """The other parts of a volume in several files."""
    if _frames(first) == bscans or _is_transverse(first, bscans):
        return []
    series = first.text("SeriesInstanceUID")
    others = [
        file
        for path in files_beside(first.path)
        if (file := read_summary(path)) is not None
        and (file.sop_class, file.text("SeriesInstanceUID")) == (first.sop_class, series)
    ]
    if sum(map(_frames, (first, *others))) != bscans:
        raise InputError(GONE)
    return others


def _frames(file: DicomFile) -> int:
    return file.whole("NumberOfFrames", 1)


def _is_transverse(first: DicomFile, bscans: int) -> bool:
    """Whether the frames are en-face planes, whose rows are the B-scans."""
    return first.whole("Rows", 0) == bscans


def _box(file: DicomFile, exam: Exam) -> Box | None:
    """Where the frames of one file lie, if they are the planes that the exam's spacing tells."""
    bscans = exam.volume.shape[0]
    pitch = exam.volume.spacing_mm[0]
    if _frames(file) != bscans or pitch is None or not file.text("FrameOfReferenceUID"):
        return None
    groups = ordered_groups(file)[0].frame_groups
    points = [
        numbers(item, IMAGE_POSITION) for group in groups for item in items(group, PLANE_POSITION)
    ]
    turns = [
        numbers(item, IMAGE_ORIENTATION)
        for group in (file.shared, *groups)
        for item in items(group, PLANE_ORIENTATION)
    ]
    if len(points) != bscans or any(len(point) != 3 for point in points):
        return None
    if not turns or any(len(turn) != 6 for turn in turns):
        return None
    places, angles = np.asarray(points, float), np.asarray(turns, float)
    along, down = angles[0, :3], angles[0, 3:]
    step = (places[-1] - places[0]) / max(bscans - 1, 1)
    length = float(np.linalg.norm(step))
    even = places[0] + np.arange(bscans)[:, None] * step
    square = np.abs(np.array([along @ along - 1, down @ down - 1, along @ down])).max() <= _SAME
    if not square or np.ptp(angles, axis=0).max() > _SAME or abs(length - pitch) > _EVEN * pitch:
        return None
    if np.abs(places - even).max() > _EVEN * pitch:
        return None
    across = step / length
    if abs(across @ along) > _SAME or abs(across @ down) > _SAME:
        return None  # a sheared stack is no box
    return Box(places[0], np.stack([across, down, along]))
