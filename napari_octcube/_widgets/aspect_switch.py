"""One click between a B-scan in true proportions and one with square pixels."""

from __future__ import annotations

from qtpy.QtWidgets import QButtonGroup, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from napari_octcube._layers import bscan_is_metric, depth_stretch
from napari_octcube._session import Aspect, Session

CHOICES: tuple[tuple[Aspect, str, str], ...] = (
    ("um", "1:1 µm", "True proportions: a micrometre is as long in depth as in width."),
    (
        "px",
        "1:1 px",
        "Square pixels: depth is stretched, so that layers are easier to see. "
        "The scale bar then holds for the width only.",
    ),
)


class AspectSwitch(QWidget):
    """Two exclusive buttons and a note on how much the depth is stretched."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.buttons: dict[Aspect, QPushButton] = {}
        group = QButtonGroup(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("B-scan"))
        for aspect, text, tip in CHOICES:
            button = QPushButton(text)
            button.setToolTip(tip)
            button.setCheckable(True)
            button.clicked.connect(lambda _=False, aspect=aspect: self._choose(aspect))
            group.addButton(button)
            row.addWidget(button)
            self.buttons[aspect] = button
        self.note = QLabel()
        self.note.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        row.addWidget(self.note, 1)
        session.events.aspect.connect(self._refresh)
        session.events.exam.connect(self._refresh)
        self._refresh()

    def _choose(self, aspect: Aspect) -> None:
        self._session.aspect = aspect

    def _refresh(self) -> None:
        exam, aspect = self._session.exam, self._session.aspect
        metric = exam is not None and bscan_is_metric(exam)
        self.setEnabled(metric)
        unknown = exam is not None and not metric
        shown: Aspect = "px" if unknown else aspect
        self.buttons[shown].setChecked(True)
        note = ""
        if unknown:
            note = "no spacing"
        elif exam is not None and aspect == "px":
            note = f"depth ×{depth_stretch(exam):.1f}"
        self.note.setText(note)
