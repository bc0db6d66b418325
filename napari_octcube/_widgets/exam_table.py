"""The rows of the exam chooser: a growing list that can be filtered and sorted while it grows."""

# ruff: noqa: N802 - names of Qt's methods

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap

from napari_octcube._exam_listing import ExamListing, ListedExam
from napari_octcube._exam_thumbnails import Picture
from napari_octcube._thumbnail_process import HEIGHT, WIDTH

HEADERS = ("Exam", "Eye", "Scan", "Images", "B-scans × depth × width", "Device")


class ExamTable(QAbstractTableModel):
    """The exams of a listing that match a filter, in the order in which they are found or sorted by a column."""

    def __init__(self, listing: ExamListing) -> None:
        super().__init__()
        blank = QPixmap(WIDTH, HEIGHT)
        blank.fill(Qt.GlobalColor.transparent)
        self._blank = QIcon(blank)  # words do not move when pictures come
        self._pictures: dict[ListedExam, QIcon] = {}
        self._all: list[ListedExam] = []
        self._shown: list[ListedExam] = []
        self._words: tuple[str, ...] = ()
        self._column = -1
        self._descending = False
        self.add(listing.exams)

    def add(self, exams: list[ListedExam]) -> None:
        """Append exams."""
        self._all.extend(exams)
        matching = [exam for exam in exams if self._matches(exam)]
        if not matching:
            return
        first = len(self._shown)
        self.beginInsertRows(QModelIndex(), first, first + len(matching) - 1)
        self._shown.extend(matching)
        self.endInsertRows()
        if self._column >= 0:
            self.sort(self._column, self._order)

    def update_row(self, exam: ListedExam) -> None:
        """Show what has changed about an exam."""
        if exam in self._shown:
            row = self._shown.index(exam)
            self.dataChanged.emit(self.index(row, 0), self.index(row, len(HEADERS) - 1))

    def show_picture(self, exam: ListedExam, picture: Picture) -> None:
        """Show a picture beside an exam's name."""
        grey = QImage.Format.Format_Grayscale8
        pixels = picture.tobytes()  # Qt keeps no copy: they must live until the next line but one
        image = QImage(pixels, WIDTH, HEIGHT, WIDTH, grey)
        pixmap = QPixmap.fromImage(image)
        icon = QIcon(pixmap)
        icon.addPixmap(pixmap, QIcon.Mode.Selected)  # else Qt would tint it
        self._pictures[exam] = icon
        self.update_row(exam)

    def set_filter(self, text: str) -> None:
        """Show only the exams in which every word of a text occurs."""
        self.beginResetModel()
        self._words = tuple(text.lower().split())
        self._shown = [exam for exam in self._all if self._matches(exam)]
        self._sort_shown()
        self.endResetModel()

    def exam(self, row: int) -> ListedExam:
        """The exam of a row."""
        return self._shown[row]

    @property
    def total(self) -> int:
        """Number of exams, shown or not."""
        return len(self._all)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._shown)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(HEADERS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        if orientation == Qt.Orientation.Horizontal and role == Qt.ItemDataRole.DisplayRole:
            return HEADERS[section]
        return None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        exam = self._shown[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            text = exam.columns[index.column()]
            return f"⚠ {text}" if exam.problem and index.column() == 0 else text
        if role == Qt.ItemDataRole.DecorationRole and index.column() == 0:
            return self._pictures.get(exam, self._blank)
        if role == Qt.ItemDataRole.ToolTipRole:
            return exam.problem or exam.columns[index.column()]
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort; selections stay at their exams."""
        self._column, self._descending = column, order == Qt.SortOrder.DescendingOrder
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        exams = [self._shown[index.row()] for index in before]
        self._sort_shown()
        rows = {id(exam): row for row, exam in enumerate(self._shown)} if exams else {}
        after = [
            self.index(rows[id(exam)], index.column())
            for exam, index in zip(exams, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    @property
    def _order(self) -> Qt.SortOrder:
        return Qt.SortOrder.DescendingOrder if self._descending else Qt.SortOrder.AscendingOrder

    def _sort_shown(self) -> None:
        if self._column >= 0:
            column = self._column
            self._shown.sort(key=lambda exam: exam.sort_keys[column], reverse=self._descending)

    def _matches(self, exam: ListedExam) -> bool:
        return all(word in exam.words for word in self._words)
