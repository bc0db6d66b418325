"""The eyes that were found, as pictures with what is known of them."""

# ruff: noqa: N802 - names of Qt's methods

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QAbstractListModel, QModelIndex, QRect, QSize, Qt, Signal
from qtpy.QtGui import QPainter, QPixmap
from qtpy.QtWidgets import (
    QAbstractItemView,
    QListView,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QWidget,
)

from napari_octcube._similar_state import Found, SimilarState
from octcube_core.retrieval.records import Identity, Neighbour

PICTURE, CELL, PADDING = QSize(128, 96), QSize(142, 168), 4
MOST_SCORES = 3
TIP = "Double click: open beside the eye in view"


class NeighbourList(QAbstractListModel):
    """A row for each neighbour of the last search."""

    def __init__(self) -> None:
        super().__init__()
        self._found: Found | None = None
        self._pictures: list[QPixmap] = []

    def show(self, found: Found | None) -> None:
        """Show what was found."""
        self.beginResetModel()
        self._found = found
        self._pictures = []
        for neighbour in () if found is None else found.neighbours:
            picture = QPixmap()
            picture.loadFromData(found.thumbnails.get(neighbour.item, b"") if found else b"")
            self._pictures.append(picture)
        self.endResetModel()

    def neighbour(self, row: int) -> Neighbour:
        """The neighbour of a row."""
        assert self._found is not None
        return self._found.neighbours[row]

    def rowCount(self, parent: QModelIndex = QModelIndex()) -> int:  # noqa: B008
        return 0 if parent.isValid() or self._found is None else len(self._found.neighbours)

    def data(self, index: QModelIndex, role: int = 0) -> Any:
        if self._found is None or not index.isValid():
            return None
        neighbour, who = self.neighbour(index.row()), self._found.who
        if role == Qt.ItemDataRole.DisplayRole:
            return short_text(neighbour, who)
        if role == Qt.ItemDataRole.DecorationRole:
            return self._pictures[index.row()]
        if role == Qt.ItemDataRole.ToolTipRole:
            return long_text(neighbour, who)
        return None


class NeighbourDelegate(QStyledItemDelegate):
    """The picture above its words; Qt's own puts words where they are cut."""

    def sizeHint(self, option: QStyleOptionViewItem, index: QModelIndex) -> QSize:
        return CELL - QSize(PADDING, PADDING)

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: QModelIndex) -> None:
        rect, palette = option.rect, option.palette
        if option.state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, palette.highlight())
        picture = index.data(Qt.ItemDataRole.DecorationRole)
        top = QRect(rect.left(), rect.top() + PADDING, rect.width(), PICTURE.height())
        if picture is not None and not picture.isNull():
            fitted = picture.size().scaled(PICTURE, Qt.AspectRatioMode.KeepAspectRatio)
            painter.drawPixmap(
                QStyle.alignedRect(option.direction, Qt.AlignmentFlag.AlignCenter, fitted, top),
                picture,
            )
        words = rect.adjusted(PADDING, PICTURE.height() + 2 * PADDING, -PADDING, 0)
        flags = Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignTop | Qt.TextFlag.TextWordWrap
        painter.setPen(palette.text().color())
        painter.drawText(words, int(flags), index.data(Qt.ItemDataRole.DisplayRole))


class NeighbourGallery(QListView):
    """Pictures in rows; ``opened`` carries the neighbour of a double click, or of the Return key."""

    opened = Signal(object)

    def __init__(self, state: SimilarState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._list = NeighbourList()
        self.setModel(self._list)
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setGridSize(CELL)
        self.setItemDelegate(NeighbourDelegate(self))
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setMinimumHeight(CELL.height() + 8)
        self.activated.connect(lambda index: self.opened.emit(self._list.neighbour(index.row())))
        self.selectionModel().currentChanged.connect(self._on_current)
        state.events.found.connect(self._show)
        self._show()

    def _show(self) -> None:
        self._list.show(self._state.found)

    def _on_current(self, index: QModelIndex) -> None:
        self._state.selected = self._list.neighbour(index.row()) if index.isValid() else None


def short_text(neighbour: Neighbour, who: Identity) -> str:
    """Similarity and side; labels, or else the highest scores; whose it is."""
    side = neighbour.identity.laterality or "side unknown"
    lines = [f"{neighbour.similarity:.2f} · {side}", known_of(neighbour), relation(neighbour, who)]
    return "\n".join(line for line in lines if line)


def long_text(neighbour: Neighbour, who: Identity) -> str:
    """Everything that the archive says of a neighbour."""
    where = neighbour.location
    lines = [
        f"Similarity {neighbour.similarity:.3f} ({neighbour.modality})",
        f"Eye: {neighbour.identity.laterality or 'unknown'}",
        f"Device: {neighbour.device or 'unknown'}",
        f"Labels: {', '.join(neighbour.labels) or 'none'}",
    ]
    if neighbour.scores:
        lines.append(f"Scores: {_scores(neighbour, len(neighbour.scores))}")
    if related := relation(neighbour, who):
        lines.append(related.capitalize())
    lines.append(f"File: {where.path if where else 'unknown'}")
    return "\n".join([*lines, TIP])


def known_of(neighbour: Neighbour) -> str:
    """Labels, or else the highest scores by a model."""
    return ", ".join(neighbour.labels) or _scores(neighbour, MOST_SCORES)


def relation(neighbour: Neighbour, who: Identity) -> str:
    """Whether it is the same patient, and how far the visits are apart."""
    other = neighbour.identity
    if who.patient is None or who.patient != other.patient:
        return ""
    if who.visit_day is None or other.visit_day is None:
        return "same patient"
    days = other.visit_day - who.visit_day
    return "same patient, same day" if days == 0 else f"same patient, {days:+d} days"


def _scores(neighbour: Neighbour, most: int) -> str:
    ranked = sorted(neighbour.scores.items(), key=lambda pair: -pair[1])[:most]
    return ", ".join(f"{name} {value:.2f}" for name, value in ranked)
