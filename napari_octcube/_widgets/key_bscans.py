"""The B-scans that count most for the selected disease, as buttons that go there."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from napari_octcube._session import Session

COUNT = 5
STYLE = "QPushButton { padding: 2px 9px; border-radius: 9px; }"


class KeyBScans(QWidget):
    """A button for each key B-scan, the most salient first; that of the B-scan in view is pressed.

    Hidden while there are none, and for a single B-scan.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.chips: dict[int, QPushButton] = {}
        caption = QLabel("Key B-scans")
        caption.setToolTip("Those with most saliency, the most salient first; numbers count from 1")
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(4)
        self._row.addWidget(caption)
        self._row.addStretch()
        session.events.analysis.connect(self._fill)
        session.events.disease.connect(self._fill)
        session.events.bscan.connect(self._mark)
        self._fill()

    def _fill(self) -> None:
        for chip in self.chips.values():
            self._row.removeWidget(chip)
            chip.hide()  # it may be the one that is being pressed: Qt deletes it later
            chip.deleteLater()
        self.chips = {}
        analysis, target = self._session.analysis, self._session.disease
        if analysis is not None and target in analysis.targets:
            importance = analysis.bscan_importance(target)
            bscans = analysis.key_bscans(target, COUNT) if len(importance) > 1 else []
            for bscan in bscans:
                chip = QPushButton(str(bscan + 1))
                chip.setCheckable(True)
                chip.setStyleSheet(STYLE)
                chip.setToolTip(f"Go to B-scan {bscan + 1}: mean saliency {importance[bscan]:.3f}")
                chip.clicked.connect(lambda _=False, bscan=bscan: self._go(bscan))
                self._row.insertWidget(1 + len(self.chips), chip)
                self.chips[bscan] = chip
        self._mark()
        self.setVisible(bool(self.chips))

    def _go(self, bscan: int) -> None:
        self._session.go_to_bscan(bscan)
        self._mark()  # a second click would let it pop out

    def _mark(self) -> None:
        for bscan, chip in self.chips.items():
            chip.setChecked(bscan == self._session.bscan)
