"""Exact search: the embeddings of one modality in memory, and the columns that filters look at.

Filters run over columns of numbers, not in SQL: SQL takes longer to name 100,000 items than the search takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.retrieval.records import Filters, Identity

UNKNOWN = -1
NO_DAY = np.iinfo(np.int64).min
_SELECTIVE = 16  # where fewer than one in so many items pass, only those are multiplied
_DEAD = 4  # more than one in so many removed items are taken out

Bools = NDArray[np.bool_]
Columns = dict[str, Any]  # name -> array of one value per item

_TYPES: dict[str, Any] = {
    "item": np.int64,
    "exam": np.int64,
    "patient": np.int32,
    "laterality": np.int8,
    "device": np.int32,
    "visit_day": np.int64,
}


class Codes:
    """Small numbers for texts, in the order in which they come; unknown is ``UNKNOWN``."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def of(self, texts: Sequence[str | None]) -> list[int]:
        """The numbers of texts, new ones for those that have none."""
        numbers = self._numbers
        return [
            UNKNOWN if text is None else numbers.setdefault(text, len(numbers)) for text in texts
        ]

    def known(self, text: str | None) -> int | None:
        """The number of a text, None if it never came."""
        return None if text is None else self._numbers.get(text)


class Codebook:
    """The texts of an index as numbers."""

    def __init__(self) -> None:
        self.patient, self.device, self.laterality = Codes(), Codes(), Codes()


class Matrix:
    """The items of one modality.

    Attributes
    ----------
    features : int
    """

    def __init__(self, features: int, codebook: Codebook) -> None:
        self.features = features
        self._codes = codebook
        self._count = 0
        self._vectors = np.empty((0, features), np.float32)
        self._columns: Columns = {name: np.empty(0, kind) for name, kind in _TYPES.items()}
        self._alive = np.empty(0, np.bool_)
        self._dead = 0

    def __len__(self) -> int:
        return self._count - self._dead

    def reserve(self, count: int) -> None:
        """Make room for so many more items at once."""
        if self._count + count > len(self._vectors):
            self._grow(self._count + count)

    def extend(self, vectors: NDArray[np.float32], columns: Columns) -> None:
        """Add items: vectors (n, features) of length 1, and a value of each column for each."""
        added = len(vectors)
        end = self._count + added
        if end > len(self._vectors):
            self._grow(max(end, self._count * 3 // 2))  # half as much again: cheap on average
        place = slice(self._count, end)
        self._vectors[place] = vectors
        for name, column in self._columns.items():
            column[place] = columns[name]
        self._alive[place] = True
        self._count = end

    def remove(self, exams: NDArray[np.int64]) -> None:
        """Forget the items of some exams."""
        gone = np.isin(self._column("exam"), exams) & self._alive[: self._count]
        self._alive[: self._count][gone] = False
        self._dead += int(gone.sum())
        if self._dead * _DEAD > self._count:
            self._compact()

    def nearest(
        self,
        vector: NDArray[np.float32],
        k: int,
        filters: Filters,
        of: Identity | None,
        exam: int | None,
        labelled: NDArray[np.int64] | None,
    ) -> list[tuple[int, float]]:
        """(item, cosine) of the k most similar items, the most similar first; equal ones by their numbers.

        Parameters
        ----------
        vector : shape (features,), of length 1
        of, exam : whom the query shows, and the number of its exam in the index
        labelled : the exams that have the filter's label, in ascending order
        """
        passing = self._passing(filters, of, exam, labelled)
        if passing is None:
            similarity, rows = self._vectors[: self._count] @ vector, None
        else:
            count = int(np.count_nonzero(passing))
            if count * _SELECTIVE < self._count:
                rows = np.flatnonzero(passing)
                similarity = self._vectors[rows] @ vector
            else:
                similarity, rows = self._vectors[: self._count] @ vector, None
                similarity[~passing] = -np.inf
            k = min(k, count)
        items = self._columns["item"]
        found = _largest(similarity, k, items if rows is None else items[rows])
        places = found if rows is None else rows[found]
        return [(int(items[p]), float(similarity[f])) for p, f in zip(places, found, strict=True)]

    def sample(self, most: int | None) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Exams and vectors, at most so many, evenly spread."""
        rows = np.flatnonzero(self._alive[: self._count])
        if most is not None and len(rows) > most:
            rows = rows[np.linspace(0, len(rows) - 1, most).astype(np.int64)]
        return self._columns["exam"][rows], self._vectors[rows]

    def _passing(
        self,
        filters: Filters,
        of: Identity | None,
        exam: int | None,
        labelled: NDArray[np.int64] | None,
    ) -> Bools | None:
        """Which items pass; None for all."""
        tests: list[Bools] = []
        if self._dead:
            tests.append(self._alive[: self._count])
        if filters.laterality is not None:
            tests.append(
                self._equal("laterality", self._codes.laterality.known(filters.laterality))
            )
        if filters.device is not None:
            tests.append(self._equal("device", self._codes.device.known(filters.device)))
        if labelled is not None:
            tests.append(np.isin(self._column("exam"), labelled))
        if filters.leave_out is not None and of is not None:
            tests += self._others(filters, of, exam)
        if not tests:
            return None
        return tests[0].copy() if len(tests) == 1 else np.logical_and.reduce(tests)

    def _others(self, filters: Filters, of: Identity, exam: int | None) -> list[Bools]:
        """Which items are not what is to be left out."""
        tests = [] if exam is None else [self._column("exam") != exam]
        patient = self._codes.patient.known(of.patient)
        if filters.leave_out == "exam" or patient is None:
            return tests
        same = self._equal("patient", patient)
        if filters.leave_out == "eye":
            # Of an unknown side it may be the same eye.
            if of.laterality is not None:
                side = self._codes.laterality.known(of.laterality)
                same &= self._equal("laterality", side) | self._equal("laterality", UNKNOWN)
        elif filters.leave_out == "visit" and of.visit_day is not None:
            days = self._column("visit_day")
            same &= (days == of.visit_day) | (days == NO_DAY)
        return [*tests, ~same]

    def _equal(self, name: str, code: int | None) -> Bools:
        column = self._column(name)
        equal: Bools = np.zeros(len(column), np.bool_) if code is None else column == code
        return equal

    def _column(self, name: str) -> NDArray[Any]:
        column: NDArray[Any] = self._columns[name][: self._count]
        return column

    def _grow(self, capacity: int) -> None:
        def grown(array: NDArray[Any]) -> NDArray[Any]:
            larger = np.empty((capacity, *array.shape[1:]), array.dtype)
            larger[: self._count] = array[: self._count]
            return larger

        self._vectors = grown(self._vectors)
        self._columns = {name: grown(column) for name, column in self._columns.items()}
        self._alive = grown(self._alive)

    def _compact(self) -> None:
        kept = np.flatnonzero(self._alive[: self._count])
        self._vectors = self._vectors[kept]
        self._columns = {name: column[kept] for name, column in self._columns.items()}
        self._alive = np.ones(len(kept), np.bool_)
        self._count, self._dead = len(kept), 0


def _largest(values: NDArray[np.float32], k: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Places of the k largest values, the largest first, equal ones by their numbers."""
    if k <= 0:
        return np.empty(0, np.int64)
    if k < len(values):
        least = np.partition(values, len(values) - k)[len(values) - k]
        places = np.flatnonzero(values >= least)
    else:
        places = np.arange(len(values))
    ordered: NDArray[np.int64] = places[np.lexsort((numbers[places], -values[places]))][:k]
    return ordered
