"""What the exam in view is: scan, spacing, images, device, warnings."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_octcube import _exam_words as words
from napari_octcube._session import Session
from napari_octcube._widgets.small_parts import note_label

NO_EXAM = "No exam open. Use Open above, File > Open Sample, or drop a file or folder here."
NAMES = ("Scan", "Spacing", "Images", "Device")
TIPS = {
    "Spacing": "between B-scans × in depth × in width",
}


class ExamFacts(QWidget):
    """Rows of facts, then the exam's warnings."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.values: dict[str, QLabel] = {}
        self._rows = QWidget()
        grid = QGridLayout(self._rows)  # a form layout cuts the second line of a wrapped value
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        for row, name in enumerate(NAMES):
            grid.addWidget(QLabel(name), row, 0, Qt.AlignmentFlag.AlignTop)
            self.values[name] = _wrapping_label()
            self.values[name].setToolTip(TIPS.get(name, ""))
            grid.addWidget(self.values[name], row, 1)
        self.note = _wrapping_label()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addWidget(self._rows)
        column.addWidget(self.note)
        session.events.exam.connect(self._refresh)
        session.events.opening.connect(self._refresh)
        self._refresh()

    def _refresh(self) -> None:
        exam = self._session.exam
        self._rows.setVisible(exam is not None)
        notes = [f"Opening {self._session.opening} …"] if self._session.opening else []
        if exam is not None:
            facts = {
                "Scan": words.scan(exam),
                "Spacing": words.spacing(exam),
                "Images": words.images(exam),
                "Device": exam.device or "unknown",
            }
            for name, text in facts.items():
                self.values[name].setText(text)
            self.values["Images"].setToolTip(f"Places of the B-scans: {words.places(exam)}")
            notes += [f"⚠ {warning}" for warning in exam.warnings]
        elif not notes:
            notes = [NO_EXAM]
        self.note.setText("\n".join(notes))
        self.note.setVisible(bool(notes))


def _wrapping_label() -> QLabel:
    label = note_label()
    label.setTextFormat(Qt.TextFormat.PlainText)  # file contents are not markup
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
