"""A row per disease: its name, a bar with the threshold's mark, the value; then a row per measurement.

Selecting a row switches the overlay.
"""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractScrollArea,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from napari_octcube._session import Session
from napari_octcube._validation_words import validation
from napari_octcube._widgets.score_bar import SCORE_ROLE, ScoreBar
from octcube_core.checkpoints.card import ModelCard
from octcube_core.results import DiseaseScore, Measurement

NAME, BAR, VALUE = range(3)
DISEASE_HEADER = ("Disease", "Probability, | = threshold", "")
MEASUREMENT_HEADER = ("Measurement", "", "Value")
ROW_HEIGHT = 20
NORMAL_TIP = (
    "How normal the eye looks to the model: 1 − the highest score if any exceeds 0.5, "
    "else the mean probability that each disease is absent."
)


def describe(score: DiseaseScore, card: ModelCard) -> str:
    """Tooltip of a disease."""
    verdict = "at or above" if score.present else "below"
    codes = f"\nICD-10: {', '.join(score.icd10)}" if score.icd10 else ""
    return (
        f"{score.name} ({score.abbreviation}){codes}\n"
        f"Probability {score.probability:.3f}, {verdict} the threshold of {score.threshold:.2f}\n"
        f"{validation(card, score.name, score.abbreviation)}\n"
        "Select to see where the model looked"
    )


def describe_measurement(measurement: Measurement, card: ModelCard) -> str:
    """Tooltip of a measurement."""
    return (
        f"{measurement.name} ({measurement.abbreviation})\n{measurement.text}\n"
        f"{validation(card, measurement.name, measurement.abbreviation)}\n"
        "Select to see what raises it"
    )


class ScoreTable(QTableWidget):
    """The scores of the session's analysis; the selected row is the session's disease.

    A bar is for probabilities alone: a measurement is a value with a unit and has no threshold.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(0, 3, parent)
        self._session = session
        self.setItemDelegateForColumn(BAR, ScoreBar(self))
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizeAdjustPolicy(QAbstractScrollArea.SizeAdjustPolicy.AdjustToContents)
        self.setShowGrid(False)
        self.setTabKeyNavigation(False)  # Tab leaves the table, the arrow keys walk in it
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        header = self.horizontalHeader()
        header.setSectionsClickable(False)
        header.setHighlightSections(False)
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(BAR, QHeaderView.ResizeMode.Stretch)
        self.itemSelectionChanged.connect(self._on_selection)
        session.events.analysis.connect(self._fill)
        session.events.disease.connect(self._select)
        self._fill()

    def _fill(self) -> None:
        analysis = self._session.analysis
        self.blockSignals(True)
        self.setRowCount(0)
        self.clearSpans()
        if analysis is not None:
            self.setHorizontalHeaderLabels(
                DISEASE_HEADER if analysis.scores else MEASUREMENT_HEADER
            )
            for score in analysis.scores:
                self._add_disease(score, analysis.card)
            for measurement in analysis.measurements:
                self._add_measurement(measurement, analysis.card)
            if analysis.normal_probability is not None:
                self._add_normal(analysis.normal_probability)
        self.blockSignals(False)
        self.setVisible(self.rowCount() > 0)
        self._select()

    def _add_disease(self, score: DiseaseScore, card: ModelCard) -> None:
        row = self._add_row(score.abbreviation, f"{score.probability:.2f}", describe(score, card))
        self.item(row, NAME).setData(Qt.ItemDataRole.UserRole, score.abbreviation)
        self.item(row, BAR).setData(SCORE_ROLE, (score.probability, score.threshold))
        if score.present:  # bold as well as orange: colour alone is not for everybody
            for column in (NAME, VALUE):
                font = self.font()
                font.setBold(True)
                self.item(row, column).setFont(font)

    def _add_measurement(self, measurement: Measurement, card: ModelCard) -> None:
        tip = describe_measurement(measurement, card)
        row = self._add_row(measurement.name, measurement.text, tip)
        self.setSpan(row, NAME, 1, 2)  # there is no bar to leave room for
        self.item(row, NAME).setData(Qt.ItemDataRole.UserRole, measurement.abbreviation)

    def _add_normal(self, probability: float) -> None:
        row = self._add_row("Normal", f"{probability:.2f}", NORMAL_TIP)
        self.item(row, BAR).setData(SCORE_ROLE, (probability, None))
        for column in range(3):  # there is no saliency of "normal" to show
            self.item(row, column).setFlags(Qt.ItemFlag.ItemIsEnabled)

    def _add_row(self, name: str, value: str, tip: str) -> int:
        row = self.rowCount()
        self.insertRow(row)
        for column, text in ((NAME, name), (BAR, ""), (VALUE, value)):
            item = QTableWidgetItem(text)
            item.setToolTip(tip)
            self.setItem(row, column, item)
        self.item(row, VALUE).setTextAlignment(
            Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        )
        return row

    def _on_selection(self) -> None:
        rows = self.selectionModel().selectedRows()
        if rows:
            disease = self.item(rows[0].row(), NAME).data(Qt.ItemDataRole.UserRole)
            if disease is not None:
                self._session.disease = disease

    def _select(self) -> None:
        self.blockSignals(True)
        self.clearSelection()
        for row in range(self.rowCount()):
            disease = self.item(row, NAME).data(Qt.ItemDataRole.UserRole)
            if disease is not None and disease == self._session.disease:
                self.selectRow(row)
        self.blockSignals(False)
