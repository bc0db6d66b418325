"""Analyses a folder: from what, with which model, into which table, and the table while it fills."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import QModelIndex, Qt
from qtpy.QtWidgets import (
    QDialog,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_octcube._batch import FolderAnalysis, default_table, is_begun
from napari_octcube._batch_rows import BatchRow
from napari_octcube._session import Session
from napari_octcube._widgets.batch_table import BatchTable
from napari_octcube._widgets.model_chooser import ModelChooser
from napari_octcube._widgets.progress_line import ProgressLine
from napari_octcube._widgets.row_view import row_view
from napari_octcube._widgets.small_parts import is_wanted, note_label, tipped_button
from octcube_core.batch.table_file import is_table
from octcube_core.results import DISCLAIMER

SIZE = (1300, 620)
NAME_WIDTH, NARROWEST = 220, 56
FILE_TYPES = "Tables (*.parquet *.csv)"
THERE = "This table exists: Resume goes on with it. Exams that have not changed are passed over, nothing is lost."
PATHS = "The table holds the path of every exam, and nothing else of who the patient is."
ASK_TITLE = "Stop the analysis?"
ASK = "Closing stops the analysis. What was analysed stays in the table, and Resume goes on another day."


class BatchDialog(QDialog):
    """A folder's analysis.

    Parameters
    ----------
    session : Session
        Whose model it is run with.
    analysis : FolderAnalysis
    on_open : callable of (BatchRow, Path)
        Opens the exam of a row, of the folder that was analysed.
    """

    def __init__(
        self,
        session: Session,
        analysis: FolderAnalysis,
        on_open: Callable[[BatchRow, Path], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._analysis, self._on_open = session, analysis, on_open
        self.folder, self.table = Path(), Path()
        self._there = False  # whether the table is; not looked up at every step of a run
        self.setWindowTitle("Analyse a folder")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(*SIZE)
        self.folder_box, self.table_box = _path_box(), _path_box()
        self.folder_button = _button("Choose…", "Choose a folder of exams", self._ask_folder)
        self.table_button = _button(
            "Choose…", "Choose where the table goes: .parquet or .csv", self._ask_table
        )
        self.model_chooser = ModelChooser(session)
        self.start_button = _button("Start", "Score every exam of the folder", self._start)
        self.stop_button = _button(
            "Stop", "Stop; what was analysed stays, and Resume goes on", analysis.stop
        )
        self.close_button = _button("Close", "Close this window", self.reject)
        self.progress_bar = ProgressLine()
        self.stage_label, self.note_label, self.remarks_label = _label(), _label(), _label()
        self.rows = BatchTable()
        self.view = row_view(self.rows)
        self._lay_out()
        self.view.doubleClicked.connect(self._open)
        self.view.selectionModel().currentChanged.connect(self._show_remarks)
        analysis.described.connect(self.rows.describe)
        analysis.added.connect(self._on_added)
        analysis.state.events.running.connect(self._look_for_table)
        for event in ("running", "stage", "fraction", "note", "error"):
            analysis.state.events[event].connect(self._refresh)
        self._refresh()

    def show_folder(self, folder: Path) -> None:
        """Offer to analyse a folder; a run that goes on is left alone."""
        if not self._analysis.state.running:
            self.folder = folder
            self.folder_box.setText(str(folder))
            self.show_table(default_table(folder))
        self._refresh()

    def show_table(self, table: Path) -> None:
        """Have the results go into a table."""
        self.table = table
        self.table_box.setText(str(table))
        self.rows.clear()
        self.remarks_label.clear()
        self._analysis.state.note = self._analysis.state.error = ""
        self._look_for_table()
        self._refresh()

    def shut(self) -> None:
        """Close without asking, because the viewer closes."""
        self._disconnect()
        self._analysis.close()
        super().reject()

    def reject(self) -> None:
        """Close; while a run goes on, ask before."""
        if not self._analysis.state.running or is_wanted(self, ASK_TITLE, ASK):
            self.shut()

    def _disconnect(self) -> None:
        self._analysis.described.disconnect(self.rows.describe, missing_ok=True)
        self._analysis.added.disconnect(self._on_added, missing_ok=True)
        self._analysis.state.events.running.disconnect(self._look_for_table, missing_ok=True)
        for event in ("running", "stage", "fraction", "note", "error"):
            self._analysis.state.events[event].disconnect(self._refresh, missing_ok=True)

    def _lay_out(self) -> None:
        grid = QGridLayout()
        lines = (
            ("Folder", self.folder_box, self.folder_button),
            ("Model", self.model_chooser, None),
            ("Table", self.table_box, self.table_button),
        )
        for number, (text, widget, button) in enumerate(lines):
            grid.addWidget(QLabel(text), number, 0)
            grid.addWidget(widget, number, 1)
            if button is not None:
                grid.addWidget(button, number, 2)
        grid.setColumnStretch(1, 1)
        buttons = QHBoxLayout()
        buttons.addWidget(_label(f"{PATHS} {DISCLAIMER}."), 1)
        for button in (self.start_button, self.stop_button, self.close_button):
            buttons.addWidget(button)
        column = QVBoxLayout(self)
        column.addLayout(grid)
        column.addWidget(self.note_label)
        column.addWidget(self.view, 1)
        column.addWidget(self.remarks_label)
        column.addWidget(self.progress_bar)
        column.addWidget(self.stage_label)
        column.addLayout(buttons)

    def _refresh(self) -> None:
        state = self._analysis.state
        there = self._there
        for widget in (self.folder_button, self.table_button, self.model_chooser):
            widget.setEnabled(not state.running)
        self.start_button.setEnabled(not state.running)
        self.start_button.setText("Resume" if there and not state.running else "Start")
        self.stop_button.setEnabled(state.running)
        self.progress_bar.show_fraction(state.fraction)
        self.stage_label.setText(state.stage if state.running else self._count())
        note = f"⚠ {state.error}" if state.error else state.note
        if not note and there and not state.running:
            note = THERE
        self.note_label.setText(note)
        self.note_label.setVisible(bool(note))

    def _look_for_table(self) -> None:
        if not self._analysis.state.running:
            self._there = is_begun(self.table)

    def _show_remarks(self, index: QModelIndex) -> None:
        remarks = self.rows.row(index.row()).remarks if index.isValid() else ""
        self.remarks_label.setText(remarks)

    def _count(self) -> str:
        total, failed = self.rows.rowCount(), self.rows.failed
        if not total:
            return ""
        bad = f", {failed} without results" if failed else ""
        return f"{total} exam{'s' if total != 1 else ''}{bad}. A double click opens one."

    def _on_added(self, rows: list[BatchRow]) -> None:
        before = self.rows.columnCount()
        self.rows.add(rows)
        if self.rows.columnCount() != before:
            self._size_columns()

    def _size_columns(self) -> None:
        header = self.view.horizontalHeader()
        header.resizeSection(0, NAME_WIDTH)
        for column in range(1, self.rows.columnCount()):
            header.resizeSection(column, max(NARROWEST, header.sectionSizeHint(column)))

    def _start(self) -> None:
        self._analysis.start(self.folder, self._session.model, self.table)

    def _open(self, index: QModelIndex) -> None:
        self._on_open(self.rows.row(index.row()), self.folder)

    def _ask_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(
            self, "Analyse all exams in a folder", str(self.folder)
        )
        if name:
            self.show_folder(Path(name))

    def _ask_table(self) -> None:
        # Nothing is overwritten: a table that is there is gone on with.
        option = QFileDialog.Option.DontConfirmOverwrite
        name, _ = QFileDialog.getSaveFileName(
            self, "Write the table to", str(self.table), FILE_TYPES, options=option
        )
        if name:
            self.show_table(Path(name if is_table(Path(name)) else f"{name}.parquet"))


def _label(text: str = "") -> QLabel:
    label = note_label(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    return label


def _path_box() -> QLineEdit:
    box = QLineEdit()
    box.setReadOnly(True)
    return box


def _button(text: str, tip: str, on_click: Callable[[], object]) -> QPushButton:
    button = tipped_button(text, tip)
    button.setAutoDefault(False)
    button.clicked.connect(lambda: on_click())
    return button
