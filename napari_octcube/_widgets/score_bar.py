"""Draws a probability as a bar with a mark at its threshold, in a table cell."""

from __future__ import annotations

from typing import Any

from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPalette, QPen
from qtpy.QtWidgets import QStyledItemDelegate, QStyleOptionViewItem

SCORE_ROLE = Qt.ItemDataRole.UserRole + 1  # (probability, threshold or None)

# from Okabe and Ito's palette, told apart by the colour-blind; the second of each is for a light background
PRESENT = (QColor("#E69F00"), QColor("#D55E00"))
ABSENT = (QColor("#56B4E9"), QColor("#0072B2"))


class ScoreBar(QStyledItemDelegate):
    """Bar from 0 to 1; orange at or above the threshold, blue below."""

    def paint(self, painter: QPainter, option: QStyleOptionViewItem, index: Any) -> None:
        """Draw the cell's background as usual, then the bar."""
        super().paint(painter, option, index)
        score = index.data(SCORE_ROLE)
        if score is None:
            return
        probability, threshold = score
        text = option.palette.color(QPalette.ColorRole.Text)
        light_theme = text.lightnessF() < 0.5
        colors = PRESENT if threshold is not None and probability >= threshold else ABSENT
        box = QRectF(option.rect).adjusted(4, 6, -4, -6)
        track = QColor(text)
        track.setAlphaF(0.18)
        painter.save()
        painter.fillRect(box, track)
        bar = QRectF(box)
        bar.setWidth(box.width() * min(max(probability, 0.0), 1.0))
        painter.fillRect(bar, colors[light_theme])
        if threshold is not None:
            x = box.left() + box.width() * threshold
            painter.setPen(QPen(text, 2))
            painter.drawLine(int(x), int(box.top()) - 3, int(x), int(box.bottom()) + 3)
        painter.restore()
