"""Where the foveas are: as a person has placed them, from one day to the next, else estimated. No Qt."""

from __future__ import annotations

import hashlib

from napari_octcube._kept_numbers import KeptNumbers
from octcube_core.etdrs import Fovea, estimated_fovea
from octcube_core.exam import Exam

_FILE = "foveas.json"


class Foveas:
    """A fovea for each en-face image of each exam; an exam that is opened again has its own again."""

    def __init__(self) -> None:
        self._kept = KeptNumbers(_FILE, length=2)

    def of(self, exam: Exam, image: int) -> Fovea:
        """The fovea on an image."""
        placed = self._kept.get(_key(exam, image))
        return estimated_fovea(exam, image) if placed is None else _within(exam, image, *placed)

    def place(self, exam: Exam, image: int, row: float, column: float) -> None:
        """Put the fovea there, or at the nearest pixel of the image."""
        fovea = _within(exam, image, row, column)
        self._kept.keep(_key(exam, image), (fovea.row, fovea.column))

    def forget(self, exam: Exam, image: int) -> None:
        """Go back to the estimate."""
        self._kept.forget(_key(exam, image))

    def close(self) -> None:
        """Write now what would be written soon."""
        self._kept.close()


def _within(exam: Exam, image: int, row: float, column: float) -> Fovea:
    rows, columns = exam.enface[image].shape
    return Fovea(min(max(row, 0.0), rows - 1.0), min(max(column, 0.0), columns - 1.0))


def _key(exam: Exam, image: int) -> str:
    # The middle B-scan is the same wherever the file lies, and tells nobody whose it is.
    voxels = exam.volume.voxels
    digest = hashlib.sha256(voxels[len(voxels) // 2].tobytes())
    digest.update(f"{exam.laterality} {voxels.shape} {image}".encode())
    return digest.hexdigest()[:32]
