"""The tab in which an eye is analysed: exam, model, run, scores."""

# ruff: noqa: N802 - names of Qt's methods

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QTimer
from qtpy.QtGui import QShowEvent
from qtpy.QtWidgets import QHBoxLayout, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_octcube._session import Session
from napari_octcube._widgets.aspect_switch import AspectSwitch
from napari_octcube._widgets.exam_facts import ExamFacts
from napari_octcube._widgets.exam_header import ExamHeader
from napari_octcube._widgets.key_bscans import KeyBScans
from napari_octcube._widgets.model_chooser import ModelChooser
from napari_octcube._widgets.overlay_bar import OverlayBar
from napari_octcube._widgets.run_bar import RunBar
from napari_octcube._widgets.saliency_curve import SaliencyCurve
from napari_octcube._widgets.score_table import ScoreTable
from napari_octcube._widgets.small_parts import note_label
from octcube_core.results import DISCLAIMER, Analysis, DiseaseScore


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
        self._has_news = False
        self.exam_header = ExamHeader(session)
        self.exam_facts = ExamFacts(session)
        self.aspect_switch = AspectSwitch(session)
        self.model_chooser = ModelChooser(session)
        self.run_bar = RunBar(session, on_run, on_cancel)
        self.score_table = ScoreTable(session)
        self.overlay_note = note_label()
        self.key_bscans = KeyBScans(session)
        self.saliency_curve = SaliencyCurve(session)
        self.overlay_bar = OverlayBar(session)
        self.warnings = note_label()
        self.model_title = note_label()
        self.disclaimer = note_label(DISCLAIMER)
        model_row = QHBoxLayout()
        model_row.addWidget(QLabel("Model"))
        model_row.addWidget(self.model_chooser, 1)
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(8, 0, 8, 0)
        column.setSpacing(4)
        column.addWidget(self.exam_facts)
        self._display_row = QWidget()
        display = QHBoxLayout(self._display_row)
        display.setContentsMargins(0, 0, 0, 0)
        display.addWidget(self.aspect_switch, 1)
        column.addWidget(self._display_row)
        self._column = column
        column.addLayout(model_row)
        column.addWidget(self.run_bar)
        column.addWidget(self.score_table)
        column.addWidget(self.overlay_note)
        column.addWidget(self.key_bscans)
        column.addWidget(self.saliency_curve)
        column.addWidget(self.overlay_bar)
        column.addWidget(self.warnings)
        column.addStretch()
        self.scroll_area = QScrollArea()  # a small screen scrolls instead of squeezing the rows
        self.scroll_area.setWidgetResizable(True)
        self.scroll_area.setFrameShape(QScrollArea.Shape.NoFrame)
        self.scroll_area.setWidget(body)
        header = QVBoxLayout()  # like the footer it never scrolls away
        header.setContentsMargins(8, 8, 8, 0)
        header.addWidget(self.exam_header)
        footer = QVBoxLayout()
        footer.setContentsMargins(8, 0, 8, 6)
        footer.setSpacing(2)
        footer.addWidget(self.model_title)
        footer.addWidget(self.disclaimer)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(4)
        outer.addLayout(header)
        outer.addWidget(self.scroll_area, 1)
        outer.addLayout(footer)
        session.events.analysis.connect(self._refresh)
        session.events.analysis.connect(self._show_results)
        session.events.disease.connect(self._refresh)
        self._refresh()

    def add_view_bar(self, bar: QWidget) -> None:
        """Put the switches between the views where the eye looks first, below the exam's facts."""
        self._column.insertWidget(self._column.indexOf(self._display_row), bar)

    def add_contrast(self, button: QWidget) -> None:
        """Put the contrast of the B-scans beside their proportions."""
        layout = self._display_row.layout()
        assert layout is not None
        layout.addWidget(button)

    def add_comparison(self, table: QWidget) -> None:
        """Put the scores of two eyes below those of the one in view."""
        self._column.insertWidget(self._column.indexOf(self.overlay_note), table)

    def _show_results(self, analysis: Analysis | None) -> None:
        if analysis is not None:
            QTimer.singleShot(0, self._scroll_to_results)  # once they have their place

    def _scroll_to_results(self) -> None:
        self._has_news = not self.isVisible()
        if self.overlay_bar.isVisible():
            self.scroll_area.ensureWidgetVisible(self.overlay_bar, 0, 0)

    def showEvent(self, event: QShowEvent | None) -> None:
        super().showEvent(event)
        if self._has_news:  # they came while another tab was in front
            QTimer.singleShot(0, self._scroll_to_results)

    def _refresh(self) -> None:
        exam, analysis = self._session.exam, self._session.analysis
        if exam is None or analysis is None:
            texts = ("", "", "")
        else:
            # the exam's own warnings stand among its facts
            warnings = [text for text in analysis.warnings if text not in exam.warnings]
            texts = (
                _overlay_text(analysis, self._session.disease),
                "\n".join([*analysis.run_notes, *(f"⚠ {text}" for text in warnings)]),
                f"Model: {analysis.card.title}",
            )
        labels = (self.overlay_note, self.warnings, self.model_title)
        for label, text in zip(labels, texts, strict=True):
            label.setText(text)
            label.setVisible(bool(text))
        self.overlay_note.setToolTip("" if analysis is None else f"By {analysis.method}")


def _overlay_text(analysis: Analysis, target: str | None) -> str:
    if not analysis.targets:
        embedded = " and ".join(analysis.embeddings) or "the exam"
        return f"This model gives no scores and so no overlay, only an embedding of {embedded}."
    if target not in analysis.targets:
        what = "disease" if analysis.scores else "row"
        return f"Select a {what} to see where the model looked."
    result = analysis.result_of(target)
    is_disease = isinstance(result, DiseaseScore)
    name = result.name if is_disease else f"“{result.name}”"
    if not analysis.saliency[analysis.index(target)].any():
        return f"Overlay: none, as nothing {'speaks for' if is_disease else 'raises'} {name}"
    return f"Overlay: {'evidence for' if is_disease else 'what raises'} {name}"
