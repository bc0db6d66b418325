"""Whether the images of a folder are the B-scans of one volume, all of them, by the numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from octcube_core.errors import ExamReadError

_LAST_NUMBER = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)
_FEW = 3  # numbered images that make another one, without a number, a stranger


def check_numbering(folder: Path, bscans: Sequence[Path]) -> int:
    """Refuse stacks in which a B-scan is missing or present twice, or that mix volumes.

    Evenly spaced numbers (every other B-scan) are complete; numbers of which no two follow each other are no frame
    numbers if most are missing (time stamps, for instance).

    Returns
    -------
    int
        The step from one number to the next; 1 if they are no frame numbers.

    Raises
    ------
    ExamReadError
        If the images are not the B-scans of one volume.
    """
    series: dict[tuple[str, str], dict[int, Path]] = {}
    strangers: list[Path] = []
    for file in bscans:
        part = _LAST_NUMBER.fullmatch(file.stem)
        if part is None:
            strangers.append(file)
            continue
        numbered = series.setdefault((part[1], part[3]), {})
        if int(part[2]) in numbered:
            raise ExamReadError(
                f"{folder.name} holds B-scan number {int(part[2])} twice; remove one of its files."
            )
        numbered[int(part[2])] = file
    if not series:
        return 1
    largest = max(series.values(), key=len)
    _check_one_volume(folder, list(series.values()))
    consecutive = len(largest) >= _FEW and _steps(sorted(largest)) == {1}
    others = [file for row in series.values() if row is not largest for file in row.values()]
    if consecutive and 2 * len(others) < len(largest):
        strangers += others
    if strangers and len(largest) >= _FEW:
        raise ExamReadError(
            f"{folder.name} holds {strangers[0].name}, which is not numbered as the other B-scans are; move it away."
        )
    return _step(folder, sorted(largest)) if len(series) == 1 and not strangers else 1


def _check_one_volume(folder: Path, series: Sequence[dict[int, Path]]) -> None:
    """Refuse several rows of consecutive numbers that share numbers: those of two eyes, or of B-scans and masks."""
    rows = [row for row in series if len(row) > 1 and _steps(sorted(row)) == {1}]
    for one, other in pairwise(sorted(rows, key=min)):
        if min(other) <= max(one):
            names = sorted((next(iter(one.values())).name, next(iter(other.values())).name))
            raise ExamReadError(
                f"{folder.name} holds the images of several volumes, such as {names[0]} and {names[1]}; keep the "
                "B-scans of one volume in a folder."
            )


def _steps(numbers: Sequence[int]) -> set[int]:
    return {after - before for before, after in pairwise(numbers)}


def _step(folder: Path, numbers: Sequence[int]) -> int:
    steps = _steps(numbers)
    span = numbers[-1] - numbers[0] + 1
    if len(steps) <= 1:
        return next(iter(steps), 1)
    if min(steps) > 1 and span > 2 * len(numbers):
        return 1
    missing = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
    listed = ", ".join(str(number) for number in missing[:5]) + (", ..." if missing[5:] else "")
    raise ExamReadError(
        f"{folder.name} lacks B-scan number {listed} between {numbers[0]} and {numbers[-1]}; "
        "export or copy the volume again."
    )
