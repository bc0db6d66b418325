"""How a table of exams looks: whole rows are selected, nothing is edited, a click on a header sorts."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QAbstractTableModel, Qt
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableView

ROW_HEIGHT = 24


def row_view(model: QAbstractTableModel, widths: Sequence[int] = ()) -> QTableView:
    """A view of a table; ``widths`` of its first columns in pixels."""
    view = QTableView()
    view.setModel(model)
    view.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    view.setTabKeyNavigation(False)
    view.setShowGrid(False)
    view.setWordWrap(False)
    view.setTextElideMode(Qt.TextElideMode.ElideMiddle)
    view.verticalHeader().hide()
    view.verticalHeader().setDefaultSectionSize(ROW_HEIGHT)
    view.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    header = view.horizontalHeader()
    header.setHighlightSections(False)
    header.setStretchLastSection(True)
    for column, width in enumerate(widths):
        header.resizeSection(column, width)
    header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)  # as they come, until a click
    view.setSortingEnabled(True)
    return view
