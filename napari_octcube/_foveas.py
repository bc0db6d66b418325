"""Where the foveas are: as a person has placed them, else estimated. Remembered while the viewer is open. No Qt."""

from __future__ import annotations

from typing import Any

from octcube_core.etdrs import Fovea, estimated_fovea
from octcube_core.exam import Exam


class Foveas:
    """A fovea for each en-face image of each exam; an exam that is opened again has its own again."""

    def __init__(self) -> None:
        self._placed: dict[Any, Fovea] = {}

    def of(self, exam: Exam, image: int) -> Fovea:
        """The fovea on an image."""
        return self._placed.get((_key(exam), image)) or estimated_fovea(exam, image)

    def place(self, exam: Exam, image: int, row: float, column: float) -> None:
        """Put the fovea there, or at the nearest pixel of the image."""
        rows, columns = exam.enface[image].shape
        place = Fovea(min(max(row, 0.0), rows - 1.0), min(max(column, 0.0), columns - 1.0))
        self._placed[_key(exam), image] = place

    def forget(self, exam: Exam, image: int) -> None:
        """Go back to the estimate."""
        self._placed.pop((_key(exam), image), None)


def _key(exam: Exam) -> Any:
    # The middle B-scan tells the exams of one file from each other, and is the same when the file is read again.
    voxels = exam.volume.voxels
    return exam.source, exam.laterality, voxels.shape, hash(voxels[len(voxels) // 2].tobytes())
