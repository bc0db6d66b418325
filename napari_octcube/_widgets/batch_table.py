"""The rows of a folder's analysis: a table that can be sorted while it grows."""

# ruff: noqa: N802 - names of Qt's methods

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtGui import QFont

from napari_octcube._batch_rows import BatchRow, ShownColumn, shown_columns

_NUMBER = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


class BatchTable(QAbstractTableModel):
    """The results of a folder, in the order in which they come or sorted by a column."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[BatchRow] = []
        self._by_key: dict[tuple[str, str], BatchRow] = {}
        self._about: dict[str, Mapping[str, Any]] = {}
        self._names: tuple[str, ...] = ()
        self._columns: tuple[ShownColumn, ...] = ()
        self._sorted_by, self._descending = -1, False
        self._bold = QFont()
        self._bold.setBold(True)

    def describe(self, about: Mapping[str, Mapping[str, Any]]) -> None:
        """Say what the columns of a model are."""
        if dict(about) != self._about:
            self._about = dict(about)
            self.clear()

    def clear(self) -> None:
        """Forget all rows, and the columns."""
        self.beginResetModel()
        self._rows, self._by_key, self._names, self._columns = [], {}, (), ()
        self.endResetModel()

    def add(self, rows: Sequence[BatchRow]) -> None:
        """Append rows, or put them in the place of those of the same exams."""
        if not rows:
            return
        if tuple(rows[0].values) != self._names:
            self.clear()
            self.beginResetModel()
            self._names = tuple(rows[0].values)
            self._columns = shown_columns(self._names, self._about)
            self.endResetModel()
        latest = {row.key: row for row in rows}
        if any(key in self._by_key for key in latest):
            self._replace(latest)
        new = [row for key, row in latest.items() if key not in self._by_key]
        if new:
            first = len(self._rows)
            self.beginInsertRows(QModelIndex(), first, first + len(new) - 1)
            self._rows.extend(new)
            self._by_key.update((row.key, row) for row in new)
            self.endInsertRows()
        if self._sorted_by >= 0:
            self.sort(self._sorted_by, self._order)

    def row(self, number: int) -> BatchRow:
        """The exam of a row on the screen."""
        return self._rows[number]

    @property
    def failed(self) -> int:
        """How many exams have no results."""
        return sum(bool(row.error) for row in self._rows)

    def column_of(self, title: str) -> int:
        """Number of the column with a title."""
        return [column.title for column in self._columns].index(title)

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() else len(self._columns)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = 0) -> Any:
        if orientation == Qt.Orientation.Horizontal and section < len(self._columns):
            if role == Qt.ItemDataRole.DisplayRole:
                return self._columns[section].title
            if role == Qt.ItemDataRole.ToolTipRole:
                return self._columns[section].tip
        return None

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        row, column = self._rows[index.row()], self._columns[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(row)
        if role == Qt.ItemDataRole.TextAlignmentRole and column.is_number:
            return _NUMBER
        if role == Qt.ItemDataRole.FontRole and column.is_present(row):
            return self._bold
        if role == Qt.ItemDataRole.ToolTipRole:
            return row.error or (column.text(row) if not column.is_number else column.tip)
        return None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort; selections stay at their exams, and what has no value in the column comes last."""
        self._sorted_by, self._descending = column, order == Qt.SortOrder.DescendingOrder
        if column >= len(self._columns):
            return  # of another model
        self.layoutAboutToBeChanged.emit()
        before = self.persistentIndexList()
        exams = [self._rows[index.row()] for index in before]
        self._sort_rows()
        places = {id(row): number for number, row in enumerate(self._rows)} if exams else {}
        after = [
            self.index(places[id(row)], index.column())
            for row, index in zip(exams, before, strict=True)
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    @property
    def _order(self) -> Qt.SortOrder:
        return Qt.SortOrder.DescendingOrder if self._descending else Qt.SortOrder.AscendingOrder

    def _sort_rows(self) -> None:
        if self._sorted_by < 0:
            return
        keyed = [(self._columns[self._sorted_by].sort_key(row), row) for row in self._rows]
        known = [pair for pair in keyed if pair[0] is not None]
        known.sort(key=lambda pair: pair[0], reverse=self._descending)
        unknown = [row for key, row in keyed if key is None]
        self._rows = [row for _, row in known] + unknown

    def _replace(self, latest: Mapping[tuple[str, str], BatchRow]) -> None:
        for number, row in enumerate(self._rows):
            if row.key in latest:
                self._rows[number] = self._by_key[row.key] = latest[row.key]
        last = self.index(len(self._rows) - 1, len(self._columns) - 1)
        self.dataChanged.emit(self.index(0, 0), last)
