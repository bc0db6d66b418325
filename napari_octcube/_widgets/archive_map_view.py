"""The map of the archive: a point for each eye, the one in view marked. 100,000 points are one picture."""

# ruff: noqa: N802 - names of Qt's methods

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, QSize, Qt
from qtpy.QtGui import QColor, QHelpEvent, QImage, QPainter, QPaintEvent, QPen, QResizeEvent
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_octcube._similar_state import ShownMap, SimilarState
from octcube_core.retrieval.archive_map import ArchiveMap

MARGIN, NEAR_PX = 14, 8
BACKGROUND, UNLABELLED = (24, 24, 27), (150, 150, 155)
# Told apart by the colour-blind (Okabe and Ito 2008).
COLOURS = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66)),
    *((0, 114, 178), (213, 94, 0), (204, 121, 167)),
)
OTHER = "other"


class ArchiveMapView(QWidget):
    """Points coloured by the first label; a tooltip tells the labels, rings mark the neighbours, a cross this eye."""

    def __init__(self, state: SimilarState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state = state
        self._image: QImage | None = None
        self._drawn: ArchiveMap | None = None
        self._places: NDArray[np.float32] = np.empty((0, 2), np.float32)
        self.legend: dict[str, tuple[int, int, int]] = {}
        self.setMinimumHeight(180)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        state.events.map.connect(self._on_map)
        for event in ("found", "selected"):
            state.events[event].connect(lambda: self.update())

    def sizeHint(self) -> QSize:
        return QSize(300, 260)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._draw()
        super().resizeEvent(event)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self._image is None:
            painter.fillRect(self.rect(), QColor(*BACKGROUND))
            painter.setPen(QColor(*UNLABELLED))
            flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
            painter.drawText(self.rect(), int(flags), "No map yet: press PCA or UMAP.")
            return
        painter.drawImage(0, 0, self._image)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._mark(painter)

    def event(self, event: QEvent) -> bool:
        """Tell the labels of the eye under the mouse."""
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            text = self.text_at(event.pos().x(), event.pos().y())
            QToolTip.showText(event.globalPos(), text, self)
            return True
        return super().event(event)

    def text_at(self, x: float, y: float) -> str:
        """What is known of the eye nearest to a place of the widget; empty if none is near."""
        shown = self._state.map
        if shown is None or not len(self._places):
            return ""
        distance = np.hypot(*(self._places - (x, y)).T)
        nearest = int(distance.argmin())
        if distance[nearest] > NEAR_PX:
            return ""
        labels = shown.labels.get(int(shown.archive_map.exams[nearest]), ())
        return ", ".join(labels) or "no label"

    def _on_map(self) -> None:
        shown = self._state.map
        drawn = None if shown is None else shown.archive_map
        if drawn is not self._drawn:  # else only the eye in view has another place
            self._drawn = drawn
            self._draw()
        self.update()

    def _draw(self) -> None:
        """Draw all points into one picture."""
        shown = self._state.map
        if shown is None:
            self._image, self._places, self.legend = None, np.empty((0, 2), np.float32), {}
            return
        width, height = max(self.width(), 1), max(self.height(), 1)
        self._places = self._placed(shown.archive_map.points)
        self.legend, colours = _colours(shown)
        pixels = np.empty((height, width, 4), np.uint8)
        pixels[...] = (*BACKGROUND[::-1], 255)
        size = 1 if len(colours) > 20_000 else 2
        columns, rows = np.rint(self._places).astype(int).T
        for down in range(-(size // 2), size - size // 2 + 1):
            for right in range(-(size // 2), size - size // 2 + 1):
                at = np.clip(rows + down, 0, height - 1), np.clip(columns + right, 0, width - 1)
                pixels[(*at, slice(0, 3))] = colours[:, ::-1]
        image = QImage(pixels.data, width, height, 4 * width, QImage.Format.Format_RGB32)
        self._image = image.copy()  # the array goes

    def _placed(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Places in the widget of points of the map, the same scale along both axes."""
        shown = self._state.map
        assert shown is not None
        every = shown.archive_map.points
        low, high = every.min(axis=0), every.max(axis=0)
        room = np.array([self.width() - 2 * MARGIN, self.height() - 2 * MARGIN], np.float32)
        scale = float(np.min(np.maximum(room, 1) / np.maximum(high - low, 1e-6)))
        centre = (low + high) / 2
        middle = np.array([self.width(), self.height()], np.float32) / 2
        placed: NDArray[np.float32] = ((points - centre) * (scale, -scale) + middle).astype(
            np.float32
        )
        return placed

    def _mark(self, painter: QPainter) -> None:
        """Rings around the neighbours, a thicker one around the selected, a cross for the eye in view."""
        state = self._state
        assert state.map is not None
        exams = state.map.archive_map.exams
        if state.found is not None:
            for neighbour in state.found.neighbours:
                for row in np.flatnonzero(exams == neighbour.exam):
                    painter.setPen(QPen(QColor("white"), 3 if neighbour is state.selected else 1))
                    painter.drawEllipse(QPointF(*map(float, self._places[row])), 5, 5)
        if state.map.here is not None:
            x, y = map(float, self._placed(state.map.here[None])[0])
            for colour, width in (("black", 5), ("#ff3b30", 2.5)):
                painter.setPen(QPen(QColor(colour), width))
                painter.drawLine(QPointF(x - 8, y), QPointF(x + 8, y))
                painter.drawLine(QPointF(x, y - 8), QPointF(x, y + 8))


def _colours(
    shown: ShownMap,
) -> tuple[dict[str, tuple[int, int, int]], NDArray[np.uint8]]:
    """The colour of each frequent label, and of each point."""
    legend = dict(zip(shown.names, COLOURS, strict=False))
    if len(shown.names) > len(COLOURS):
        legend[OTHER] = UNLABELLED
    table = np.array([*COLOURS, UNLABELLED], np.uint8)
    classes = np.where(shown.classes < 0, len(COLOURS), shown.classes)
    return legend, table[np.minimum(classes, len(COLOURS))]
