"""Small pictures of the exams that a list shows, made one after the other in another process. No Qt.

To show a B-scan most formats must be read as a whole. So a picture is made only for a row that somebody sees, not for
very large exams, and never written anywhere. One that cannot be made is simply not there.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_octcube._background_command import BackgroundCommand, told_in
from napari_octcube._exam_listing import ListedExam
from napari_octcube._inference import Dispatch
from napari_octcube._thumbnail_process import HEIGHT, VARIABLE, WIDTH

Picture = NDArray[np.uint8]


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
        self._command: BackgroundCommand | None = None
        self._asked: list[ListedExam] = []  # of the command that runs, in its order
        self._tried: set[ListedExam] = set()
        self._closed = False
        self._pictures: dict[ListedExam, Picture] = {}

    def picture(self, exam: ListedExam) -> Picture | None:
        """An exam's picture, shape (HEIGHT, WIDTH), if there is one by now."""
        return self._pictures.get(exam)

    def want(self, exams: Sequence[ListedExam]) -> None:
        """Make the pictures of these exams, and no longer of those that were wanted before."""
        wanted = [exam for exam in exams if exam not in self._tried]
        if self._closed or (wanted and wanted == self._waiting):
            return
        self._stop()
        if wanted:
            places = [exam.place for exam in wanted]
            rows = json.dumps([(place.path, place.part, place.within) for place in places])
            self._asked = wanted
            command = self._command = BackgroundCommand(
                ("-m", "napari_octcube._thumbnail_process"),
                self._dispatch,
                lambda line: self._take(command, line),
                lambda code, errors: self._end(command, code),
                {VARIABLE: rows},
            )
            command.start()

    def close(self) -> None:
        """Make no more; what is being read is dropped."""
        self._closed = True
        self._stop()

    @property
    def _waiting(self) -> list[ListedExam]:
        return [exam for exam in self._asked if exam not in self._tried]

    def _stop(self) -> None:
        command, self._command, self._asked = self._command, None, []
        if command is not None:
            command.stop()

    def _take(self, command: BackgroundCommand, line: str) -> None:
        told = told_in(line)
        if command is not self._command or "row" not in told:
            return
        exam = self._asked[told["row"]]
        self._tried.add(exam)
        if told["picture"]:
            pixels = np.frombuffer(base64.b64decode(told["picture"]), np.uint8)
            self._pictures[exam] = pixels.reshape(HEIGHT, WIDTH)
            self.made.emit(exam)

    def _end(self, command: BackgroundCommand, code: int | None) -> None:
        if command is not self._command:
            return
        waiting = self._waiting
        self._command, self._asked = None, []
        if waiting and code:  # the first of them brought it down
            self._tried.add(waiting[0])
            self.want(waiting[1:])
