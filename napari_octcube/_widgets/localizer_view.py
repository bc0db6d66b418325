"""The fundus picture with the B-scans' lines, to pan, zoom and click. Knows pictures and lines, no exam."""

# ruff: noqa: N802 - names of Qt's methods

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPoint, QPointF, QRectF, QSize, Qt, Signal
from qtpy.QtGui import (
    QColor,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPen,
    QPolygonF,
    QResizeEvent,
    QTransform,
    QWheelEvent,
)
from qtpy.QtWidgets import (
    QApplication,
    QGraphicsPathItem,
    QGraphicsScene,
    QGraphicsView,
    QWidget,
)

from napari_octcube._bscan_lines import BScanLines
from napari_octcube._widgets.bscan_mark import OTHERS, draw_bscan_mark
from napari_octcube._widgets.etdrs_mark import draw_etdrs
from napari_octcube._widgets.fundus_items import FundusItems

MARGIN_PX = 6
WHEEL_FACTOR = 1.25  # per notch
MAX_ZOOM = 40.0  # screen pixels per pixel of the image
LINE_ALPHA = 0.75
MIN_ALPHA = 0.12
SPARSE_LINES = 25  # more lines than this grow paler, or they would hide the picture
PAGE = 10  # B-scans
STEPS = {
    Qt.Key.Key_Up: -1,
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_Down: 1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_PageUp: -PAGE,
    Qt.Key.Key_PageDown: PAGE,
    Qt.Key.Key_Home: -(10**6),
    Qt.Key.Key_End: 10**6,
}
GRIP_PX = 12  # so near to the fovea a drag moves it
NUDGES = {
    Qt.Key.Key_Up: (0, -1),
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Down: (0, 1),
    Qt.Key.Key_Right: (1, 0),
}
TIP = (
    "Click: go to the nearest B-scan. Arrow keys: next and previous. Wheel: zoom. Drag: move. 0: whole image.\n"
    "Drag the cross in the ETDRS grid, or Shift and an arrow key: move the fovea."
)


