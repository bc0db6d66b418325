"""A thin bar that fills."""

from __future__ import annotations

from qtpy.QtWidgets import QProgressBar, QWidget

STEPS = 1000
CHUNK_STYLE = "QProgressBar::chunk { background-color: #0072B2; }"  # napari's own is grey on grey


class ProgressLine(QProgressBar):
    """Without text, which would not fit."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setRange(0, STEPS)
        self.setTextVisible(False)
        self.setFixedHeight(10)
        self.setStyleSheet(CHUNK_STYLE)

    def show_fraction(self, fraction: float) -> None:
        """Fill it so far, from 0 to 1."""
        self.setValue(round(fraction * STEPS))
