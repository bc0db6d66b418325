"""Why an eye was found: both eyes side by side, with what raises their similarity over them."""

from __future__ import annotations

import numpy as np
from PIL import Image
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QDialog, QGridLayout, QLabel, QWidget

from napari_octcube._why_pictures import WhyPicture
from octcube_core.results import DISCLAIMER, Analysis


class WhyDialog(QDialog):
    """Left the eye in view, right the one that was found."""

    def __init__(
        self,
        analysis: Analysis,
        left: list[WhyPicture],
        right: list[WhyPicture],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.setWindowTitle("Why these eyes are alike")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        (similarity,) = analysis.measurements
        grid = QGridLayout(self)
        top = QLabel(
            f"Similarity {similarity.value:.3f}. Bright: what raises the similarity, by {analysis.method}, each eye"
            " scaled by itself."
        )
        grid.addWidget(top, 0, 0, 1, 2)
        for column, (title, pictures) in enumerate((("Eye in view", left), ("Similar eye", right))):
            grid.addWidget(QLabel(title), 1, column)
            for row, shown in enumerate(pictures):
                picture = QLabel()
                picture.setPixmap(_pixmap(shown.picture))
                grid.addWidget(picture, 2 + 2 * row, column, Qt.AlignmentFlag.AlignTop)
                grid.addWidget(QLabel(shown.caption), 3 + 2 * row, column)
        grid.addWidget(QLabel(f"{analysis.card.title} · {DISCLAIMER}"), 10, 0, 1, 2)


def _pixmap(picture: Image.Image) -> QPixmap:
    pixels = np.ascontiguousarray(np.asarray(picture.convert("RGB")))
    height, width, _ = pixels.shape
    image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
    return QPixmap.fromImage(image.copy())
