"""The scores of the eye beside, by the model that scored the eye in view. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from psygnal import SignalGroupDescriptor

from napari_octcube._inference import InferenceClient, for_the_model
from napari_octcube._session import Session
from octcube_core.exam import Exam
from octcube_core.results import Analysis
from octcube_core.worker_protocol import Analyze, Failed, Finished, Reply


@dataclass(eq=False)
class ComparisonState:
    """What is beside, and what is known of it; ``state.events.<field>`` tells when a field changes.

    Attributes
    ----------
    exam : Exam or None
    analysis : Analysis or None
        By the same model as that of the eye in view.
    note : str
        What is going on, or why there are no scores.
    """

    exam: Exam | None = None
    analysis: Analysis | None = None
    note: str = ""

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()


class Comparison:
    """Has the eye beside analysed as soon as both eyes are there and the one in view has scores.

    Parameters
    ----------
    session : Session
    client : InferenceClient
    """

    def __init__(self, session: Session, client: InferenceClient) -> None:
        self.state = ComparisonState()
        self._session = session
        self._client = client
        self._asked: tuple[Exam, str] | None = None  # for which no answer has come yet
        session.events.analysis.connect(self._update)

    def close(self) -> None:
        """Leave the session alone from now on."""
        self._session.events.analysis.disconnect(self._update)

    def show(self, exam: Exam | None) -> None:
        """Another eye is beside, or none."""
        self._asked = None
        self.state.analysis = None
        self.state.exam = exam
        self._update()

    def _update(self) -> None:
        exam, here = self.state.exam, self._session.analysis
        if exam is None or here is None:
            self.state.note = "" if exam is None else "Run the eye in view to compare the scores."
            return
        there = self.state.analysis
        if there is not None and there.card.title == here.card.title:
            return
        asked = exam, self._session.model
        if self._asked == asked:
            return
        self._asked = asked
        self.state.analysis = None
        self.state.note = "Analysing the eye beside …"
        self._client.ask(
            lambda job: Analyze(job, for_the_model(exam), asked[1]),
            lambda reply: self._on_reply(reply, asked),
        )

    def _on_reply(self, reply: Reply, asked: tuple[Exam, str]) -> None:
        if self._asked != asked:
            return  # another eye, or another model, by now
        self._asked = None
        if isinstance(reply, Finished):
            self.state.note = ""
            self.state.analysis = reply.analysis
        elif isinstance(reply, Failed):
            self.state.note = reply.message
