"""A series of single-frame DICOM files, one per B-scan, as one exam."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam
from octcube_core.readers.dicom_elements import (
    FRAME_GROUPS,
    IMAGE_ORIENTATION,
    IMAGE_POSITION,
    PIXEL_MEASURES,
    PIXEL_SPACING,
    PLANE_ORIENTATION,
    PLANE_POSITION,
    Item,
    Value,
    items,
    numbers,
)
from octcube_core.readers.dicom_exam import build_exam
from octcube_core.readers.dicom_file import DicomFile, read_file
from octcube_core.readers.dicom_neighbours import pair
from octcube_core.readers.dicom_pixels import Frames, Layout, frame_layout, read_frames
from octcube_core.readers.dicom_values import reading_dicom, stated_numbers
from octcube_core.readers.failures import check_volume_bytes

STARTS_LATE = "The numbers of the B-scans start at {first}; earlier ones may be missing."

_MODULE_ELEMENTS = (  # single-frame files may state outside of functional groups what belongs there
    (PIXEL_MEASURES, PIXEL_SPACING, "PixelSpacing", 2),
    (PLANE_POSITION, IMAGE_POSITION, "ImagePositionPatient", 3),
    (PLANE_ORIENTATION, IMAGE_ORIENTATION, "ImageOrientationPatient", 6),
)


def read_stack(paths: Sequence[Path], photographs: Sequence[Path]) -> Exam:
    """Read files of one B-scan each as a volume of shape (files, rows, columns).

    They are ordered by position where all state one, else by Instance Number.

    Raises
    ------
    ExamReadError
        If Instance Numbers are missing or doubled, the B-scans differ in size, or one cannot be read.
    """
    with reading_dicom(paths[0]):
        found = [read_file(path) for path in paths]
        layouts = [frame_layout(file) for file in found]
        _check_alike(found, layouts)
        numbers_stated = _instance_numbers(found)
        groups = [_frame_group(file) for file in found]
        order = _order(groups, numbers_stated)
        found, groups = [found[index] for index in order], [groups[index] for index in order]
        first = layouts[0]
        check_volume_bytes(paths[0], (len(found), first.rows, first.columns), first.allocated // 8)
        decoded = [
            read_frames(file, layout)
            for file, layout in zip(found, (layouts[index] for index in order), strict=True)
        ]
        frames = Frames(np.concatenate([frame.values for frame in decoded]), decoded[0].value_range)
        whole = replace(found[0], rest={FRAME_GROUPS: groups})
        candidates = [read_file(path) for path in photographs]
        exam = build_exam(whole, frames, pair(whole, candidates), {})
        start = min(numbers_stated, default=1)
        if start > 1:
            late = STARTS_LATE.format(first=start)
            exam = replace(exam, warnings=(*exam.warnings, late))
        return exam
    raise AssertionError("unreachable")


def _check_alike(found: Sequence[DicomFile], layouts: Sequence[Layout]) -> None:
    for file, layout in zip(found, layouts, strict=True):
        if layout != layouts[0] or layout.frames != 1:
            raise ExamReadError(
                f"{file.path.name} differs in size or type from the other B-scans of its series; open it by itself."
            )


def _instance_numbers(found: Sequence[DicomFile]) -> list[int]:
    """The Instance Number of each file, or none if no file states one."""
    stated = [file.whole("InstanceNumber", -1) for file in found]
    if max(stated) < 0:
        return []
    ordered = sorted(stated)
    for before, after in pairwise(ordered):
        if before == after or before < 0:
            what = "without a number" if before < 0 else f"with the number {before} twice"
            raise ExamReadError(
                f"The series of {found[0].path.name} has B-scans {what}; export the series again."
            )
        if after != before + 1:
            raise ExamReadError(
                f"The series of {found[0].path.name} lacks the B-scan with the number {before + 1}; copy or export all "
                "of its files."
            )
    return stated


def _order(groups: Sequence[Item], numbers_stated: Sequence[int]) -> list[int]:
    places = _positions(groups)
    if places is not None:
        forward = [int(index) for index in np.argsort(places, kind="stable")]
        # Positions know the order, the numbers the direction in which it was scanned.
        if numbers_stated and numbers_stated[forward[0]] > numbers_stated[forward[-1]]:
            forward.reverse()
        return forward
    if not numbers_stated:
        raise ExamReadError(
            "The B-scans of a series state neither a position nor a number; open one by itself."
        )
    return [int(index) for index in np.argsort(numbers_stated)]


def _positions(groups: Sequence[Item]) -> NDArray[np.float64] | None:
    """Places of parallel planes along their normal, if all are stated and differ."""
    points, axes = [], []
    for group in groups:
        point = [numbers(item, IMAGE_POSITION) for item in items(group, PLANE_POSITION)]
        direction = [numbers(item, IMAGE_ORIENTATION) for item in items(group, PLANE_ORIENTATION)]
        if len(point) != 1 or len(point[0]) != 3 or len(direction) != 1 or len(direction[0]) != 6:
            return None
        points.append(point[0])
        axes.append(direction[0])
    if np.ptp(axes, axis=0).max() > 1e-3:
        return None
    places = np.array(points) @ np.cross(axes[0][:3], axes[0][3:])
    return places if len(np.unique(np.round(places, 6))) == len(places) else None


def _frame_group(file: DicomFile) -> Item:
    """What a single-frame file states of its frame, wherever it does."""
    group: Item = {}
    for sequence, element, keyword, count in _MODULE_ELEMENTS:
        values = stated_numbers(file.head, keyword, count)
        if values:
            text = "\\".join(repr(value) for value in values).encode("ascii")
            group[sequence] = [{element: Value("DS", text)}]
    group.update(file.shared)
    for own in file.frame_groups[:1]:
        group.update(own)
    return group
