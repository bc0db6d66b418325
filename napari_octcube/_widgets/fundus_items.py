"""What lies in one frame, from below: a fundus picture, another blended over it, and saliency as heat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap, QTransform
from qtpy.QtWidgets import QGraphicsPixmapItem, QGraphicsScene

from octcube_core.colours import overlay_colours


class FundusItems:
    """Three pictures, each of which may have pixels of another size than the frame that it fills."""

    def __init__(self, scene: QGraphicsScene) -> None:
        self._frame = (1, 1)  # rows, columns
        self.picture, self.blended, self.heat = (QGraphicsPixmapItem() for _ in range(3))
        self._heat_values: NDArray[np.uint8] | None = None
        self._heat_look = ("plasma", 0.0)
        for item in (self.picture, self.blended, self.heat):
            item.setTransformationMode(Qt.TransformationMode.SmoothTransformation)
            scene.addItem(item)

    def set_frame(self, shape: tuple[int, int]) -> None:
        """Make room for pictures of (rows, columns), none so far."""
        self._frame = shape
        self._heat_values = None
        for item in (self.picture, self.blended, self.heat):
            item.setPixmap(QPixmap())

    def show_picture(self, pixels: NDArray[np.uint8]) -> None:
        """Fill the frame with an array of shape (rows, columns) or (rows, columns, 3)."""
        self._fill(self.picture, _image(pixels))

    def show_blended(self, pixels: NDArray[np.uint8] | None) -> None:
        """Lay another picture over the first, or none."""
        if pixels is None:
            self.blended.setPixmap(QPixmap())
        else:
            self._fill(self.blended, _image(pixels))

    def show_heat(self, values: NDArray[np.uint8] | None) -> None:
        """Lay saliency over the pictures, 255 being its maximum, or none."""
        self._heat_values = None if values is None else np.ascontiguousarray(values)
        self._paint_heat()

    def set_heat_look(self, opacity: float, colormap: str, threshold: float) -> None:
        """How the saliency looks from now on."""
        self.heat.setOpacity(opacity)
        if (colormap, threshold) != self._heat_look:
            self._heat_look = (colormap, threshold)
            self._paint_heat()

    def _paint_heat(self) -> None:
        values = self._heat_values
        if values is None:
            self.heat.setPixmap(QPixmap())
            return
        # a table of colours, so that another look need not colour every pixel anew in Python
        colours = np.rint(overlay_colours(np.arange(256) / 255, *self._heat_look) * 255).astype(int)
        red, green, blue, alpha = colours.T
        table = (alpha << 24) | (red << 16) | (green << 8) | blue
        height, width = values.shape
        image = QImage(values.data, width, height, width, QImage.Format.Format_Indexed8)
        image.setColorTable(table.tolist())
        self._fill(self.heat, image)

    def _fill(self, item: QGraphicsPixmapItem, image: QImage) -> None:
        rows, columns = self._frame
        item.setPixmap(QPixmap.fromImage(image))  # which copies
        item.setTransform(QTransform.fromScale(columns / image.width(), rows / image.height()))


def _image(pixels: NDArray[np.uint8]) -> QImage:
    """Shares the array's memory: it must outlive the image."""
    layout = QImage.Format.Format_Grayscale8 if pixels.ndim == 2 else QImage.Format.Format_RGB888
    height, width = pixels.shape[:2]
    assert pixels.flags.c_contiguous
    return QImage(pixels.data, width, height, pixels.strides[0], layout)
