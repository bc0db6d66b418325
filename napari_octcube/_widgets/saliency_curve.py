"""Saliency along the volume: how much each B-scan counts. A click goes there."""

# ruff: noqa: N802 - names of Qt's methods

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from qtpy.QtGui import (
    QColor,
    QHelpEvent,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPalette,
    QPen,
    QPolygonF,
)
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_octcube._session import Session
from napari_octcube._widgets.score_bar import PRESENT

HEIGHT = 48
MARGIN = 6.0
PAGE = 10  # B-scans
STEPS = {
    Qt.Key.Key_Left: -1,
    Qt.Key.Key_Right: 1,
    Qt.Key.Key_PageUp: -PAGE,
    Qt.Key.Key_PageDown: PAGE,
    Qt.Key.Key_Home: -(10**6),
    Qt.Key.Key_End: 10**6,
}


class SaliencyCurve(QWidget):
    """The mean saliency of each B-scan for the session's disease, scaled to its own maximum.

    Hidden while there is none, and for a single B-scan.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._values: NDArray[np.float32] | None = None
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        self.setAccessibleName("Saliency along the volume")
        session.events.analysis.connect(self._refresh)
        session.events.disease.connect(self._refresh)
        session.events.bscan.connect(self._mark)
        self._refresh()

    def sizeHint(self) -> QSize:
        return QSize(200, HEIGHT)

    def bscan_at(self, x: float) -> int:
        """The B-scan at a horizontal place of the widget."""
        assert self._values is not None
        last = len(self._values) - 1
        part = (x - MARGIN) / max(self.width() - 2 * MARGIN, 1.0)
        return min(max(round(part * last), 0), last)

    def place_of(self, bscan: int) -> QPointF:
        """Where the curve is at a B-scan."""
        assert self._values is not None
        peak = float(self._values.max()) or 1.0
        x = MARGIN + (self.width() - 2 * MARGIN) * bscan / (len(self._values) - 1)
        height = self.height() - 2 * MARGIN
        return QPointF(x, self.height() - MARGIN - height * float(self._values[bscan]) / peak)

    def describe(self, bscan: int) -> str:
        """Tooltip at a B-scan."""
        assert self._values is not None
        return (
            f"B-scan {bscan + 1} of {len(self._values)}: mean saliency {self._values[bscan]:.3f} "
            f"(1 is the maximum of the volume)\nClick or drag: go there. Arrow keys: next and previous."
        )

    def _refresh(self) -> None:
        analysis, target = self._session.analysis, self._session.disease
        values = None
        if analysis is not None and target in analysis.targets:
            values = analysis.bscan_importance(target)
        self._values = values if values is not None and len(values) > 1 else None
        self.setVisible(self._values is not None)
        self.update()

    def _mark(self) -> None:
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        if self._values is None:
            return
        text = self.palette().color(QPalette.ColorRole.WindowText)
        colour = PRESENT[text.lightnessF() < 0.5]
        track, fill = QColor(text), QColor(colour)
        track.setAlphaF(0.10)
        fill.setAlphaF(0.25)
        curve = [self.place_of(bscan) for bscan in range(len(self._values))]
        floor = self.height() - MARGIN
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillRect(QRectF(self.rect()), track)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(fill)
        ends = [QPointF(curve[-1].x(), floor), QPointF(curve[0].x(), floor)]
        painter.drawPolygon(QPolygonF([*curve, *ends]))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(colour, 1.5))
        painter.drawPolyline(QPolygonF(curve))
        here = curve[min(self._session.bscan, len(curve) - 1)]
        painter.setPen(QPen(text, 1.5))
        painter.drawLine(QPointF(here.x(), 1.0), QPointF(here.x(), self.height() - 1.0))
        painter.setBrush(text)
        painter.drawEllipse(here, 2.5, 2.5)
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(text, 1.0, Qt.PenStyle.DotLine))
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        self._go(event)

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        self._go(event)

    def _go(self, event: QMouseEvent | None) -> None:
        held = event is not None and event.buttons() & Qt.MouseButton.LeftButton
        if event is not None and held and self._values is not None:
            self._session.go_to_bscan(self.bscan_at(event.position().x()))

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        if event is not None and event.key() in STEPS:
            self._session.go_to_bscan(self._session.bscan + STEPS[Qt.Key(event.key())])
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent | None) -> bool:
        if isinstance(event, QHelpEvent) and self._values is not None:
            QToolTip.showText(
                event.globalPos(), self.describe(self.bscan_at(event.pos().x())), self
            )
            return True
        return super().event(event)
