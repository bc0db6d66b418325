"""The tables of an index and what is asked of them, for SQLite and PostgreSQL alike.

The two differ in how a connection is made, how a vector is stored and how the nearest ones are found; the rest is SQL
that both understand, with ``?`` for a value.
"""

from __future__ import annotations

import json
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.retrieval.records import Filters, Identity, IndexedExam

VERSION = 1  # of the tables
MANY = 500  # values in one IN (...)


class Row(NamedTuple):
    """What the database knows of an item."""

    item: int
    exam: int
    modality: str
    content: str
    patient: str | None
    laterality: str | None
    visit_day: int | None
    device: str | None
    scores: str | None
    location: bytes | None


class Database(ABC):
    """A connection to the tables; used by one thread at a time.

    Attributes
    ----------
    read_only : bool
    where : str
        What to call the index in a sentence; never a password.
    """

    read_only = False
    where = ""

    def __init__(self) -> None:
        self.lock = threading.RLock()

    @abstractmethod
    def execute(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """Run a statement; return a cursor."""

    @abstractmethod
    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Everything inside happens, or nothing of it; what goes wrong is said in one sentence."""

    @abstractmethod
    @contextmanager
    def reading(self) -> Iterator[None]:
        """What goes wrong inside is said in one sentence."""

    @abstractmethod
    def encode(self, vector: NDArray[np.float32]) -> tuple[Any, int]:
        """What the column of embeddings takes (half precision), and a checksum."""

    @abstractmethod
    def nearest(
        self,
        vector: NDArray[np.float32],
        modality: str,
        k: int,
        filters: Filters,
        of: Identity | None,
    ) -> list[tuple[int, float]]:
        """(item, cosine) of the k nearest items of a modality that pass the filters, the nearest first."""

    @abstractmethod
    def vectors(self, modality: str, most: int | None) -> tuple[list[int], NDArray[np.float32]]:
        """Exams and embeddings (n, features) of a modality; at most so many, spread over the archive."""

    def load(self, features: int) -> None:  # noqa: B027 - not every database holds anything in memory
        """Bring what is held in memory up to date; ``features`` is the length of the embeddings."""

    def set_features(self, features: int) -> None:  # noqa: B027
        """Say how long the embeddings of a new index are."""

    @abstractmethod
    def check(self) -> None:
        """Look through everything for damage; EmbeddingIndexError if there is any."""

    @abstractmethod
    def close(self) -> None:
        """Free the connection."""

    def about(self) -> dict[str, str]:
        """Facts about the index as a whole: id, version, verifier, model."""
        return dict(self.execute("SELECT name, value FROM about").fetchall())

    def state(self, values: dict[str, str]) -> None:
        """Note facts about the index that are not there yet."""
        for name, value in values.items():
            self.execute(
                "INSERT INTO about (name, value) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
                (name, value),
            )

    def add(self, exams: Sequence[IndexedExam], features: int) -> int:
        """Add exams in one transaction; return how many were new.

        An exam whose content is there keeps its number: it gains modalities, and what else it brought replaces what
        was known. Another exam at the same place is gone: its file was replaced.
        """
        with self.transaction():
            return sum(self._add(exam, features) for exam in exams)

    def _add(self, exam: IndexedExam, features: int) -> bool:
        who = exam.identity
        scores = json.dumps(dict(exam.scores)) if exam.scores else None
        if exam.location is not None:
            self._remove("location = ? AND content <> ?", (exam.location, who.content))
        found = self.execute("SELECT id FROM exams WHERE content = ?", (who.content,)).fetchone()
        if found is None:
            columns = "content, patient, laterality, visit_day, device, scores, location, stamp"
            values = (
                *(who.content, who.patient, who.laterality, who.visit_day),
                *(exam.device, scores, exam.location, exam.stamp),
            )
            marks = ", ".join("?" * len(values))
            (number,) = self.execute(
                f"INSERT INTO exams ({columns}) VALUES ({marks}) RETURNING id", values
            ).fetchone()
        else:
            (number,) = found
            self._update(number, exam, scores)
        for label in dict.fromkeys(exam.labels):
            self.execute(
                "INSERT INTO labels (exam, label) VALUES (?, ?) ON CONFLICT DO NOTHING",
                (number, label),
            )
        for modality, vector in exam.embeddings.items():
            self._add_item(number, modality, unit(vector, features), exam.thumbnails.get(modality))
        return found is None

    def _update(self, number: int, exam: IndexedExam, scores: str | None) -> None:
        who = exam.identity
        new = {
            **{"patient": who.patient, "laterality": who.laterality, "visit_day": who.visit_day},
            **{"device": exam.device, "scores": scores},
            **{"location": exam.location, "stamp": exam.stamp},
        }
        known = {name: value for name, value in new.items() if value is not None}
        if known:
            columns = ", ".join(f"{name} = ?" for name in known)
            self.execute(f"UPDATE exams SET {columns} WHERE id = ?", (*known.values(), number))
            self._note_change(number)
        if exam.labels:
            self.execute("DELETE FROM labels WHERE exam = ?", (number,))

    def _add_item(
        self, exam: int, modality: str, vector: NDArray[np.float32], picture: bytes | None
    ) -> None:
        stored, checksum = self.encode(vector)
        added = self.execute(
            "INSERT INTO items (exam, modality, embedding, checksum) VALUES (?, ?, ?, ?) "
            "ON CONFLICT (exam, modality) DO NOTHING RETURNING id",
            (exam, modality, stored, checksum),
        ).fetchone()
        if added is not None and picture is not None:
            self.execute(
                "INSERT INTO thumbnails (item, picture) VALUES (?, ?)", (added[0], picture)
            )

    def remove(self, exams: Sequence[int]) -> int:
        """Remove exams by their numbers; return how many were there."""
        with self.transaction():
            return sum(self._remove(f"id IN ({_marks(part)})", part) for part in _parts(exams))

    def _remove(self, condition: str, values: Sequence[Any]) -> int:
        # Rows that refer to an exam go with it (ON DELETE CASCADE).
        found = self.execute(f"SELECT id FROM exams WHERE {condition}", values).fetchall()
        for (number,) in found:
            self.execute("DELETE FROM exams WHERE id = ?", (number,))
            self._note_change(number)
        return len(found)

    def _note_change(self, exam: int) -> None:
        # What others have in memory is out of date; new items they find by their numbers.
        self.execute("INSERT INTO changes (exam) VALUES (?)", (exam,))

    def relocate(self, content: str, location: bytes, stamp: str | None) -> None:
        """Note where an exam that is there lies now; of another that lay there, the place is unknown now."""
        with self.transaction():
            self.execute(
                "UPDATE exams SET location = NULL, stamp = NULL WHERE location = ? AND content <> ?",
                (location, content),
            )
            self.execute(
                "UPDATE exams SET location = ?, stamp = ? WHERE content = ?",
                (location, stamp, content),
            )

    def label(self, exam: int, labels: Iterable[str]) -> None:
        """Replace the labels of an exam."""
        with self.transaction():
            if self.execute("SELECT 1 FROM exams WHERE id = ?", (exam,)).fetchone() is None:
                raise InputError(f"{self.where} holds that exam no longer; search again.")
            self.execute("DELETE FROM labels WHERE exam = ?", (exam,))
            for label in dict.fromkeys(labels):
                self.execute("INSERT INTO labels (exam, label) VALUES (?, ?)", (exam, label))
            self._note_change(exam)

    def places(self) -> list[tuple[int, str, bytes | None, str | None]]:
        """(exam, content, location, stamp) of all exams."""
        sql = "SELECT id, content, location, stamp FROM exams ORDER BY id"
        return [
            (number, content, _bytes(location), stamp)
            for number, content, location, stamp in self.execute(sql).fetchall()
        ]

    def exam_of(self, content: str) -> int | None:
        """The number of the exam of a content, None if it is not there."""
        found = self.execute("SELECT id FROM exams WHERE content = ?", (content,)).fetchone()
        return None if found is None else int(found[0])

    def rows(self, items: Sequence[int]) -> dict[int, Row]:
        """What is known of items, by their numbers."""
        found: dict[int, Row] = {}
        for part in _parts(items):
            sql = (
                "SELECT i.id, i.exam, i.modality, e.content, e.patient, e.laterality, e.visit_day, e.device, e.scores,"
                f" e.location FROM items i JOIN exams e ON e.id = i.exam WHERE i.id IN ({_marks(part)})"
            )
            for row in self.execute(sql, part).fetchall():
                found[row[0]] = Row._make((*row[:-1], _bytes(row[-1])))
        return found

    def labels_of(self, exams: Sequence[int]) -> dict[int, tuple[str, ...]]:
        """Labels of exams by their numbers, in alphabetical order."""
        found: dict[int, list[str]] = {}
        for part in _parts(exams):
            sql = f"SELECT exam, label FROM labels WHERE exam IN ({_marks(part)}) ORDER BY label"
            for exam, label in self.execute(sql, part).fetchall():
                found.setdefault(exam, []).append(label)
        return {exam: tuple(labels) for exam, labels in found.items()}

    def thumbnails(self, items: Sequence[int]) -> dict[int, bytes]:
        """JPEG files of items by their numbers."""
        found: dict[int, bytes] = {}
        for part in _parts(items):
            sql = f"SELECT item, picture FROM thumbnails WHERE item IN ({_marks(part)})"
            found |= {item: bytes(picture) for item, picture in self.execute(sql, part).fetchall()}
        return found

    def distinct(self, what: str) -> list[str]:
        """All modalities, devices or labels that occur, in alphabetical order."""
        table = {"modality": "items", "device": "exams", "label": "labels"}[what]
        sql = f"SELECT DISTINCT {what} FROM {table} WHERE {what} IS NOT NULL ORDER BY {what}"
        return [value for (value,) in self.execute(sql).fetchall()]

    def counts(self) -> dict[str, int]:
        """Number of exams ("exams") and of items of each modality."""
        (exams,) = self.execute("SELECT COUNT(*) FROM exams").fetchone()
        sql = "SELECT modality, COUNT(*) FROM items GROUP BY modality ORDER BY modality"
        return {"exams": exams, **dict(self.execute(sql).fetchall())}


def unit(vector: NDArray[np.floating], features: int) -> NDArray[np.float32]:
    """A vector of length 1; InputError if it is none of so many features."""
    values = np.asarray(vector, np.float32)
    norm = float(np.linalg.norm(values))
    if values.shape != (features,) or not np.isfinite(norm) or norm == 0:
        raise InputError(
            f"An embedding must be {features} numbers, finite and not all zero; this one has shape {values.shape}."
        )
    return values / np.float32(norm)


def _parts(values: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    for first in range(0, len(values), MANY):
        yield tuple(values[first : first + MANY])


def _marks(values: Sequence[Any]) -> str:
    return ", ".join("?" * len(values))


def _bytes(value: Any) -> bytes | None:
    return None if value is None else bytes(value)