class LocalizerView(QGraphicsView):
    """A scene whose coordinates are the picture's: (0, 0) is its top-left corner, a pixel's centre at +0.5.

    ``clicked`` carries the B-scan nearest to a click, ``stepped`` by how many B-scans a key moves, ``fovea_dragged``
    where the fovea shall be.
    """

    clicked = Signal(int)
    stepped = Signal(int)
    fovea_dragged = Signal(QPointF)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._others = QGraphicsPathItem()
        scene = QGraphicsScene(self)
        self.fundus = FundusItems(scene)
        scene.addItem(self._others)
        self.setScene(scene)
        self._lines: BScanLines | None = None
        self._bscan = 0
        self._stretch = 1.0
        # Whether the whole picture is shown, and stays so when the view changes its size.
        self._whole = True
        self._pressed: QPoint | None = None
        self._fovea: QPointF | None = None  # while the ETDRS grid is shown
        self._etdrs: list[QPolygonF] = []
        self._grips_fovea = False
        self._has_moved = False  # since the button was pressed
        self.setRenderHints(
            QPainter.RenderHint.Antialiasing | QPainter.RenderHint.SmoothPixmapTransform
        )
        self.setDragMode(QGraphicsView.DragMode.ScrollHandDrag)
        self.setTransformationAnchor(QGraphicsView.ViewportAnchor.AnchorUnderMouse)
        self.setViewportUpdateMode(QGraphicsView.ViewportUpdateMode.FullViewportUpdate)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setFrameShape(QGraphicsView.Shape.NoFrame)
        self.setBackgroundBrush(Qt.GlobalColor.black)
        self.setStyleSheet("background: black;")
        self.viewport().setCursor(Qt.CursorShape.CrossCursor)
        self.viewport().setMouseTracking(True)  # to show what can be gripped
        self.setToolTip(TIP)
        self.setMinimumSize(120, 120)

    def sizeHint(self) -> QSize:
        return QSize(320, 320)

    def set_frame(self, shape: tuple[int, int], stretch: float = 1.0) -> None:
        """Make room for a picture, black so far, and show all of it.

        Parameters
        ----------
        shape : (rows, columns)
            Of the image that the lines refer to.
        stretch : float
            True height of a pixel over its width.
        """
        rows, columns = shape
        self.fundus.set_frame(shape)
        self._stretch = stretch
        self.setSceneRect(QRectF(0, 0, columns, rows))
        self.show_whole()

    def set_pixels(self, pixels: NDArray[np.uint8]) -> None:
        """Fill the frame with an array of shape (rows, columns) or (rows, columns, 3), of which zoom is left as it is.

        It may be a smaller copy of the image that the lines refer to.
        """
        self.fundus.show_picture(np.ascontiguousarray(pixels))

    def set_etdrs(
        self, fovea: tuple[float, float] | None, outlines: Sequence[NDArray[np.float64]] = ()
    ) -> None:
        """Show the ETDRS grid around a fovea, or none; places are (x, y) in the scene."""
        self._fovea = None if fovea is None else QPointF(*fovea)
        self._etdrs = [QPolygonF([QPointF(x, y) for x, y in line]) for line in outlines]
        self.viewport().update()

    def set_lines(self, lines: BScanLines | None) -> None:
        """Show the B-scans' lines, or none."""
        self._lines = lines
        path = QPainterPath()
        count = 0
        for line in lines.lines if lines is not None else ():
            count += 1
            path.moveTo(*line[0])
            for point in line[1:]:
                path.lineTo(*point)
        self._others.setPath(path)
        colour = QColor(OTHERS)
        colour.setAlphaF(min(LINE_ALPHA, max(MIN_ALPHA, LINE_ALPHA * SPARSE_LINES / max(count, 1))))
        pen = QPen(colour, 1.0)
        pen.setCosmetic(True)  # as thin at any zoom
        self._others.setPen(pen)
        self.viewport().update()

    def set_bscan(self, bscan: int) -> None:
        """Highlight a B-scan."""
        self._bscan = bscan
        self.viewport().update()

    def show_whole(self) -> None:
        """Zoom so that the picture just fits."""
        self._whole = True
        zoom = self._whole_zoom()
        self.setTransform(QTransform.fromScale(zoom, zoom * self._stretch))
        self.centerOn(self.sceneRect().center())

    def zoom_by(self, factor: float) -> None:
        """Zoom; not further out than to the whole picture."""
        zoom = self.transform().m11() * factor
        if zoom <= self._whole_zoom():
            self.show_whole()
        elif zoom <= MAX_ZOOM:
            self._whole = False
            self.scale(factor, factor)

    def _whole_zoom(self) -> float:
        scene, area = self.sceneRect(), self.viewport().size()
        if scene.isEmpty():
            return 1.0
        width, height = area.width() - 2 * MARGIN_PX, area.height() - 2 * MARGIN_PX
        return max(1e-3, min(width / scene.width(), height / (scene.height() * self._stretch)))

    def drawForeground(self, painter: QPainter | None, rect: QRectF) -> None:
        if painter is None:
            return
        # on the screen, where the marks have the same size at any zoom
        to_screen = self.viewportTransform()
        painter.save()
        painter.resetTransform()
        if self._fovea is not None:
            outlines = [to_screen.map(outline) for outline in self._etdrs]
            draw_etdrs(painter, outlines, to_screen.map(self._fovea))
        lines = self._lines
        if lines is not None and 0 <= self._bscan < len(lines.lines):
            points = [to_screen.map(QPointF(x, y)) for x, y in lines.lines[self._bscan]]
            draw_bscan_mark(
                painter,
                np.array([(point.x(), point.y()) for point in points]),
                self._bscan + 1,
                QRectF(self.viewport().rect()),
            )
        painter.restore()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        super().resizeEvent(event)
        if self._whole:
            self.show_whole()

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        if event is not None:
            self.zoom_by(WHEEL_FACTOR ** (event.angleDelta().y() / 120))
            event.accept()

    def _is_at_fovea(self, place: QPoint) -> bool:
        if self._fovea is None:
            return False
        return (self.mapFromScene(self._fovea) - place).manhattanLength() <= GRIP_PX

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self._pressed = event.position().toPoint()
            self._has_moved = False
            self._grips_fovea = self._is_at_fovea(self._pressed)
            if self._grips_fovea:
                return  # the picture stays
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        if event is not None:
            at = event.position().toPoint()
            if self._pressed is None:
                grip, cross = Qt.CursorShape.SizeAllCursor, Qt.CursorShape.CrossCursor
                self.viewport().setCursor(grip if self._is_at_fovea(at) else cross)
            elif (at - self._pressed).manhattanLength() >= QApplication.startDragDistance():
                self._has_moved = True
            if self._grips_fovea:
                if self._has_moved:
                    self.fovea_dragged.emit(self.mapToScene(at))
                return
        super().mouseMoveEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        super().mouseReleaseEvent(event)
        pressed, self._pressed, self._grips_fovea = self._pressed, None, False
        self.viewport().setCursor(Qt.CursorShape.CrossCursor)
        if event is None or pressed is None or event.button() != Qt.MouseButton.LeftButton:
            return
        at = event.position().toPoint()
        far = (at - pressed).manhattanLength() >= QApplication.startDragDistance()
        if not (far or self._has_moved) and self._lines is not None:
            point = self.mapToScene(at)
            self.clicked.emit(self._lines.nearest((point.x(), point.y()), self._stretch))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        key = event.key() if event is not None else None
        shifted = event is not None and event.modifiers() & Qt.KeyboardModifier.ShiftModifier
        if shifted and self._fovea is not None and key in NUDGES:
            right, down = NUDGES[Qt.Key(key)]
            self.fovea_dragged.emit(self._fovea + QPointF(right, down / self._stretch))
        elif key in STEPS:
            self.stepped.emit(STEPS[Qt.Key(key)])
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_by(WHEEL_FACTOR)
        elif key == Qt.Key.Key_Minus:
            self.zoom_by(1 / WHEEL_FACTOR)
        elif key == Qt.Key.Key_0:
            self.show_whole()
        else:
            super().keyPressEvent(event)
