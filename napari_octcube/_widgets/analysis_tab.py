"""The tab in which an eye is analysed: exam, model, run, scores."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_octcube._session import Session
from napari_octcube._widgets.aspect_switch import AspectSwitch
from napari_octcube._widgets.exam_facts import ExamFacts
from napari_octcube._widgets.model_chooser import ModelChooser
from napari_octcube._widgets.run_bar import RunBar
from napari_octcube._widgets.score_table import ScoreTable
from octcube_core.results import DISCLAIMER


class AnalysisTab(QWidget):
    """From top to bottom in the order of work."""

    def __init__(
        self,
        session: Session,
        on_run: Callable[[], None],
        on_cancel: Callable[[], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self.exam_facts = ExamFacts(session)
        self.aspect_switch = AspectSwitch(session)
        self.model_chooser = ModelChooser(session)
        self.run_bar = RunBar(session, on_run, on_cancel)
        self.score_table = ScoreTable(session)
        self.overlay_note = _note()
        self.provenance = _note()
        self.disclaimer = _note(DISCLAIMER)
        model_row = QHBoxLayout()
        model_row.addWidget(QLabel("Model"))
        model_row.addWidget(self.model_chooser, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 8)
        column.setSpacing(6)
        column.addWidget(self.exam_facts)
        column.addWidget(self.aspect_switch)
        column.addLayout(model_row)
        column.addWidget(self.run_bar)
        column.addWidget(self.score_table)
        column.addWidget(self.overlay_note)
        column.addStretch()
        column.addWidget(self.provenance)
        column.addWidget(self.disclaimer)
        session.events.analysis.connect(self._refresh)
        session.events.disease.connect(self._refresh)
        self._refresh()

    def _refresh(self) -> None:
        analysis, disease = self._session.analysis, self._session.disease
        names = {s.abbreviation: s.name for s in analysis.scores} if analysis else {}
        if analysis is None:
            overlay = ""
        elif disease not in names:
            overlay = "Select a disease to see where the model looked."
        elif not analysis.saliency[analysis.index(disease)].any():
            overlay = f"The model found no evidence for {names[disease]} to show."
        else:
            overlay = f"Overlay: {names[disease]}, brightest where the model found most evidence."
        self.overlay_note.setText(overlay)
        self.overlay_note.setVisible(bool(overlay))
        facts = []
        if analysis is not None:
            known = self._session.exam.warnings if self._session.exam else ()  # among the exam's facts
            new = [text for text in analysis.warnings if text not in known]
            facts = [f"Model: {analysis.card.title}", *(f"⚠ {text}" for text in new)]
        self.provenance.setText("\n".join(facts))
        self.provenance.setVisible(bool(facts))


def _note(text: str = "") -> QLabel:
    label = QLabel(text)
    label.setWordWrap(True)
    return label
