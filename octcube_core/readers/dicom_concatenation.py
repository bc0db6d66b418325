"""A volume whose frames are spread over several DICOM files: a concatenation (PS3.3 C.7.6.16.2.2.4)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam
from octcube_core.readers.dicom_elements import FRAME_GROUPS
from octcube_core.readers.dicom_exam import build_exam, check_groups
from octcube_core.readers.dicom_file import DicomFile, read_file
from octcube_core.readers.dicom_neighbours import pair
from octcube_core.readers.dicom_order import in_order
from octcube_core.readers.dicom_pixels import Frames, Layout, frame_layout, read_frames
from octcube_core.readers.dicom_values import reading_dicom
from octcube_core.readers.failures import check_volume_bytes

MAY_BE_PART = "The file is the first part of a volume that does not say how many parts it has."


@dataclass(frozen=True)
class Part:
    """Which part of which volume a file is; ``total`` is 0 where the file does not say."""

    volume: str
    number: int
    total: int


def part_of(file: DicomFile) -> Part | None:
    """The part of a volume that a file is, or None if it is all of it."""
    volume = file.text("ConcatenationUID")
    number, total = (
        int(stated) if stated.isdigit() and len(stated) < 6 else 0
        for stated in (file.text("InConcatenationNumber"), file.text("InConcatenationTotalNumber"))
    )
    alone = total == 1 and number <= 1
    return None if alone or not (volume or number > 1 or total > 1) else Part(volume, number, total)


def check_whole(file: DicomFile) -> tuple[str, ...]:
    """Warnings for a file that is opened by itself.

    Raises
    ------
    ExamReadError
        If it holds only part of a volume.
    """
    part = part_of(file)
    if part is None:
        return ()
    if part.total == 0 and part.number <= 1:
        return (MAY_BE_PART,)
    of = f" of {part.total}" if part.total else ""
    raise ExamReadError(
        f"{file.path.name} is part {part.number or '?'}{of} of a volume that is saved in several files; open the "
        "folder that holds all of them."
    )


def read_parts(paths: Sequence[Path], photographs: Sequence[Path]) -> Exam:
    """Join the parts of a volume.

    Raises
    ------
    ExamReadError
        If a part is missing or doubled, or the parts differ in size or in what they share.
    """
    with reading_dicom(paths[0]):
        found = sorted((read_file(path) for path in paths), key=_number)
        notes = _check_complete(found)
        layouts = [frame_layout(file) for file in found]
        _check_alike(found, layouts)
        first, frames = layouts[0], sum(layout.frames for layout in layouts)
        check_volume_bytes(paths[0], (frames, first.rows, first.columns), first.allocated // 8)
        decoded = [read_frames(file, layout) for file, layout in zip(found, layouts, strict=True)]
        whole = replace(
            found[0],
            rest={
                **found[0].rest,
                FRAME_GROUPS: [group for file in found for group in file.frame_groups],
            },
        )
        values = np.concatenate([part.values for part in decoded])
        whole, joined, order_notes = in_order(whole, Frames(values, decoded[0].value_range))
        pairing = pair(whole, [read_file(path) for path in photographs])
        pairing = replace(pairing, warnings=(*pairing.warnings, *notes, *order_notes))
        return build_exam(whole, joined, pairing, {})
    raise AssertionError("unreachable")


def _number(file: DicomFile) -> int:
    part = part_of(file)
    return part.number if part else 0


def _check_complete(found: Sequence[DicomFile]) -> tuple[str, ...]:
    name = found[0].path.name
    held = [_number(file) for file in found]
    totals = {part.total for file in found if (part := part_of(file)) and part.total}
    total = max(totals, default=len(held))
    missing = next((number for number in range(1, total + 1) if number not in held), None)
    if missing is not None:
        raise ExamReadError(
            f"Part {missing} of the volume of {name} is missing; copy or export all of its files."
        )
    if len(held) != total or len(totals) > 1:
        raise ExamReadError(
            f"The parts of the volume of {name} contradict each other; export the volume again."
        )
    return () if totals else (MAY_BE_PART,)


def _check_alike(found: Sequence[DicomFile], layouts: Sequence[Layout]) -> None:
    before = 0
    for file, layout in zip(found, layouts, strict=True):
        check_groups(file, layout.frames)
        same = (
            replace(layout, frames=1) == replace(layouts[0], frames=1)
            and file.shared == found[0].shared
            and bool(file.frame_groups) == bool(found[0].frame_groups)
            and file.encoding == found[0].encoding
        )
        if not same or file.whole("ConcatenationFrameOffsetNumber", before) != before:
            raise ExamReadError(
                f"{file.path.name} does not fit the other parts of its volume; export the volume again."
            )
        before += layout.frames
