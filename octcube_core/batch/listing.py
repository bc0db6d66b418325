"""Which exams there are, and the state of their files; nothing is decoded."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from octcube_core.batch.columns import Key, entry_facts, key_of
from octcube_core.batch.table_file import SUFFIXES
from octcube_core.errors import ExamReadError
from octcube_core.readers import ExamEntry, find_exams
from octcube_core.readers.entry import unreadable

OnProgress = Callable[[str, float], None]

_OURS = (*SUFFIXES, ".partial")  # a table may lie in the folder of an exam


@dataclass(frozen=True, eq=False)
class Listed:
    """An exam that can be read, and by column what is known of it and of its files."""

    entry: ExamEntry
    facts: Mapping[str, Any]

    @property
    def key(self) -> Key:
        """Which exam it is."""
        return key_of(self.facts)


def list_exams(
    sources: Iterable[Path],
    axes: str | None = None,
    shape: tuple[int, int, int] | None = None,
    on_progress: OnProgress | None = None,
) -> list[Listed]:
    """The exams in files and folders, each once, in their order.

    Raises
    ------
    ExamReadError
        If a source is missing or holds none.
    InputError
        If an option is wrong.
    """
    found: dict[Key, Listed] = {}
    states: dict[Path, dict[str, int | None]] = {}
    for source in sources:
        before = len(found)
        try:
            for entry in find_exams(source, axes=axes, shape=shape):
                _add(entry, found, states)
                if on_progress is not None and len(found) % 50 == 0:
                    on_progress(f"Looking for exams: {len(found)}", 0.0)
        except ExamReadError as error:
            if len(found) == before:
                raise
            _add(unreadable(source, error), found, states)  # those before it are there
    return list(found.values())


def _add(
    entry: ExamEntry, found: dict[Key, Listed], states: dict[Path, dict[str, int | None]]
) -> None:
    if entry.path not in states:
        states[entry.path] = _state(entry.path)
    listed = Listed(entry, {**entry_facts(entry), **states[entry.path]})
    found.setdefault(listed.key, listed)


def _state(path: Path) -> dict[str, int | None]:
    """Size and latest change of a file, or of all files in a folder; None where they cannot be looked at."""
    try:
        files = [path]
        if path.is_dir():
            files = [
                file
                for file in path.rglob("*")
                if file.suffix.lower() not in _OURS and file.is_file()
            ]
        states = [file.stat() for file in files]
    except OSError:
        states = []
    return {
        "file_bytes": sum(state.st_size for state in states) if states else None,
        "file_modified_ns": max((state.st_mtime_ns for state in states), default=None),
    }
