"""Small pictures of the exams that a list shows, made one after the other on a thread. No Qt.

To show a B-scan most formats must be read as a whole. So a picture is made only for a row that somebody sees, not for
very large exams, and never written anywhere. One that cannot be made is simply not there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from psygnal import Signal

from napari_octcube._contrast import auto_contrast
from napari_octcube._exam_listing import ListedExam
from napari_octcube._inference import Dispatch
from octcube_core.exam import Exam

Picture = NDArray[np.uint8]

WIDTH, HEIGHT = 72, 48
MOST_BYTES = 150_000_000  # of a file: a second or two from a disk
MOST_VOXELS = 150_000_000
PAUSE_S = 0.02  # between two, so that the Qt thread gets Python's lock


class ExamThumbnails:
    """Makes the pictures of the rows in view; ``made`` carries an exam that has one now.

    Parameters
    ----------
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    """

    made: ClassVar[Signal] = Signal(object)

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._lock = threading.Lock()
        self._wanted: list[ListedExam] = []  # in this order
        self._tried: set[ListedExam] = set()
        self._working = False
        self._closed = False
        self._pictures: dict[ListedExam, Picture] = {}

    def picture(self, exam: ListedExam) -> Picture | None:
        """An exam's picture, shape (HEIGHT, WIDTH), if there is one by now."""
        return self._pictures.get(exam)

    def want(self, exams: Sequence[ListedExam]) -> None:
        """Make the pictures of these exams, and no longer of those that were wanted before."""
        with self._lock:
            self._wanted = [exam for exam in exams if exam not in self._tried]
            if not self._wanted or self._working or self._closed:
                return
            self._working = True
        threading.Thread(target=self._work, name="octcube thumbnails", daemon=True).start()

    def close(self) -> None:
        """Make no more; what is being read is dropped."""
        with self._lock:
            self._closed = True
            self._wanted = []

    def _work(self) -> None:
        while (exam := self._next()) is not None:
            picture = _picture_of(exam)
            if picture is not None:
                self._hand_over(exam, picture)
            time.sleep(PAUSE_S)

    def _next(self) -> ListedExam | None:
        with self._lock:
            if not self._wanted:
                self._working = False
                return None
            exam = self._wanted.pop(0)
            self._tried.add(exam)
            return exam

    def _hand_over(self, exam: ListedExam, picture: Picture) -> None:
        def take() -> None:
            if not self._closed:
                self._pictures[exam] = picture
                self.made.emit(exam)

        self._dispatch(take)


def _picture_of(listed: ListedExam) -> Picture | None:
    try:
        return None if _is_large(listed) else bscan_picture(listed.entry.read())
    except Exception:  # a damaged exam says why when it is opened
        return None


def _is_large(listed: ListedExam) -> bool:
    path, shape = listed.entry.path, listed.entry.shape
    if shape is not None and np.prod(shape, dtype=np.int64) > MOST_VOXELS:
        return True
    return path.is_file() and path.stat().st_size > MOST_BYTES


def bscan_picture(exam: Exam) -> Picture:
    """The middle B-scan, filling the picture: in true proportions one of 9 x 2 mm would be a flat strip."""
    volume = exam.volume
    look = auto_contrast(volume)
    black, white = look.limits(volume.black_white)
    bscan = np.nan_to_num(volume.voxels[volume.shape[0] // 2].astype(np.float32))
    shown = np.clip((bscan - black) / (white - black), 0, 1) ** look.gamma
    picture = Image.fromarray((255 * shown).astype(np.uint8))
    small = picture.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, reducing_gap=2.0)
    return np.asarray(small)
