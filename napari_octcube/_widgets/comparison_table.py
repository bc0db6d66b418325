"""The scores of two eyes next to each other."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QAbstractScrollArea,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from napari_octcube._comparison import Comparison
from napari_octcube._session import Session
from octcube_core.exam import Exam
from octcube_core.results import Analysis, DiseaseScore, Measurement

ROW_HEIGHT = 22
TIP = "By the same model, both eyes; bold where the threshold is reached"


class ComparisonTable(QWidget):
    """A row for each result that both eyes have; hidden while there is no eye beside."""

    def __init__(
        self, session: Session, comparison: Comparison, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._session, self._comparison = session, comparison
        self.table = QTableWidget(0, 4)
        self.table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
        self.table.setSizeAdjustPolicy(QAbstractScrollArea.SizeAdjustPolicy.AdjustToContents)
        self.table.setShowGrid(False)
        self.table.setToolTip(TIP)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
        header.setSectionsClickable(False)
        self.note = QLabel()
        self.note.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.note)
        column.addWidget(self.table)
        for event in ("exam", "analysis", "note"):
            comparison.state.events[event].connect(self._refresh)
        session.events.analysis.connect(self._refresh)
        self._refresh()

    def _refresh(self) -> None:
        state, here = self._comparison.state, self._session.analysis
        self.setVisible(state.exam is not None)
        self.note.setText(state.note)
        self.note.setVisible(bool(state.note))
        self.table.setVisible(here is not None and state.analysis is not None)
        if here is None or state.analysis is None or state.exam is None:
            return
        self.table.setHorizontalHeaderLabels(
            ("", _title("In view", self._session.exam), _title("Beside", state.exam), "Difference")
        )
        targets = [target for target in here.targets if target in state.analysis.targets]
        self.table.setRowCount(len(targets))
        for row, target in enumerate(targets):
            self._fill(row, target, here, state.analysis)

    def _fill(self, row: int, target: str, here: Analysis, there: Analysis) -> None:
        results = here.result_of(target), there.result_of(target)
        one, other = (_value(result) for result in results)
        texts = (target, _text(results[0]), _text(results[1]), _signed(other - one))
        for column, text in enumerate(texts):
            item = QTableWidgetItem(text)
            item.setFlags(Qt.ItemFlag.ItemIsEnabled)
            item.setToolTip(here.name_of(target))
            if column:
                item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            if column in (1, 2):
                result = results[column - 1]
                font = item.font()
                font.setBold(isinstance(result, DiseaseScore) and result.present)
                item.setFont(font)
            self.table.setItem(row, column, item)


def _title(word: str, exam: Exam | None) -> str:
    side = None if exam is None else exam.laterality
    return f"{word} ({side})" if side else word


def _value(result: DiseaseScore | Measurement) -> float:
    return result.probability if isinstance(result, DiseaseScore) else result.value


def _signed(difference: float) -> str:
    text = f"{difference:+.2f}"
    return "0.00" if text in ("+0.00", "-0.00") else text


def _text(result: DiseaseScore | Measurement) -> str:
    return f"{result.probability:.2f}" if isinstance(result, DiseaseScore) else result.text
