"""An index in one SQLite file (WAL, transactions), searched exactly in memory.

SQLite itself would hand out changed bytes. So every embedding carries a checksum, and every other column that a result
shows lies in an index too, with which SQLite compares it: both at opening, before anybody relies on a result.
"""

from __future__ import annotations

import os
import sqlite3
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import EmbeddingIndexError
from octcube_core.retrieval.database import VERSION, Database
from octcube_core.retrieval.faults import damaged, sqlite_sentence
from octcube_core.retrieval.matrix import NO_DAY, Codebook, Matrix
from octcube_core.retrieval.records import Filters, Identity
from octcube_core.retrieval.sqlite_file import (
    APPLICATION_ID,
    CHECKED,
    STATEMENTS,
    check_start,
    has_tables,
    missing,
)

PATIENCE_S = 30.0  # for other writers
LOADED_AT_ONCE = 4096  # rows

_NEW_ITEMS = """
SELECT i.id, i.exam, i.modality, i.embedding, i.checksum, e.patient, e.laterality, e.visit_day, e.device
FROM items i JOIN exams e ON e.id = i.exam WHERE i.id > ? ORDER BY i.id
"""


class SQLiteDatabase(Database):
    """One file.

    Parameters
    ----------
    path : Path
        Made, with empty tables, if it does not exist and ``create`` is set.
    patience_s : float
        How long to wait for other writers.

    Raises
    ------
    EmbeddingIndexError
        If it is no index, damaged, locked, of a newer version, or cannot be reached.
    """

    def __init__(self, path: Path, *, create: bool = True, patience_s: float = PATIENCE_S) -> None:
        super().__init__()
        self.where = str(path)
        self._path = path
        self._patience_s = patience_s
        self._matrices: dict[str, Matrix] = {}
        self._codes = Codebook()
        self._labelled: dict[str, NDArray[np.int64]] = {}
        self._last_item = self._last_change = 0
        self._version: tuple[int, int] | None = None
        self._features = 0
        if not create and not path.exists():
            raise EmbeddingIndexError(missing(path))
        with self.reading():
            check_start(path)
            self._connection = self._connected()
            try:
                if has_tables(path, self._connection):
                    self._raise_if_damaged(CHECKED)
                elif not create:
                    raise EmbeddingIndexError(missing(path))
                elif not self.read_only:
                    self._begin_tables()
            except BaseException:
                self._connection.close()
                raise

    def execute(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        return self._connection.execute(sql, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self.lock, self.reading():
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                with suppress(sqlite3.Error):
                    self.execute("ROLLBACK")
                raise

    @contextmanager
    def reading(self) -> Iterator[None]:
        try:
            yield
        except UnicodeError as error:  # also in the middle of what SQLite says of damage
            raise EmbeddingIndexError(damaged(self._path)) from error
        except (sqlite3.Error, OSError) as error:
            raise EmbeddingIndexError(
                sqlite_sentence(self._path, error, self._patience_s)
            ) from error

    def encode(self, vector: NDArray[np.float32]) -> tuple[bytes, int]:
        stored = vector.astype("<f2").tobytes()
        return stored, zlib.crc32(stored)

    def nearest(
        self,
        vector: NDArray[np.float32],
        modality: str,
        k: int,
        filters: Filters,
        of: Identity | None,
    ) -> list[tuple[int, float]]:
        self.load(len(vector))
        matrix = self._matrices.get(modality)
        if matrix is None:
            return []
        exam = self.exam_of(of.content) if of is not None else None
        return matrix.nearest(vector, k, filters, of, exam, self._with_label(filters.label))

    def vectors(self, modality: str, most: int | None) -> tuple[list[int], NDArray[np.float32]]:
        self.load(self._features)
        matrix = self._matrices.get(modality)
        if matrix is None:
            return [], np.empty((0, self._features), np.float32)
        exams, vectors = matrix.sample(most)
        return exams.tolist(), vectors

    def load(self, features: int) -> None:
        """Bring the items in memory up to date with the file; EmbeddingIndexError if one is damaged."""
        (version,) = self.execute("PRAGMA data_version").fetchone()
        changes = self._connection.total_changes
        if (version, changes) == self._version:
            return
        self._features = features
        self._labelled.clear()
        if self._last_item:
            self._forget_changed()
        else:  # nothing is held yet; what changes from here on is looked up next time
            (self._last_change,) = self.execute(
                "SELECT COALESCE(MAX(number), 0) FROM changes"
            ).fetchone()
        counting = "SELECT modality, COUNT(*) FROM items WHERE id > ? GROUP BY modality"
        for modality, count in self.execute(counting, (self._last_item,)).fetchall():
            if count > LOADED_AT_ONCE:
                self._matrix(modality).reserve(count)
        cursor = self.execute(_NEW_ITEMS, (self._last_item,))
        while rows := cursor.fetchmany(LOADED_AT_ONCE):
            self._take(rows, features)
        self._version = version, changes

    def check(self) -> None:
        """Look through the whole file, thumbnails and indices included."""
        with self.reading():
            self._raise_if_damaged([""])

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.close()

    def _take(self, rows: list[tuple[Any, ...]], features: int) -> None:
        """Take rows of ``_NEW_ITEMS`` into memory."""
        self._check_embeddings(rows, features)
        for modality in {row[2] for row in rows}:
            chosen = [row for row in rows if row[2] == modality]
            halves = np.frombuffer(b"".join([row[3] for row in chosen]), "<f2")
            vectors = halves.reshape(-1, features).astype(np.float32)
            # Half precision moved the lengths away from 1.
            vectors /= np.sqrt(np.einsum("ij,ij->i", vectors, vectors))[:, None]
            of = self._codes
            columns = {
                "item": [row[0] for row in chosen],
                "exam": [row[1] for row in chosen],
                "patient": of.patient.of([row[5] for row in chosen]),
                "laterality": of.laterality.of([row[6] for row in chosen]),
                "visit_day": [NO_DAY if row[7] is None else row[7] for row in chosen],
                "device": of.device.of([row[8] for row in chosen]),
            }
            self._matrix(modality).extend(vectors, columns)
        self._last_item = rows[-1][0]

    def _matrix(self, modality: str) -> Matrix:
        if modality not in self._matrices:
            self._matrices[modality] = Matrix(self._features, self._codes)
        return self._matrices[modality]

    def _forget_changed(self) -> None:
        """Let go of the items of exams that were removed or changed; those that are still there are read again."""
        found = self.execute(
            "SELECT number, exam FROM changes WHERE number > ? ORDER BY number",
            (self._last_change,),
        ).fetchall()
        if not found:
            return
        exams = np.array(sorted({exam for _, exam in found}))
        rows = [
            row
            for exam in exams.tolist()
            for row in self.execute(
                _NEW_ITEMS.replace("i.id > ?", "i.id <= ? AND i.exam = ?"), (self._last_item, exam)
            )
        ]
        # Not before all is read: what fails is tried again.
        for matrix in self._matrices.values():
            matrix.remove(exams)
        self._last_change = found[-1][0]
        if rows:
            last, rows = self._last_item, sorted(rows)
            self._take(rows, self._features)
            self._last_item = last

    def _with_label(self, label: str | None) -> NDArray[np.int64] | None:
        if label is None:
            return None
        if label not in self._labelled:
            found = self.execute("SELECT exam FROM labels WHERE label = ? ORDER BY exam", (label,))
            self._labelled[label] = np.array([exam for (exam,) in found], np.int64)
        return self._labelled[label]

    def _connected(self) -> sqlite3.Connection:
        """Connect; to a file that cannot be written to, for reading."""
        path = self._path
        if not path.exists() or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
            return self._connection_to("rwc")
        self.read_only = True
        try:
            connection = self._connection_to("ro")
            connection.execute("SELECT 1 FROM sqlite_master").fetchall()
        except sqlite3.OperationalError:
            # Where its -shm file cannot be made either; nobody can be writing there.
            connection = self._connection_to("ro&immutable=1")
        return connection

    def _connection_to(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.resolve().as_uri()}?mode={mode}",
            uri=True,
            timeout=self._patience_s,
            isolation_level=None,
            check_same_thread=False,
        )
        for pragma in ("foreign_keys = ON", "trusted_schema = OFF", "cell_size_check = ON"):
            connection.execute(f"PRAGMA {pragma}")
        return connection

    def _begin_tables(self) -> None:
        self.execute("PRAGMA journal_mode = WAL")
        with self.transaction():
            (tables,) = self.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
            if tables:
                return  # another process was first
            for statement in STATEMENTS:
                self.execute(statement)
            self.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            self.execute(f"PRAGMA user_version = {VERSION}")

    def _raise_if_damaged(self, tables: Sequence[str]) -> None:
        """Look through tables, or the whole file for ''; that rows and their indices agree as well."""
        for table in tables:
            argument = f"({table})" if table else "(1)"
            if self.execute(f"PRAGMA integrity_check{argument}").fetchone() != ("ok",):
                raise EmbeddingIndexError(damaged(self._path))

    def _check_embeddings(self, rows: list[tuple[Any, ...]], features: int) -> None:
        crc32, size = zlib.crc32, 2 * features
        try:
            sound = all(len(row[3]) == size and crc32(row[3]) == row[4] for row in rows)
        except TypeError:  # no bytes at all
            sound = False
        if not sound:
            raise EmbeddingIndexError(damaged(self._path))
