"""An exam that can be read and has not been read yet, as a list of exams shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from octcube_core.errors import ExamReadError, printable
from octcube_core.exam import Exam, Laterality, ScanPattern
from octcube_core.readers.failures import reading


@dataclass(frozen=True, eq=False)
class ExamEntry:
    """One exam in a folder or file that may hold several.

    What is not known without decoding the exam is None or empty. Nothing here tells who the patient is.

    Attributes
    ----------
    path : Path
        The file or folder to open.
    format : str
        Name of the file format; empty if it cannot be told because the file is damaged.
    produce : callable
        Reads the exam; call `read` instead, whose errors are sentences.
    part : str
        What tells it from other exams at the same path ('OD, volume 2'); empty when it is the only one.
    """

    path: Path
    format: str
    produce: Callable[[], Exam]
    part: str = ""
    laterality: Laterality | None = None
    scan_pattern: ScanPattern | None = None
    modalities: tuple[str, ...] = ()
    device: str | None = None
    shape: tuple[int, int, int] | None = None

    @property
    def name(self) -> str:
        """What to call the exam: the file's name and the part of it."""
        return f"{self.path.name} ({self.part})" if self.part else self.path.name

    def name_below(self, top: Path) -> str:
        """The same with the folders between the one that was opened and the exam."""
        try:
            below = self.path.absolute().relative_to(top.absolute()).as_posix()
        except ValueError:
            return self.name
        if below == ".":
            return self.part or self.path.name
        return f"{below} ({self.part})" if self.part else below

    def read(self) -> Exam:
        """Read the exam.

        Raises
        ------
        ExamReadError
            If it cannot be read, in one sentence that names the file.
        """
        with reading(self.path, "an OCT exam"):
            try:
                return self.produce()
            except ExamReadError as error:
                if printable(self.path.name) in str(error):
                    raise
                raise ExamReadError(f"{self.path.name}: {error}") from None
        raise AssertionError("unreachable")


def unreadable(path: Path, error: Exception) -> ExamEntry:
    """An exam that could not be looked into and says why when it is read."""

    def produce() -> Exam:
        raise error

    return ExamEntry(path, "", produce)
