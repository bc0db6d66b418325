"""How the saliency looks, on the B-scans and on the fundus: colours, opacity, threshold."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap
from qtpy.QtWidgets import QComboBox, QGridLayout, QLabel, QSlider, QWidget

from napari_octcube._session import Session
from octcube_core.colours import OVERLAY_COLORMAPS, overlay_colours

STEPS = 100
ICON = QSize(36, 10)
OPACITY_TIP = "How opaque the saliency is, on the B-scans and on the fundus"
THRESHOLD_TIP = "Saliency below this part of the volume's maximum is not shown"
COLOURS_TIP = "Colours of the saliency; all are told apart by the colour-blind"


class OverlayBar(QWidget):
    """Two sliders and a list, which show and set the session's values."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.colormap_chooser = QComboBox()
        self.colormap_chooser.setToolTip(COLOURS_TIP)
        self.colormap_chooser.setIconSize(ICON)
        for name in OVERLAY_COLORMAPS:
            self.colormap_chooser.addItem(_icon(name), name, name)
        self.opacity_slider, self.opacity_label = _slider(OPACITY_TIP)
        self.threshold_slider, self.threshold_label = _slider(THRESHOLD_TIP)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        grid.addWidget(QLabel("Opacity"), 0, 0)
        grid.addWidget(self.opacity_slider, 0, 1)
        grid.addWidget(self.opacity_label, 0, 2)
        grid.addWidget(self.colormap_chooser, 0, 3)
        grid.addWidget(QLabel("Threshold"), 1, 0)
        grid.addWidget(self.threshold_slider, 1, 1)
        grid.addWidget(self.threshold_label, 1, 2)
        grid.setColumnStretch(1, 1)
        self.opacity_slider.valueChanged.connect(self._set_opacity)
        self.threshold_slider.valueChanged.connect(self._set_threshold)
        self.colormap_chooser.activated.connect(self._set_colormap)
        for event in ("overlay_opacity", "overlay_threshold", "overlay_colormap"):
            session.events[event].connect(self._refresh)
        session.events.analysis.connect(self._show_or_hide)
        self._refresh()
        self._show_or_hide()

    def _set_opacity(self, value: int) -> None:
        self._session.overlay_opacity = value / STEPS

    def _set_threshold(self, value: int) -> None:
        self._session.overlay_threshold = value / STEPS

    def _set_colormap(self, index: int) -> None:
        self._session.overlay_colormap = self.colormap_chooser.itemData(index)

    def _refresh(self) -> None:
        session = self._session
        for slider, label, value, text in (
            (
                self.opacity_slider,
                self.opacity_label,
                session.overlay_opacity,
                f"{session.overlay_opacity:.0%}",
            ),
            (
                self.threshold_slider,
                self.threshold_label,
                session.overlay_threshold,
                f"{session.overlay_threshold:.2f}",
            ),
        ):
            slider.blockSignals(True)  # or a value between two steps would be rounded
            slider.setValue(round(value * STEPS))
            slider.blockSignals(False)
            label.setText(text)
        self.colormap_chooser.setCurrentIndex(
            self.colormap_chooser.findData(session.overlay_colormap)
        )

    def _show_or_hide(self) -> None:
        analysis = self._session.analysis
        self.setVisible(analysis is not None and bool(analysis.targets))


def _slider(tip: str) -> tuple[QSlider, QLabel]:
    slider, label = QSlider(Qt.Orientation.Horizontal), QLabel()
    slider.setRange(0, STEPS)
    slider.setPageStep(STEPS // 10)
    slider.setToolTip(tip)
    label.setMinimumWidth(label.fontMetrics().horizontalAdvance("100%"))
    label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return slider, label


def _icon(colormap: str) -> QIcon:
    width, height = ICON.width(), ICON.height()
    colours = overlay_colours(np.linspace(0, 1, width), colormap)[:, :3]
    pixels = np.repeat(np.rint(colours * 255).astype(np.uint8)[None], height, axis=0).copy()
    image = QImage(pixels.data, width, height, pixels.strides[0], QImage.Format.Format_RGB888)
    return QIcon(QPixmap.fromImage(image))
