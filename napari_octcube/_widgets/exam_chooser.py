"""Asks which of several exams to open, while they are still being found."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import QModelIndex, QSize, Qt, QTimer
from qtpy.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QLabel,
    QLineEdit,
    QVBoxLayout,
    QWidget,
)

from napari_octcube._exam_listing import ExamListing, ListedExam
from napari_octcube._exam_thumbnails import ExamThumbnails
from napari_octcube._thumbnail_process import HEIGHT, WIDTH
from napari_octcube._widgets.exam_table import ExamTable
from napari_octcube._widgets.qt_dispatch import QtDispatcher
from napari_octcube._widgets.row_view import row_view

SIZE = (1040, 560)
COLUMN_WIDTHS = (370, 45, 70, 110, 160)
ROW_HEIGHT = HEIGHT + 6
SETTLE_MS = 120  # after scrolling, before pictures of the rows in view are made


class ExamChooser(QDialog):
    """A table of exams with a filter; a double click or Open opens one.

    Parameters
    ----------
    listing : ExamListing
        Its exams appear as they are found; the dialog closes when it is over.
    on_open : callable of ListedExam
    on_cancel : callable
    """

    def __init__(
        self,
        listing: ExamListing,
        on_open: Callable[[ListedExam], None],
        on_cancel: Callable[[], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._listing = listing
        self._on_open = on_open
        self._on_cancel = on_cancel
        self._over = False
        self.setWindowTitle(f"Exams in {listing.name}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(*SIZE)
        self.filter_box = QLineEdit()
        self.filter_box.setPlaceholderText("Filter, for instance: OD raster")
        self.filter_box.setClearButtonEnabled(True)
        self.table = ExamTable(listing)
        self.rows = row_view(self.table, COLUMN_WIDTHS)
        self.rows.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
        self.rows.setIconSize(QSize(WIDTH, HEIGHT))
        self.thumbnails = ExamThumbnails(QtDispatcher(self))
        self._settle = QTimer(self)
        self._settle.setSingleShot(True)
        self._settle.setInterval(SETTLE_MS)
        self._settle.timeout.connect(self._want_pictures)
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setTextFormat(Qt.TextFormat.PlainText)
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel
        )
        self.open_button = buttons.button(QDialogButtonBox.StandardButton.Open)
        self.cancel_button = buttons.button(QDialogButtonBox.StandardButton.Cancel)
        column = QVBoxLayout(self)
        for widget in (self.filter_box, self.rows, self.status, buttons):
            column.addWidget(widget)
        self.thumbnails.made.connect(self._on_picture)
        self.rows.verticalScrollBar().valueChanged.connect(self._want_soon)
        self.rows.verticalScrollBar().rangeChanged.connect(self._want_some_time)
        self.table.layoutChanged.connect(self._want_some_time)
        self.table.rowsInserted.connect(self._want_some_time)
        self.table.modelReset.connect(self._want_some_time)
        self.filter_box.textChanged.connect(self._filter)
        self.rows.doubleClicked.connect(self._open)
        self.rows.selectionModel().selectionChanged.connect(self._refresh_button)
        self.open_button.clicked.connect(lambda: self._open(self.rows.currentIndex()))
        buttons.rejected.connect(self.reject)
        listing.added.connect(self._on_added)
        listing.finished.connect(self._show_count)
        listing.failed.connect(self._on_failed)
        listing.over.connect(self._close)
        self._select_first()
        self._show_count()
        self._settle.start()

    def reject(self) -> None:
        """Close without opening anything."""
        if not self._over:
            self._on_cancel()  # whose listing then closes this dialog
        self._close()

    def _close(self) -> None:
        if self._over:
            return
        self._over = True
        self._settle.stop()
        self.thumbnails.close()
        self._listing.added.disconnect(self._on_added)
        self._listing.finished.disconnect(self._show_count)
        self._listing.failed.disconnect(self._on_failed)
        super().reject()

    def _on_added(self, exams: list[ListedExam]) -> None:
        self.table.add(exams)
        self._select_first()
        self._show_count()

    def _want_soon(self) -> None:
        self._settle.start()  # not connected itself: it would take a signal's number for its interval

    def _want_some_time(self) -> None:
        if not self._settle.isActive():  # or a list that grows would never settle
            self._settle.start()

    def _want_pictures(self) -> None:
        first = self.rows.rowAt(0)
        last = self.rows.rowAt(self.rows.viewport().height() - 1)
        if first >= 0:
            end = (last if last >= 0 else self.table.rowCount() - 1) + 1
            self.thumbnails.want([self.table.exam(row) for row in range(first, end)])

    def _on_picture(self, exam: ListedExam) -> None:
        picture = self.thumbnails.picture(exam)
        if picture is not None:
            self.table.show_picture(exam, picture)

    def _filter(self, text: str) -> None:
        self.table.set_filter(text)
        self._select_first()
        self._show_count()

    def _select_first(self) -> None:
        if not self.rows.currentIndex().isValid() and self.table.rowCount():
            self.rows.selectRow(0)
        self._refresh_button()

    def _refresh_button(self) -> None:
        self.open_button.setEnabled(self.rows.selectionModel().hasSelection())

    def _open(self, index: QModelIndex) -> None:
        if index.isValid():
            listed = self.table.exam(index.row())
            self.status.setText(f"Opening {listed.name} …")
            self._settle.stop()
            self.thumbnails.want(())  # what is opened goes first
            self._on_open(listed)

    def _on_failed(self, listed: ListedExam) -> None:
        self.table.update_row(listed)
        self.status.setText(f"⚠ {listed.problem}")
        self._settle.start()

    def _show_count(self) -> None:
        shown, total = self.table.rowCount(), self.table.total
        text = f"{total} exam{'s' if total != 1 else ''}"
        if shown != total:
            text = f"{shown} of {text}"
        if not self._listing.done:
            text += ", still looking …"
        problems = [f"⚠ {problem}" for problem in self._listing.failures[:1]]
        self.status.setText("\n".join((text, *problems)))
