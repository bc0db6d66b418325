"""``python -m napari_octcube._thumbnail_process``: small pictures of exams, a line of JSON for each.

A process of its own, because decoding compressed DICOM keeps Python's lock for so long that a viewer would stutter.
Which exams comes in an environment variable, which unlike arguments other users of the computer cannot see.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import octcube_core
from napari_octcube._contrast import auto_contrast
from octcube_core.exam import Exam
from octcube_core.readers import ExamEntry

VARIABLE = "OCTCUBE_THUMBNAILS"  # JSON: rows of (path, part, folder around it)
WIDTH, HEIGHT = 72, 48
MOST_BYTES = 150_000_000  # of a file: a second or two from a disk
MOST_VOXELS = 150_000_000


def main() -> None:
    """Tell of each exam its row and its picture, null if there is none."""
    folders: dict[str, _Folder] = {}
    for row, (path, part, within) in enumerate(json.loads(os.environ[VARIABLE])):
        try:
            picture = _picture(_entry(Path(path), part, within, folders))
        except Exception:  # a damaged exam says why when it is opened
            picture = None
        encoded = None if picture is None else base64.b64encode(picture.tobytes()).decode()
        sys.stdout.write(json.dumps({"row": row, "picture": encoded}) + "\n")
        sys.stdout.flush()


def bscan_picture(exam: Exam) -> NDArray[np.uint8]:
    """The middle B-scan, filling the picture: in true proportions one of 9 x 2 mm would be a flat strip."""
    volume = exam.volume
    look = auto_contrast(volume)
    black, white = look.limits(volume.black_white)
    bscan = np.nan_to_num(volume.voxels[volume.shape[0] // 2].astype(np.float32))
    shown = np.clip((bscan - black) / (white - black), 0, 1) ** look.gamma
    picture = Image.fromarray((255 * shown).astype(np.uint8))
    small = picture.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small)


class _Folder:
    """What was opened, listed no further than needed and once for all rows."""

    def __init__(self, path: str) -> None:
        self._rest: Iterator[ExamEntry] = octcube_core.find_exams(path)
        self._seen: dict[tuple[Path, str], ExamEntry] = {}

    def entry(self, path: Path, part: str) -> ExamEntry | None:
        while (path, part) not in self._seen:
            entry = next(self._rest, None)
            if entry is None:
                return None
            self._seen[entry.path.absolute(), entry.part] = entry
        return self._seen[path, part]


def _entry(path: Path, part: str, within: str, folders: dict[str, _Folder]) -> ExamEntry | None:
    if _is_large(path, None):
        return None
    for entry in octcube_core.find_exams(path):
        if entry.part == part:
            return entry
    if within not in folders:  # the exam's other files lie beside it
        folders[within] = _Folder(within)
    return folders[within].entry(path, part)


def _picture(entry: ExamEntry | None) -> NDArray[np.uint8] | None:
    if entry is None or _is_large(entry.path, entry.shape):
        return None
    return bscan_picture(entry.read())


def _is_large(path: Path, shape: tuple[int, int, int] | None) -> bool:
    if shape is not None and np.prod(shape, dtype=np.int64) > MOST_VOXELS:
        return True
    return path.is_file() and path.stat().st_size > MOST_BYTES


if __name__ == "__main__":
    main()
