"""Draws the ETDRS grid on a fundus picture, with a cross at the fovea, by which it is moved."""

from __future__ import annotations

from collections.abc import Sequence

from qtpy.QtCore import QPointF, Qt
from qtpy.QtGui import QColor, QPainter, QPen, QPolygonF

GRID = QColor("#FFFFFF")
OUTLINE = QColor(0, 0, 0, 170)
GRID_WIDTH = 1.2
OUTLINE_WIDTH = 3.0
CROSS = 6.0  # half of its size, in pixels of the screen


def draw_etdrs(painter: QPainter, outlines: Sequence[QPolygonF], fovea: QPointF) -> None:
    """Draw the grid.

    Parameters
    ----------
    painter : QPainter
        In the coordinates of the screen, as all places here.
    outlines : sequence of QPolygonF
        The circles and the lines between the quadrants.
    fovea : QPointF
    """
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for colour, width in ((OUTLINE, OUTLINE_WIDTH), (GRID, GRID_WIDTH)):
        pen = QPen(colour, width)
        pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
        painter.setPen(pen)
        for outline in outlines:
            painter.drawPolyline(outline)
        for aside in (QPointF(CROSS, 0), QPointF(0, CROSS)):
            painter.drawLine(fovea - aside, fovea + aside)
