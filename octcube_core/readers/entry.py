"""An exam that can be read and has not been read yet, as a list of exams shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from octcube_core.exam import Exam, Laterality, ScanPattern


@dataclass(frozen=True, eq=False)
class ExamEntry:
    """One exam in a folder or file that may hold several.

    What is not known without decoding the exam is None or empty. Nothing here tells who the patient is.

    Attributes
    ----------
    path : Path
        The file or folder to open.
    format : str
        Name of the file format.
    produce : callable
        Reads the exam.
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
