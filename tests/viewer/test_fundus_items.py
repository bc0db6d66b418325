import numpy as np
import pytest
from qtpy.QtCore import QRectF, Qt
from qtpy.QtGui import QColor, QImage, QPainter
from qtpy.QtWidgets import QGraphicsScene

from napari_octcube._widgets.fundus_items import FundusItems

FRAME = (40, 60)


@pytest.fixture
def items(qapp):
    scene = QGraphicsScene()
    items = FundusItems(scene)
    items.scene = scene
    items.set_frame(FRAME)
    return items


def colour(items, row, column):
    image = QImage(FRAME[1], FRAME[0], QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.black)
    painter = QPainter(image)
    items.scene.render(painter, QRectF(image.rect()), QRectF(0, 0, FRAME[1], FRAME[0]))
    painter.end()
    found = QColor(image.pixel(column, row))
    return found.red(), found.green(), found.blue()


def halves(left, right, shape=(4, 6)):
    pixels = np.full(shape, left, np.uint8)
    pixels[:, shape[1] // 2 :] = right
    return pixels


def test_a_picture_of_another_size_fills_the_frame(items):
    items.show_picture(halves(40, 200))
    assert colour(items, 38, 2) == (40, 40, 40)
    assert colour(items, 2, 57) == (200, 200, 200)


def test_another_is_blended_over_it(items):
    items.show_picture(halves(0, 0))
    items.show_blended(halves(200, 200))
    items.blended.setOpacity(0.5)
    assert colour(items, 20, 20)[0] == pytest.approx(100, abs=2)
    items.show_blended(None)
    assert colour(items, 20, 20) == (0, 0, 0)


def test_heat_is_coloured_from_the_threshold_on(items):
    items.show_picture(halves(90, 90))
    items.show_heat(halves(100, 255))
    items.set_heat_look(1.0, "plasma", 0.5)
    assert colour(items, 20, 5) == (90, 90, 90)  # 100 of 255 is below
    red, green, blue = colour(items, 20, 55)
    assert min(red, green) > blue + 50  # the yellow end of plasma
    items.set_heat_look(0.0, "plasma", 0.5)
    assert colour(items, 20, 55) == (90, 90, 90)


def test_a_new_frame_is_empty(items):
    items.show_picture(halves(200, 200))
    items.show_heat(halves(255, 255))
    items.set_frame(FRAME)
    assert colour(items, 20, 20) == (0, 0, 0)
