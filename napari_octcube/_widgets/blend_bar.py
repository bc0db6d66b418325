"""Lays a second fundus image over the first, more or less opaque."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QSlider, QWidget

from napari_octcube import _exam_words as words
from napari_octcube._same_field import difference, partners
from octcube_core.exam import Exam

NOTHING = "nothing"
START_PERCENT = 50


class BlendBar(QWidget):
    """Which image lies over the one in view, and how opaque; or why none can. ``changed`` tells of either."""

    changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.caption = QLabel("Blend with")
        self.chooser = QComboBox()
        self.chooser.setToolTip(
            "Another image to lay over this one. Both have the same size and scale; "
            "the file does not say whether they are aligned."
        )
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setRange(0, 100)
        self.slider.setValue(START_PERCENT)
        self.slider.setToolTip("How opaque the upper image is")
        self.reason = QLabel()
        self.reason.setWordWrap(True)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self.caption)
        row.addWidget(self.chooser)
        row.addWidget(self.slider, 1)
        row.addWidget(self.reason, 1)
        self.chooser.currentIndexChanged.connect(self._on_choice)
        self.slider.valueChanged.connect(lambda _: self.changed.emit())
        self.show_for(None, 0)

    @property
    def image(self) -> int | None:
        """Index of the upper image, None without one."""
        index: int | None = self.chooser.currentData()
        return index

    @property
    def opacity(self) -> float:
        """Of the upper image, 0 to 1."""
        return self.slider.value() / 100

    def show_for(self, exam: Exam | None, image: int) -> None:
        """Offer what can lie over an image, at first nothing."""
        found = partners(exam, image) if exam is not None and exam.enface else []
        self.chooser.blockSignals(True)
        self.chooser.clear()
        self.chooser.addItem(NOTHING, None)
        for index in found:
            assert exam is not None
            self.chooser.addItem(words.image_names(exam)[index], index)
        self.chooser.blockSignals(False)
        for widget in (self.caption, self.chooser, self.slider):
            widget.setVisible(bool(found))
        self.reason.setVisible(not found)
        self.reason.setText("" if exam is None else _reason(exam, image))
        self.setVisible(exam is not None and len(exam.enface) > 1)
        self.slider.setEnabled(False)

    def _on_choice(self) -> None:
        self.slider.setEnabled(self.image is not None)
        self.changed.emit()


def _reason(exam: Exam, image: int) -> str:
    names = words.image_names(exam)
    parts = [
        f"{names[index]} has {difference(exam.enface[image], other)}"
        for index, other in enumerate(exam.enface)
        if index != image
    ]
    return f"No blending: {', '.join(parts)}."
