"""What the exam in view is: eye, shape, spacing, device, images, warnings."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QGridLayout, QLabel, QVBoxLayout, QWidget

from napari_octcube._layers import UM_PER_MM
from napari_octcube._session import Session
from octcube_core.exam import Exam

EYES = {"OD": "OD (right)", "OS": "OS (left)", None: "side unknown"}
NO_EXAM = "No exam open. Use File > Open, File > Open Sample, or drop a file or folder here."


def eye(exam: Exam) -> str:
    """Which eye, and whether it is one of a person at all."""
    return EYES[exam.laterality] + (", synthetic" if exam.format == "synthetic" else "")


def shape(exam: Exam) -> str:
    """Scan pattern and number of voxels, in words."""
    bscans, depth, width = exam.volume.shape
    text = f"{bscans} B-scan{'s' if bscans != 1 else ''} of {width} × {depth} px"
    return f"{text}, {exam.scan_pattern}" if exam.scan_pattern else text


def spacing(exam: Exam) -> str:
    """Distances between voxels, each known or not."""
    if all(value is None for value in exam.volume.spacing_mm):
        return "spacing unknown"
    sizes = (
        "?" if value is None else f"{value * UM_PER_MM:.3g}" for value in exam.volume.spacing_mm
    )
    text = " × ".join(sizes) + " µm"
    return text if exam.volume.is_metric else f"{text}; partly unknown, so shown in pixels"


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
        for row, name in enumerate(("Eye", "Scan", "Spacing", "Images", "Device")):
            grid.addWidget(QLabel(name), row, 0, Qt.AlignmentFlag.AlignTop)
            self.values[name] = _wrapping_label()
            grid.addWidget(self.values[name], row, 1)
        self.values["Spacing"].setToolTip("between B-scans × in depth × in width")
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
            self.values["Eye"].setText(eye(exam))
            self.values["Scan"].setText(shape(exam))
            self.values["Spacing"].setText(spacing(exam))
            self.values["Images"].setText(", ".join(exam.modalities))
            self.values["Device"].setText(exam.device or "unknown")
            notes += [f"⚠ {warning}" for warning in exam.warnings]
        elif not notes:
            notes = [NO_EXAM]
        self.note.setText("\n".join(notes))
        self.note.setVisible(bool(notes))


def _wrapping_label() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.PlainText)  # file contents are not markup
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
