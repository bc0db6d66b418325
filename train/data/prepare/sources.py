"""The exams of a source that a user names, with what folders and file names tell of the patient and the visit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from octcube_core.errors import ExamReadError
from octcube_core.exam import Laterality
from octcube_core.readers import ExamEntry, find_exams
from octcube_core.readers.aireadi import OCT as AIREADI_OCT
from octcube_core.readers.entry import unreadable
from train.data.prepare.reference_layout import (
    MACULAR_OCT,
    Named,
    has_channels,
    named,
    read_cached,
    read_series,
    series_in,
)


@dataclass(frozen=True)
class Listed:
    """An exam of a source.

    Attributes
    ----------
    entry : what reads it
    shown : its path, spelled as the user spelled the source, and the part of a file that holds several
    patient : by the layout of the folders; the file may know better
    visit : what the layout calls the visit, if it does
    laterality : by the file's name
    identity : whether ``patient`` is an id by a known layout, rather than the name of some folder
    loose : whether nothing but the exam's own path stands for the patient
    """

    entry: ExamEntry
    shown: str
    patient: str
    visit: str | None = None
    laterality: Laterality | None = None
    identity: bool = False
    loose: bool = False

    @property
    def folder_patient(self) -> str | None:
        """The name by which folders or files may tell who the patient is; None if no name stands for one."""
        return None if self.loose else self.patient


def list_exams(source: Path, patterns: Sequence[re.Pattern[str]]) -> list[Listed]:
    """List the exams of a file or folder, in natural order.

    A source in which no exam is found is one exam that says why when it is read.
    """
    try:
        entries = list(find_exams(source))
    except ExamReadError as error:
        entries = [unreadable(source, error)]
    return [listed for entry in entries for listed in _listed(source, entry, patterns)]


def _listed(
    source: Path, entry: ExamEntry, patterns: Sequence[re.Pattern[str]]
) -> Iterator[Listed]:
    shown = _shown(source, entry)
    series = series_in(entry.path, patterns) if entry.format == "folder" else None
    if series is not None:
        for name, files in series:
            yield _of_series(entry, name, files, f"{shown}/{files[0].name}")
        return
    if entry.format == "NumPy" and has_channels(entry.path):
        path = entry.path
        entry = replace(entry, produce=lambda: read_cached(path))
    told = named(entry.path.stem, patterns) if entry.path.is_file() else None
    if told is not None:
        yield Listed(entry, shown, told.patient, told.visit, told.laterality, identity=True)
    else:
        yield _by_folders(source, entry, shown)


def _of_series(entry: ExamEntry, told: Named, files: list[Path], shown: str) -> Listed:
    folder = entry.path
    one = replace(
        entry,
        path=files[0],
        part="",
        produce=lambda: read_series(folder, files, told.laterality),
    )
    return Listed(one, shown, told.patient, told.visit, told.laterality, identity=True)


def _by_folders(source: Path, entry: ExamEntry, shown: str) -> Listed:
    """The patient by the folders that hold an exam: of a known layout, else the first one below the source."""
    folders = entry.path.absolute().parts
    if MACULAR_OCT in folders[1:-1]:
        at = folders.index(MACULAR_OCT, 1)
        return Listed(entry, shown, folders[at - 1], folders[at + 1], identity=True)
    if AIREADI_OCT in folders[:-2]:
        return Listed(entry, shown, entry.path.parent.name, identity=True)
    below = _below(source, entry.path)
    if len(below) > 1 or (below and entry.path.is_dir()):
        return Listed(entry, shown, below[0])
    if entry.path.is_dir():
        return Listed(entry, shown, entry.path.absolute().name)
    return Listed(entry, shown, shown, loose=True)


def _below(source: Path, path: Path) -> tuple[str, ...]:
    try:
        return path.absolute().relative_to(source.absolute()).parts
    except ValueError:
        return ()


def _shown(source: Path, entry: ExamEntry) -> str:
    below = "/".join(_below(source, entry.path))
    path = f"{str(source).rstrip('/')}/{below}" if below else str(source)
    return f"{path} ({entry.part})" if entry.part else path
