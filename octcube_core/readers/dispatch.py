"""From a path whose format is known to the reader of that format."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, cast

from octcube_core.exam import Exam
from octcube_core.readers.entry import ExamEntry
from octcube_core.readers.formats import FORMATS, Format, claims_a_format
from octcube_core.readers.options import ReadOptions


class _ReaderModule(Protocol):
    def read(self, path: Path, options: ReadOptions) -> Exam: ...

    def entries(self, path: Path, options: ReadOptions) -> Iterator[ExamEntry]: ...


def entries_of(path: Path, found: Format, options: ReadOptions) -> Iterator[ExamEntry]:
    """Yield the exams of a file or folder of a known format."""
    module = cast(_ReaderModule, importlib.import_module(f"octcube_core.readers.{found.module}"))
    if found.several:
        yield from module.entries(path, options)
        return
    in_data_set = _entry_of_data_set(path) if found.name == "DICOM" else None
    yield in_data_set or ExamEntry(path, found.name, lambda: module.read(path, options))


def unknown_format(path: Path) -> str:
    """Why a file is none that can be read, in one sentence."""
    if path.is_file() and path.stat().st_size == 0:
        return f"{path.name} is empty; export or copy it again."
    if claims_a_format(path):
        return f"{path.name} is no {path.suffix} file inside, whatever its name; export or copy it again."
    if path.suffix.lower() in (".raw", ".zraw"):
        return f"{path.name} holds bare numbers; open the .mhd file beside it, which says how they are ordered."
    names = ", ".join(entry.name for entry in FORMATS)
    return f"{path.name} is of a format that is not supported; these are: {names}, and folders."


def _entry_of_data_set(path: Path) -> ExamEntry | None:
    """The DICOM file as its data set knows it, which may pair it with photographs in other folders."""
    if "retinal_oct" not in path.absolute().parts:
        return None
    from octcube_core.readers.aireadi import entry_of

    return entry_of(path)
