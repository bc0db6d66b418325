"""The exams that were opened last, kept in the user's configuration from one day to the next. No Qt.

Kept are where an exam lies, which eye, and what took it; never a patient's name, id or dates. A path itself may hold a
name: the file is for its owner's eyes alone, and one click deletes it.
"""

from __future__ import annotations

import contextlib
import json
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from psygnal import Signal

from napari_octcube._exam_place import ExamPlace, images_of
from napari_octcube._inference import Dispatch
from octcube_core.exam import Exam
from octcube_core.retrieval.secret import configuration_folder
from octcube_core.whole_file import whole_file

MOST = 10
UNKNOWN_EYE = "side unknown"
_FILE = "recent.json"


@dataclass(frozen=True)
class RecentExam:
    """Where an exam lies, and by what a user knows it again."""

    place: ExamPlace
    eye: str
    images: str
    device: str

    @classmethod
    def of(cls, place: ExamPlace, exam: Exam) -> RecentExam:
        """What to keep of an exam that was opened."""
        device = exam.device or exam.format
        return cls(place, exam.laterality or UNKNOWN_EYE, images_of(exam), device)

    @property
    def words(self) -> str:
        """Eye, images, device and file, as a menu shows them."""
        known = (self.eye, self.images, self.device, self.place.name)
        return " · ".join(word for word in known if word)

    def read(self) -> Exam:
        """Read it again; an OCTCubeError says why it cannot be."""
        return self.place.read(self.images)


class RecentExams:
    """The latest exams, newest first; the file is read and written on threads.

    Attributes
    ----------
    exams : tuple of RecentExam
    gone : frozenset of RecentExam
        Those whose file is not there, as far as ``look`` has found out.
    """

    changed: ClassVar[Signal] = Signal()

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._file = configuration_folder() / _FILE
        self._lock = threading.Lock()
        self.exams: tuple[RecentExam, ...] = ()
        self.gone: frozenset[RecentExam] = frozenset()
        self.look()

    def look(self) -> None:
        """Find out what there is: another window may have opened exams, and files may have gone."""
        self._start(list, write=False)

    def add(self, place: ExamPlace, exam: Exam) -> None:
        """Put an exam that was opened first."""
        new = RecentExam.of(place, exam)
        own = (place.path, place.part, place.number)

        def put_first(exams: Sequence[RecentExam]) -> list[RecentExam]:
            places = ((one, one.place) for one in exams)
            others = [one for one, at in places if (at.path, at.part, at.number) != own]
            return [new, *others][:MOST]

        self._start(put_first)

    def forget(self) -> None:
        """Keep none of them."""
        self._start(lambda _: [])

    def _start(
        self, change: Callable[[Sequence[RecentExam]], list[RecentExam]], write: bool = True
    ) -> None:
        def work() -> None:
            with self._lock:
                exams = change(_read(self._file))
                if write:
                    _write(self._file, exams)
                self._dispatch(lambda: self._take(tuple(exams)))
            gone = frozenset(exam for exam in exams if exam.place.is_gone())
            self._dispatch(lambda: self._mark(gone))

        threading.Thread(target=work, name="octcube recent", daemon=True).start()

    def _take(self, exams: tuple[RecentExam, ...]) -> None:
        if exams != self.exams:
            self.exams = exams
            self.changed.emit()

    def _mark(self, gone: frozenset[RecentExam]) -> None:
        if gone != self.gone:
            self.gone = gone
            self.changed.emit()


def _read(file: Path) -> list[RecentExam]:
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
        return [
            RecentExam(
                ExamPlace(
                    str(row["path"]), str(row["part"]), str(row["within"]), int(row["number"])
                ),
                str(row["eye"]),
                str(row["images"]),
                str(row["device"]),
            )
            for row in rows[:MOST]
        ]
    except (OSError, ValueError, TypeError, KeyError):
        return []  # there is none yet, or somebody else wrote it


def _write(file: Path, exams: Sequence[RecentExam]) -> None:
    with contextlib.suppress(OSError):  # a convenience: nobody needs to hear that it failed
        if not exams:
            file.unlink(missing_ok=True)
            return
        rows = [
            {**asdict(exam.place), "eye": exam.eye, "images": exam.images, "device": exam.device}
            for exam in exams
        ]
        text = json.dumps(rows, indent=1)
        file.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(file) as partial:
            descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8") as opened:
                opened.write(text)
