"""Whose eye it is and where in it one looks: never scrolls away."""

from __future__ import annotations

from qtpy.QtWidgets import QHBoxLayout, QLabel, QWidget

from napari_octcube import _exam_words as words
from napari_octcube._session import Session

# White on colours that the colour-blind tell apart, in dark and in light themes; the words say it as well.
SIDE_STYLES = {
    side: f"QLabel {{ background-color: {colour}; color: white; padding: 1px 6px; border-radius: 3px; }}"
    for side, colour in (("OD", "#a8400a"), ("OS", "#0072b2"))
}
EYE_TIP = "Which eye: OD is the patient's right, OS the left"


class ExamHeader(QWidget):
    """The side in its colour, and the B-scan in view; hidden while there is no exam."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.eye_label = QLabel()
        self.eye_label.setToolTip(EYE_TIP)
        self.bscan_label = QLabel()
        self.bscan_label.setToolTip(words.COUNTED)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.eye_label)
        row.addStretch()
        row.addWidget(self.bscan_label)
        session.events.exam.connect(self._refresh)
        session.events.bscan.connect(self._show_bscan)
        self._refresh()

    def _refresh(self) -> None:
        exam = self._session.exam
        self.setVisible(exam is not None)
        if exam is not None:
            self.eye_label.setText(words.eye(exam))
            self.eye_label.setStyleSheet(SIDE_STYLES.get(exam.laterality, ""))
            self._show_bscan()

    def _show_bscan(self) -> None:
        if self._session.exam is not None:
            text = words.position(self._session.exam, self._session.bscan)
            self.bscan_label.setText(f"B-scan {text}")
