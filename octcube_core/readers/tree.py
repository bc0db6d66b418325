"""The exams in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from octcube_core.readers import folder
from octcube_core.readers.entry import ExamEntry
from octcube_core.readers.options import ReadOptions


def entries(path: Path, options: ReadOptions) -> Iterator[ExamEntry]:
    """Yield the exams in a folder."""
    yield ExamEntry(path, "folder", lambda: folder.read(path, options))
