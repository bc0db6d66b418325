"""Draws the B-scan in view on a fundus picture: its line, its first A-scan, its direction, its number."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPen, QPolygonF

from napari_octcube._bscan_lines import arrow_of

# Yellow and sky blue of Okabe and Ito: told apart by the colour-blind, and both far from the grey of an IR image.
CURRENT = QColor("#F0E442")
OTHERS = QColor("#56B4E9")
OUTLINE = QColor(0, 0, 0, 170)  # keeps the line readable where the picture is bright
LINE_WIDTH = 2.0
OUTLINE_WIDTH = 4.5
START_RADIUS = 5.0
ARROW_LENGTH = 12.0
MARGIN = 4.0


def draw_bscan_mark(
    painter: QPainter, line: NDArray[np.float64], number: int, area: QRectF
) -> None:
    """Draw one B-scan's mark.

    Parameters
    ----------
    painter : QPainter
        In the coordinates of the screen.
    line : array, shape (points, 2)
        (x, y) on the screen from the first A-scan to the last.
    number : int
        Written at the first A-scan.
    area : QRectF
        What is visible; the number stays within.
    """
    polygon = QPolygonF([QPointF(x, y) for x, y in line])
    tip, direction = arrow_of(line)
    arrow = _arrow_head(tip, direction)
    start = polygon[0]
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for colour, width in ((OUTLINE, OUTLINE_WIDTH), (CURRENT, LINE_WIDTH)):
        painter.setPen(_pen(colour, width))
        painter.drawPolyline(polygon)
    painter.setPen(_pen(OUTLINE, 1.5))
    painter.setBrush(CURRENT)
    painter.drawPolygon(arrow)
    painter.drawEllipse(start, START_RADIUS, START_RADIUS)
    _draw_number(painter, str(number), start, arrow_of(line[:2])[1], area)


def _pen(colour: QColor, width: float) -> QPen:
    pen = QPen(colour, width)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    return pen


def _arrow_head(tip: NDArray[np.float64], direction: NDArray[np.float64]) -> QPolygonF:
    across = np.array([-direction[1], direction[0]])
    back = tip - ARROW_LENGTH * direction
    corners = (tip, back + 0.45 * ARROW_LENGTH * across, back - 0.45 * ARROW_LENGTH * across)
    return QPolygonF([QPointF(x, y) for x, y in corners])


def _draw_number(
    painter: QPainter,
    text: str,
    start: QPointF,
    direction: NDArray[np.float64],
    area: QRectF,
) -> None:
    """Before the start of the line, where it hides none of it."""
    font = QFont(painter.font())
    font.setBold(True)
    painter.setFont(font)
    metrics = QFontMetricsF(font)
    width = metrics.horizontalAdvance(text) + 2 * MARGIN
    height = metrics.height() + 2
    away = START_RADIUS + MARGIN + np.array([width, height]) / 2
    middle = np.array([start.x(), start.y()]) - direction * away
    low = np.array([area.left() + width / 2, area.top() + height / 2]) + 1
    high = np.array([area.right() - width / 2, area.bottom() - height / 2]) - 1
    x, y = np.clip(middle, low, np.maximum(low, high))
    box = QRectF(x - width / 2, y - height / 2, width, height)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(0, 0, 0, 200))
    painter.drawRoundedRect(box, 3, 3)
    painter.setPen(CURRENT)
    painter.drawText(box, Qt.AlignmentFlag.AlignCenter, text)
