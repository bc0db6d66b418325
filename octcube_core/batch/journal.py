"""Results that outlive a run which is killed: a line for each exam beside the table, until the table is written.

What is known is the table, if there is one, with the lines of the journal over it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from octcube_core.batch.columns import Columns, Key, Row, description, key_of
from octcube_core.batch.table_file import check_columns, read_table, write_table
from octcube_core.errors import InputError
from octcube_core.results import ModelIdentity


def journal_of(target: Path) -> Path:
    """Where the journal of a table lies."""
    return target.with_name(f"{target.name}.partial")


def check_target(target: Path, resume: bool) -> None:
    """Raise InputError if results may not be written to a table; makes the folder that it is to lie in."""
    if target.is_dir():
        raise InputError(f"{target} is a folder; name a file for the table.")
    if not resume and target.exists():
        raise InputError(
            f"{target} exists; --resume goes on with it, or name another file for the table."
        )
    journal = journal_of(target)
    if not resume and journal.exists() and len(_lines(journal.read_bytes())) > 1:
        raise InputError(
            f"A run that was to write {target} was ended; --resume goes on with it, or remove {journal.name} first."
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{target} cannot be written ({error.strerror}).") from error


class Journal:
    """The results of one table while a run adds to them; a context manager.

    When the block ends, by an error or an interrupt too, the table is written whole and the journal removed.

    Parameters
    ----------
    target : Path
        The table; ``check_target`` has let it pass.
    columns : Columns
    model : ModelIdentity
    fast : bool
        Results of full and of fast runs are not mixed.

    Attributes
    ----------
    rows : dict of key to Row
        All that is known, of earlier runs too.

    Raises
    ------
    InputError
        If what is known is of another model or of other options, or another run is writing it.
    """

    def __init__(self, target: Path, columns: Columns, model: ModelIdentity, fast: bool) -> None:
        self._target, self._columns, self._model = target, columns, model
        self._order: dict[Key, int] = {}
        self.path = journal_of(target)
        self.rows: dict[Key, Row] = {}
        if target.exists():
            self._take(read_table(target, columns), fast)
        try:
            # Opened to append, as two processes may get here; only one gets the lock.
            self._file = self.path.open("a+b")
        except OSError as error:
            raise InputError(f"{self.path} cannot be written ({error.strerror}).") from error
        try:
            _lock(self._file.fileno(), target)
            self._take_lines(fast)
        except BaseException:
            self._file.close()
            raise

    def add(self, row: Row) -> None:
        """Keep a row, in place of an earlier one of the same exam."""
        self.rows[key_of(row)] = row
        self._write(row)

    def order(self, keys: list[Key]) -> None:
        """Say in which order the table lists exams; others come after them."""
        self._order = {key: number for number, key in enumerate(keys)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        last = len(self._order)
        rows = sorted(self.rows.values(), key=lambda row: self._order.get(key_of(row), last))
        try:
            if rows:
                about = description(self._columns, self._model.title, self._model.hash)
                write_table(self._target, self._columns, rows, about)
        finally:
            self._file.close()
        with suppress(OSError):  # what it says stands in the table
            self.path.unlink()

    def _take_lines(self, fast: bool) -> None:
        self._file.seek(0)
        written = self._file.read()
        # Of a run that was killed while it wrote, the last line is torn.
        whole = written[: written.rfind(b"\n") + 1]
        if len(whole) < len(written):
            self._file.truncate(len(whole))
        lines = _lines(whole)
        if not lines:
            self._write({"columns": list(self._columns.types)})
            return
        try:
            names = json.loads(lines[0])["columns"]
            rows = [json.loads(line) for line in lines[1:]]
        except (ValueError, KeyError, TypeError):
            raise InputError(f"{self.path.name} is damaged; move it elsewhere first.") from None
        check_columns(self.path, names, self._columns)
        self._take(rows, fast)

    def _take(self, rows: list[Row], fast: bool) -> None:
        for row in rows:
            if row["model_hash"] != self._model.hash:
                raise InputError(
                    f"{self._target.name} holds results of {row['model']}, other weights than these of"
                    f" {self._model.title}; name another file."
                )
            if row["fast"] != fast:
                made = "with" if row["fast"] else "without"
                raise InputError(
                    f"{self._target.name} was made {made} --fast; go on {made} it or name another file."
                )
            self.rows[key_of(row)] = row

    def _write(self, line: Mapping[str, Any]) -> None:
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()


def _lines(written: bytes) -> list[bytes]:
    return written.splitlines()


def _lock(descriptor: int, target: Path) -> None:
    """Hold a file while it is open; where the system knows no such locks, do nothing."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise InputError(
            f"Another run is writing {target.name}; wait for it or name another file."
        ) from None
    except OSError:
        return  # a network drive without locks
