"""From the eye in view to the eyes of the archive that look like it: asks the archive and the model process. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_octcube._archive import Archive, ArchiveFacts, facts_of
from napari_octcube._inference import Dispatch, InferenceClient, for_the_model
from napari_octcube._opening import produce_in_background
from napari_octcube._remembered import remember_archive
from napari_octcube._session import Session
from napari_octcube._settings import Settings
from napari_octcube._similar_state import Found, SimilarState
from octcube_core.checkpoints.released import NAMES
from octcube_core.exam import Exam
from octcube_core.results import ExamEmbedding
from octcube_core.retrieval.index import EmbeddingIndex
from octcube_core.retrieval.records import Filters, Neighbour
from octcube_core.retrieval.reopen import reopen
from octcube_core.retrieval.votes import label_votes
from octcube_core.worker_protocol import Embed, Embedded, Explain, Explained, Failed, Reply

EMBEDDING, SEARCHING, ADDING = "Embedding this eye …", "Searching …", "Adding this exam …"
OPENING, EXPLAINING = "Opening the archive …", "Explaining the similarity …"
READING = "Reading the similar eye …"


class SimilarEyes:
    """Acts on the state of the tab. All methods and callbacks happen on the owner's thread.

    Parameters
    ----------
    session : Session
        Of the viewer: the exam in view is the query.
    client : InferenceClient
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    """

    def __init__(self, session: Session, client: InferenceClient, dispatch: Dispatch) -> None:
        self.state = SimilarState()
        self.archive = Archive(dispatch)
        self._session = session
        self._client = client
        self._dispatch = dispatch
        self._embedding: tuple[Exam, str, ExamEmbedding] | None = None
        session.events.exam.connect(self._on_exam)

    @property
    def settings(self) -> Settings:
        """Where and how models run."""
        return self._client.settings

    def close(self) -> None:
        """Let go of the archive; nothing is heard of it afterwards."""
        self.archive.close()

    def open_archive(self, address: str, create: bool = False) -> None:
        """Open an archive, or make it."""
        self._begin(OPENING)
        self.archive.open(address, create, self._on_opened, self.fail)

    def refresh(self) -> None:
        """Look again at what the archive holds."""
        facts = self.state.archive
        if facts is not None:
            address = facts.address
            self.archive.run(lambda index: facts_of(index, address), self._set_facts, self.fail)

    def find(self) -> None:
        """Search for the eyes most similar to the one in view."""
        if self._session.exam is not None and self.state.archive is not None:
            self._with_embedding(self._search)

    def ask(self, **changes: Any) -> None:
        """Change the question: by, to, count, or a field of the filters; what was found is found anew."""
        for name in ("by", "to", "count"):
            if name in changes:
                setattr(self.state, name, changes.pop(name))
        if changes:
            self.state.filters = replace(self.state.filters, **changes)
        if self.state.found is not None:
            self.find()

    def add_exam(self) -> None:
        """Add the exam in view to the archive, with the scores that it has."""
        exam, analysis = self._session.exam, self._session.analysis
        if exam is None or self.state.archive is None:
            return
        scores = {
            score.abbreviation: score.probability for score in (analysis.scores if analysis else ())
        }

        def add(embedding: ExamEmbedding) -> None:
            self._begin(ADDING)
            self.archive.run(
                lambda index: index.add(exam, embedding, scores=scores), self._on_added, self.fail
            )

        self._with_embedding(add)

    def read(self, neighbour: Neighbour, on_exam: Callable[[Exam], None]) -> None:
        """Read a neighbour's exam from where it lies."""
        self._begin(READING)

        def done(exam: Exam) -> None:
            self.state.busy = ""
            on_exam(exam)

        # On a thread of its own: a large file must not keep searches waiting.
        self.archive.run(
            lambda index: index.secret,
            lambda secret: produce_in_background(
                lambda: reopen(neighbour, secret), self._dispatch, done, self.fail
            ),
            self.fail,
        )

    def explain(
        self, neighbour: Neighbour, on_explained: Callable[[Exam, Exam, Explained], None]
    ) -> None:
        """Ask what makes the eye in view and a neighbour alike."""
        exam, found, model = self._session.exam, self.state.found, self.known_model()
        if exam is None or found is None or model is None:
            return

        def ask(other: Exam) -> None:
            self.state.busy = EXPLAINING
            pair = for_the_model(exam), found.by, for_the_model(other), neighbour.modality
            self._client.ask(
                lambda job: Explain(job, *pair, model),
                lambda reply: self._on_explained(reply, exam, other, on_explained),
            )

        self.read(neighbour, ask)

    @property
    def model(self) -> str | None:
        """The model that made the archive, or that shall make it: a name or a file; None if the file is unknown."""
        facts = self.state.archive
        if facts is None or facts.model is None:
            return self.state.new_model
        source, chosen = facts.model.source, self._session.model
        if source in NAMES or "://" in source:
            return source
        # Of a local file the archive knows the name alone.
        return chosen if Path(chosen).name == source else None

    def known_model(self) -> str | None:
        """The same, with a word to the user if the file is unknown."""
        model, facts = self.model, self.state.archive
        if model is None and facts is not None and facts.model is not None:
            self.fail(
                f"This archive was made by {facts.model.title}, the file {facts.model.source}; choose that file as the"
                " model in the tab Analysis."
            )
        return model

    def query_vector(self) -> NDArray[np.float32] | None:
        """The embedding of what is the query, None while there is none."""
        if self._embedding is None or self._embedding[0] is not self._session.exam:
            return None
        return self._embedding[2].vectors.get(self.state.by)

    def fail(self, message: str) -> None:
        """What was asked for did not happen; one sentence says why."""
        self.state.busy = ""
        self.state.error = message

    def _with_embedding(self, then: Callable[[ExamEmbedding], None]) -> None:
        """Do something with the embedding of the exam in view by the archive's model."""
        exam, model = self._session.exam, self.known_model()
        assert exam is not None
        if model is None:
            return
        if self._embedding is not None and self._embedding[:2] == (exam, model):
            then(self._embedding[2])
            return
        self._begin(EMBEDDING)

        def on_reply(reply: Reply) -> None:
            if exam is not self._session.exam:
                self.state.busy = ""
            elif isinstance(reply, Embedded):
                self._embedding = (exam, model, reply.embedding)
                then(reply.embedding)
            elif isinstance(reply, Failed):
                self.fail(reply.message)
            else:
                self.state.busy = ""

        self._client.ask(lambda job: Embed(job, for_the_model(exam), model), on_reply)

    def _search(self, embedding: ExamEmbedding) -> None:
        exam, state = self._session.exam, self.state
        assert exam is not None
        if state.by not in embedding.vectors:
            state.by = next(iter(embedding.vectors))
        facts = state.archive
        if facts is not None and state.to not in facts.modalities and facts.modalities:
            state.to = facts.modalities[0]
        by, to, count, filters = state.by, state.to, state.count, state.filters
        self._begin(SEARCHING)
        self.archive.run(
            lambda index: _found(index, exam, embedding, by, to, count, filters),
            lambda found: self._on_found(exam, found),
            self.fail,
            replaces="search",
        )

    def _on_found(self, exam: Exam, found: Found) -> None:
        self.state.busy = ""
        if exam is self._session.exam:
            self.state.selected = None
            self.state.found = found

    def _on_explained(
        self,
        reply: Reply,
        exam: Exam,
        other: Exam,
        on_explained: Callable[[Exam, Exam, Explained], None],
    ) -> None:
        self.state.busy = ""
        if isinstance(reply, Explained):
            on_explained(exam, other, reply)
        elif isinstance(reply, Failed):
            self.fail(reply.message)

    def _on_opened(self, facts: ArchiveFacts) -> None:
        self.state.busy = ""
        self.state.found = self.state.selected = self.state.map = None
        self.state.filters = Filters(leave_out=self.state.filters.leave_out)
        self._set_facts(facts)
        remember_archive(facts.address)

    def _on_added(self, new: bool) -> None:
        self.state.busy = ""
        self.state.note = (
            "This exam is in the archive now." if new else "This exam was in the archive already."
        )
        self.refresh()

    def _set_facts(self, facts: ArchiveFacts) -> None:
        self.state.archive = facts

    def _on_exam(self) -> None:
        self._embedding = None
        self.state.found = self.state.selected = self.state.beside = None
        self.state.note = self.state.error = ""

    def _begin(self, busy: str) -> None:
        self.state.error = self.state.note = ""
        self.state.busy = busy


def _found(
    index: EmbeddingIndex,
    exam: Exam,
    embedding: ExamEmbedding,
    by: str,
    to: str,
    count: int,
    filters: Filters,
) -> Found:
    """Search; runs on the archive's thread."""
    who = index.identity(exam)
    neighbours = index.search(embedding, by=by, to=to, k=count, filters=filters, exam=who)
    votes = label_votes(neighbours)
    return Found(by, to, who, tuple(neighbours), index.thumbnails(neighbours), votes)
