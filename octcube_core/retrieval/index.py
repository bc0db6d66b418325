"""The index of embeddings: which eyes of the archive look like this one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.results import ExamEmbedding, ModelIdentity
from octcube_core.retrieval.database import Row, unit
from octcube_core.retrieval.opened_index import OpenedIndex
from octcube_core.retrieval.records import (
    Filters,
    Identity,
    IndexedExam,
    Location,
    Neighbour,
)
from octcube_core.retrieval.secret import Secret
from octcube_core.retrieval.thumbnails import thumbnails


class EmbeddingIndex(OpenedIndex):
    """Embeddings of many exams by one model, with what is needed to filter, show and open them.

    One SQLite file, or tables in PostgreSQL with pgvector; the same calls and, up to the recall of pgvector's graph,
    the same results. Several processes may add and search at once. An index can be used from any thread, one at a
    time. The first exam decides on the model.

    No name, id, birth date or date is stored; see ``octcube_core.retrieval.secret``.

    Parameters
    ----------
    address : path of the file, or a URL ``postgresql://user@host/database?schema=NAME``
    create : bool
        Make the index if there is none.

    Raises
    ------
    EmbeddingIndexError
        If it is damaged, locked, of a newer version, or cannot be reached, in one sentence.
    """

    def __len__(self) -> int:
        """Number of exams."""
        return self.counts()["exams"]

    def identity(self, exam: Exam) -> Identity:
        """Whose an exam is and of when, as this index knows it."""
        # Without the salt of the index, nobody is known to be the same.
        return (self._secret or Secret.new()).identity(exam)

    def add(
        self,
        exam: Exam,
        embedding: ExamEmbedding,
        *,
        labels: Iterable[str] = (),
        scores: dict[str, float] | None = None,
        part: str = "",
    ) -> bool:
        """Add an exam; return whether it is new.

        Parameters
        ----------
        exam : Exam
        embedding : ExamEmbedding
            Of ``octcube_core.embedding.embed``.
        labels : abbreviations of what is known of the eye
        scores : probabilities by a model, by abbreviation
        part : which exam of its file it is, where there are several (``ExamEntry.part``)

        Raises
        ------
        EmbeddingIndexError
            If the embeddings are another model's, the salt is missing, or the index cannot be written.
        """
        secret = self.needed_secret()
        location = None
        if exam.source is not None:
            location = Location(exam.source.resolve(), part)
        record = IndexedExam(
            secret.identity(exam),
            embedding.vectors,
            exam.device,
            tuple(labels),
            scores or {},
            thumbnails(exam),
            None if location is None else secret.seal(location),
            None if location is None else secret.stamp(location),
        )
        return self.add_records([record], embedding.model) == 1

    def add_records(self, records: Sequence[IndexedExam], model: ModelIdentity) -> int:
        """Add many in one transaction, all or none of them; return how many were new. Raises as ``add``."""
        self.needed_secret()
        for record in records:  # before an index is bound to a model by what cannot be added
            for vector in record.embeddings.values():
                unit(vector, model.features)
        with self._database.lock:
            self._agree_on(model)
            return self._database.add(records, model.features)

    def search(
        self,
        query: ExamEmbedding | NDArray[np.floating],
        *,
        to: str | None = None,
        by: str | None = None,
        k: int = 10,
        filters: Filters | None = None,
        exam: Exam | Identity | None = None,
    ) -> list[Neighbour]:
        """Find the most similar eyes.

        Parameters
        ----------
        query : ExamEmbedding, or array of shape (features,)
        to : str, optional
            Modality to look among; by default that of the query.
        by : str, optional
            Modality of the exam that is the query; by default its first.
        k : int
        filters : Filters, optional
            By default all but the exam itself.
        exam : Exam or Identity, optional
            Whom the query shows, so that it can be left out.

        Returns
        -------
        list of Neighbour
            By cosine similarity, the most similar first.

        Raises
        ------
        EmbeddingIndexError
            If the query is another model's, or the index cannot be read.
        InputError
            If the query has no such modality, or the wrong length.
        """
        if k < 1:
            raise InputError("Ask for at least one neighbour.")
        filters = filters or Filters()
        of = self.identity(exam) if isinstance(exam, Exam) else exam
        if isinstance(query, ExamEmbedding):
            self.check_model(query.model)
            by, vector = query.of(by)
        else:
            vector = np.asarray(query, np.float32)
        if self.model is None:
            return []
        vector = unit(vector, self.model.features)
        with self._database.lock, self._database.reading():
            found = self._database.nearest(vector, to or by or "OCT", k, filters, of)
            rows = self._database.rows([item for item, _ in found])
            labels = self._database.labels_of([row.exam for row in rows.values()])
        return [
            self._neighbour(rows[item], similarity, labels.get(rows[item].exam, ()))
            for item, similarity in found
            if item in rows  # else another process removed it just now
        ]

    def thumbnails(self, neighbours: Sequence[Neighbour]) -> dict[int, bytes]:
        """JPEG files by the number of the item; of items without one, nothing."""
        with self._database.lock, self._database.reading():
            return self._database.thumbnails([neighbour.item for neighbour in neighbours])

    def vectors(
        self, modality: str, *, most: int | None = None
    ) -> tuple[list[int], NDArray[np.float32]]:
        """Numbers of exams and their embeddings, shape (n, features); at most so many, spread over the archive."""
        if self.model is None:
            return [], np.empty((0, 0), np.float32)
        with self._database.lock, self._database.reading():
            self._load()
            exams, vectors = self._database.vectors(modality, most)
        return exams, vectors.reshape(-1, self.model.features)

    def counts(self) -> dict[str, int]:
        """Number of exams ("exams") and of embeddings of each modality."""
        with self._database.lock, self._database.reading():
            return self._database.counts()

    def distinct(self, what: str) -> list[str]:
        """All values of 'modality', 'device' or 'label', in alphabetical order."""
        with self._database.lock, self._database.reading():
            return self._database.distinct(what)

    def labels_of(self, exams: Sequence[int]) -> dict[int, tuple[str, ...]]:
        """Labels of exams by their numbers."""
        with self._database.lock, self._database.reading():
            return self._database.labels_of(exams)

    def find(self, exam: Exam) -> int | None:
        """The number of an exam in the index, by its content; None if it is not there."""
        if self._secret is None:
            return None
        with self._database.lock, self._database.reading():
            return self._database.exam_of(self._secret.content(exam))

    def places(self) -> list[tuple[int, str, Location | None, str | None]]:
        """(number, content, location, stamp) of all exams; see ``IndexedExam``."""
        with self._database.lock, self._database.reading():
            found = self._database.places()
        return [
            (number, content, self._location(sealed), stamp)
            for number, content, sealed, stamp in found
        ]

    def stamps(self) -> set[str]:
        """Stamps of all exams; see ``IndexedExam``. Unlike ``places`` it decrypts nothing."""
        with self._database.lock, self._database.reading():
            found = self._database.places()
        return {stamp for _, _, _, stamp in found if stamp is not None}

    def relocate(self, content: str, location: Location) -> None:
        """Note where an exam lies now; of another one that lay there, the place is unknown from now on."""
        secret = self.needed_secret()
        self._database.relocate(content, secret.seal(location), secret.stamp(location))

    def label(self, exam: int, labels: Iterable[str]) -> None:
        """Replace the labels of an exam."""
        self._database.label(exam, labels)

    def remove(self, exams: Sequence[int]) -> int:
        """Remove exams by their numbers; return how many were there."""
        return self._database.remove(exams)

    def check(self) -> None:
        """Look through everything for damage; EmbeddingIndexError if there is any."""
        self._database.check()
        with self._database.lock, self._database.reading():
            self._load()

    def _neighbour(self, row: Row, similarity: float, labels: tuple[str, ...]) -> Neighbour:
        side: Any = row.laterality
        return Neighbour(
            min(max(similarity, -1.0), 1.0),
            row.item,
            row.exam,
            row.modality,
            Identity(row.content, row.patient, side, row.visit_day),
            row.device,
            labels,
            json.loads(row.scores) if row.scores else {},
            self._location(row.location),
        )

    def _location(self, sealed: bytes | None) -> Location | None:
        return None if sealed is None or self._secret is None else self._secret.unseal(sealed)
