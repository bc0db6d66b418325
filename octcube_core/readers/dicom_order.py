"""In which order the frames of a DICOM file lie in the eye: In-Stack Position Number, else Dimension Index Values.

A file may store its frames in another order. What does not number all frames without gaps or doubles is no order, and
those of the file stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from octcube_core.readers.dicom_elements import (
    DIMENSION_INDEX,
    FRAME_CONTENT,
    FRAME_GROUPS,
    IN_STACK_POSITION,
    STACK_ID,
    TEMPORAL_POSITION,
    Item,
    items,
    numbers,
    text,
)
from octcube_core.readers.dicom_file import DicomFile
from octcube_core.readers.dicom_pixels import Frames

NO_ORDER = (
    "The numbers that the file gives its B-scans contradict each other; they are shown in the order in which they are "
    "stored."
)


def ordered_groups(file: DicomFile) -> tuple[DicomFile, list[int] | None, tuple[str, ...]]:
    """A file with its frames' groups in order, indices of its frames in that order (None: as stored), and warnings."""
    order, notes = _order(file)
    if order is None:
        return file, None, notes
    groups = [file.frame_groups[index] for index in order]
    return replace(file, rest={**file.rest, FRAME_GROUPS: groups}), order, notes


def in_order(file: DicomFile, frames: Frames) -> tuple[DicomFile, Frames, tuple[str, ...]]:
    """A file with its frames and their groups in order, and warnings."""
    file, order, notes = ordered_groups(file)
    if order is not None:
        frames = replace(frames, values=frames.values[order])
    return file, frames, notes


def _order(file: DicomFile) -> tuple[list[int] | None, tuple[str, ...]]:
    byte_order = file.encoding.order
    contents = [items(group, FRAME_CONTENT)[:1] for group in file.frame_groups]
    if len(contents) < 2 or not all(contents):
        return None, ()
    found = [content[0] for content in contents]
    places = [numbers(content, IN_STACK_POSITION, byte_order) for content in found]
    if all(len(place) == 1 for place in places):
        order = _permutation([place[0] for place in places])
        doubtful = order is None and _contradictory(found, places, byte_order)
        return _unless_sorted(order), (NO_ORDER,) if doubtful else ()
    indices = [numbers(content, DIMENSION_INDEX, byte_order) for content in found]
    if not indices[0] or len({len(index) for index in indices}) > 1:
        return None, ()
    varying = [column for column in zip(*indices, strict=True) if len(set(column)) > 1]
    return _unless_sorted(_permutation(varying[0]) if len(varying) == 1 else None), ()


def _permutation(places: Sequence[float]) -> list[int] | None:
    """Indices that sort consecutive numbers; None if the numbers are others."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    steady = all(places[after] - places[before] == 1 for before, after in pairwise(order))
    return order if steady else None


def _unless_sorted(order: list[int] | None) -> list[int] | None:
    return None if order is None or order == sorted(order) else order


def _contradictory(
    found: Sequence[Item], places: Sequence[tuple[float, ...]], byte_order: str
) -> bool:
    """Whether a stack has a number twice at one time, or its frames with gaps in no order."""
    keys = [
        (text(content, STACK_ID), numbers(content, TEMPORAL_POSITION, byte_order), place)
        for content, place in zip(found, places, strict=True)
    ]
    if len(set(keys)) < len(keys):
        return True
    one_stack = len({key[:2] for key in keys}) == 1
    return one_stack and any(after < before for before, after in pairwise(places))
