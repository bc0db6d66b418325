"""Rows of numbers by name, kept in the user's configuration from one day to the next. No Qt, no napari."""

from __future__ import annotations

import contextlib
import json
import math
import threading
from collections.abc import Sequence
from pathlib import Path

from octcube_core.retrieval.secret import configuration_folder
from octcube_core.whole_file import whole_file

DELAY_S = 1.0  # what is dragged has a hundred values

Row = tuple[float, ...]


class KeptNumbers:
    """The file is written on a thread, a moment after the last change.

    Parameters
    ----------
    name : str
        Of the file.
    length : int
        Of each row; others in the file count as none.
    most : int
        Rows that are kept; the oldest go first.
    """

    def __init__(self, name: str, length: int, most: int = 1000) -> None:
        self._file = configuration_folder() / name
        self._length, self._most = length, most
        self._lock = threading.Lock()
        self._rows = _read(self._file, length)
        self._changed: dict[str, Row | None] = {}  # since the file was written
        self._timer: threading.Timer | None = None

    def get(self, name: str) -> Row | None:
        """The row of a name; None if there is none."""
        return self._rows.get(name)

    def keep(self, name: str, row: Sequence[float]) -> None:
        """Remember a row."""
        self._rows[name] = tuple(row)
        self._write_soon(name, self._rows[name])

    def forget(self, name: str) -> None:
        """Remember nothing of a name."""
        if self._rows.pop(name, None) is not None:
            self._write_soon(name, None)

    def write(self) -> None:
        """Write what has changed, if anything has; another window may have changed other rows."""
        with self._lock:
            changed, self._changed = self._changed, {}
            if changed:
                before = _read(self._file, self._length)
                kept = {name: row for name, row in before.items() if name not in changed}
                kept |= {name: row for name, row in changed.items() if row is not None}
                _write(self._file, dict(list(kept.items())[-self._most :]))

    def close(self) -> None:
        """Write now what would be written soon."""
        if self._timer is not None:
            self._timer.cancel()
        self.write()

    def _write_soon(self, name: str, row: Row | None) -> None:
        with self._lock:
            self._changed.pop(name, None)  # the latest last
            self._changed[name] = row
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(DELAY_S, self.write)
        self._timer.daemon = True
        self._timer.start()


def _read(file: Path, length: int) -> dict[str, Row]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        rows = {str(name): tuple(map(float, row)) for name, row in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}  # there is none yet, or somebody else wrote it
    return {
        name: row
        for name, row in rows.items()
        if len(row) == length and all(map(math.isfinite, row))
    }


def _write(file: Path, rows: dict[str, Row]) -> None:
    with contextlib.suppress(OSError):  # a convenience: nobody needs to hear that it failed
        file.parent.mkdir(parents=True, exist_ok=True)
        rounded = {name: [round(value, 4) for value in row] for name, row in rows.items()}
        with whole_file(file) as partial:
            partial.write_text(json.dumps(rounded, indent=1), encoding="utf-8")
