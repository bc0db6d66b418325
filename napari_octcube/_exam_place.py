"""Where an exam lies, so that it can be opened again another day. No Qt."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import octcube_core
from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam
from octcube_core.readers import ExamEntry


@dataclass(frozen=True)
class ExamPlace:
    """Which exam of which file or folder.

    Attributes
    ----------
    path : str
        The exam's own file or folder.
    part : str
        Which of several exams at the path (``ExamEntry.part``); empty when it is the only one.
    within : str
        What the user opened: the path itself or a folder around it.
    number : int
        Which exam of what was opened, from 1; 0 where the part tells.
    """

    path: str
    part: str = ""
    within: str = ""
    number: int = 0

    @classmethod
    def of(cls, entry: ExamEntry, within: Path) -> ExamPlace:
        """Where an exam of a list lies."""
        return cls(str(entry.path.absolute()), entry.part, str(within.absolute()))

    @classmethod
    def numbered(cls, path: Path, number: int | None = None) -> ExamPlace:
        """Where the only exam at a path lies, or one of several by its number from 1."""
        absolute = str(path.absolute())
        return cls(absolute, within=absolute, number=number or 0)

    @property
    def name(self) -> str:
        """What to call the exam: the file's name and the part of it."""
        part = f"exam {self.number}" if self.number else self.part
        return f"{Path(self.path).name} ({part})" if part else Path(self.path).name

    def is_gone(self) -> bool:
        """Whether nothing lies there any more; may take a while on a network drive."""
        return not _exists(Path(self.path))

    def read(self, images: str) -> Exam:
        """Read the exam again.

        Parameters
        ----------
        images : str
            The images that it had, as ``images_of`` gives them.

        Raises
        ------
        ExamReadError, InputError
            If it is gone or cannot be read, in one sentence.
        """
        path = Path(self.path)
        if self.is_gone():
            raise ExamReadError(
                f"{path.name} is no longer in {path.parent}; open it from where it is now."
            )
        if self.number:
            return octcube_core.read_exam(path, exam=self.number)
        exam = self._read_by_itself(path)
        # A photograph or the other B-scans may lie in another folder of what was opened, and are then missing.
        if exam is None or (images_of(exam) != images and self.within not in ("", self.path)):
            exam = self._read_from(Path(self.within)) or exam
        if exam is None:
            raise ExamReadError(f"{self.name} is no longer there; open {path.name} and choose.")
        return exam

    def _read_by_itself(self, path: Path) -> Exam | None:
        entry = next((entry for entry in _entries(path) if entry.part == self.part), None)
        return entry and entry.read()

    def _read_from(self, folder: Path) -> Exam | None:
        if not _exists(folder):
            return None
        own = (Path(self.path), self.part)
        matching = (
            entry for entry in _entries(folder) if (entry.path.absolute(), entry.part) == own
        )
        entry = next(matching, None)
        return entry and entry.read()


def images_of(exam: Exam) -> str:
    """OCT and the kinds of its en-face images."""
    return ", ".join(dict.fromkeys(exam.modalities))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # of a drive that is not there, or not for this user
        return False


def _entries(path: Path) -> Iterator[ExamEntry]:
    return octcube_core.find_exams(path)
