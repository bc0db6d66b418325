"""What the localizer draws, as pixels on the screen."""

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from superqt.utils import qimage_to_array

from napari_octcube._bscan_lines import BScanLines
from napari_octcube._widgets.bscan_mark import CURRENT
from napari_octcube._widgets.localizer_view import LocalizerView
from octcube_core.exam import BScanLocations

pytestmark = pytest.mark.xvfb
SIZE = 400
GREY = 120


def horizontal():
    return [np.array([[row, 60.0], [row, 180.0]]) for row in np.linspace(50, 190, 8)]


def vertical_upwards():
    return [np.array([[190.0, column], [40.0, column]]) for column in np.linspace(60, 180, 8)]


def star():
    angles = np.deg2rad(np.arange(0, 180, 22.5))
    return [
        np.array([[120 - 80 * np.sin(a), 120 - 80 * np.cos(a)],
                  [120 + 80 * np.sin(a), 120 + 80 * np.cos(a)]])
        for a in angles
    ]  # fmt: skip


def circle():
    angle = np.linspace(0, 2 * np.pi, 512)
    return [np.stack([120 + 70 * np.sin(angle), 120 - 70 * np.cos(angle)], 1)]


PATTERNS = {
    "raster": horizontal(),
    "vertical raster": vertical_upwards(),
    "star": star(),
    "circle": circle(),
}


@pytest.fixture
def view(qtbot):
    view = LocalizerView()
    qtbot.addWidget(view)
    view.resize(SIZE, SIZE)
    show_picture(view, np.full((240, 240), GREY, np.uint8))
    view.show()
    qtbot.waitExposed(view)
    return view


def show_picture(view, pixels, shape=None, stretch=1.0):
    view.set_frame(shape or pixels.shape[:2], stretch)
    view.set_pixels(pixels)


def show(view, polylines, bscan=0):
    view.set_lines(BScanLines(BScanLocations(tuple(polylines))))
    view.set_bscan(bscan)


def pixels(view):
    return qimage_to_array(view.viewport().grab().toImage())[..., :3].astype(int)


def is_current(colours):
    return np.abs(colours - CURRENT.getRgb()[:3]).max(axis=-1) < 40


def on_screen(view, polyline, parts):
    """(row, column) on the screen of places along a polyline of (row, column) with pixel centres at integers."""
    steps = np.hypot(*np.diff(polyline, axis=0).T)
    along = np.concatenate([[0], np.cumsum(steps)]) / steps.sum()
    places = np.stack([np.interp(parts, along, polyline[:, axis]) for axis in (0, 1)], 1)
    points = [view.mapFromScene(QPointF(c + 0.5, r + 0.5)) for r, c in places]
    return [(point.y(), point.x()) for point in points]


def around(drawn, place, radius=1):
    row, column = place
    return drawn[row - radius : row + radius + 1, column - radius : column + radius + 1]


@pytest.mark.parametrize("name", PATTERNS)
def test_the_bscan_in_view_is_highlighted_where_it_lies(view, name):
    polylines = PATTERNS[name]
    bscan = len(polylines) // 2
    show(view, polylines, bscan)
    drawn = pixels(view)
    for place in on_screen(view, polylines[bscan], np.linspace(0.15, 0.9, 24)):
        assert is_current(around(drawn, place)).any(), place
    # and nowhere else: all of the colour is on this line, its marks and its number
    rows, columns = np.nonzero(is_current(drawn))
    places = np.array(on_screen(view, polylines[bscan], np.linspace(0, 1, 400)))
    distance = np.hypot(
        rows[:, None] - places[None, :, 0], columns[:, None] - places[None, :, 1]
    ).min(axis=1)
    assert np.percentile(distance, 80) <= 3
    assert distance.max() < 40


@pytest.mark.parametrize("name", ["raster", "vertical raster", "star"])
def test_the_other_lines_are_thin_and_blue(view, name):
    polylines = PATTERNS[name]
    show(view, polylines, 0)
    drawn = pixels(view)
    for polyline in polylines[1:]:
        for place in on_screen(view, polyline, [0.2, 0.3, 0.8]):
            line = around(drawn, place)
            assert (line[..., 2] - line[..., 0] > 30).any()
            assert not is_current(line).any()


@pytest.mark.parametrize("name", ["raster", "vertical raster"])
def test_the_first_a_scan_is_marked_and_the_last_is_not(view, name):
    polyline = PATTERNS[name][4]
    show(view, PATTERNS[name], 4)
    drawn = pixels(view)
    first, last = on_screen(view, polyline, [0, 1])
    assert is_current(around(drawn, first, 4)).mean() > 0.6
    beyond = tuple(2 * np.array(last) - on_screen(view, polyline, [0.97])[0])
    assert not is_current(around(drawn, beyond, 1)).any()


def test_lines_stay_on_the_image_when_it_is_zoomed_and_moved(view, qtbot):
    show(view, horizontal(), 3)
    view.zoom_by(2.5)
    view.horizontalScrollBar().setValue(view.horizontalScrollBar().value() + 30)
    drawn = pixels(view)
    for place in on_screen(view, horizontal()[3], [0.4, 0.5, 0.6]):
        assert is_current(around(drawn, place)).any()
    view.show_whole()
    assert view.mapFromScene(120, 120) == QPoint(SIZE // 2, SIZE // 2)


def test_pixels_keep_their_true_proportions(view):
    show_picture(view, np.full((120, 240), GREY, np.uint8), stretch=2.0)
    drawn = pixels(view)
    grey = np.abs(drawn - GREY).max(axis=-1) < 8
    height, width = grey.any(axis=1).sum(), grey.any(axis=0).sum()
    assert height == pytest.approx(width, abs=2)


def test_a_thinned_out_picture_lies_as_the_whole_one(view):
    pixels_of = np.zeros((240, 240), np.uint8)
    pixels_of[:, 120:] = 200
    show_picture(view, pixels_of[1::2, 1::2], (240, 240))
    drawn = pixels(view)[SIZE // 2, :, 0]
    assert np.argmax(drawn > 100) == pytest.approx(view.mapFromScene(120, 0).x(), abs=2)


def test_colour_pictures_keep_their_colours(view):
    show_picture(view, np.full((30, 40, 3), (200, 90, 20), np.uint8))
    np.testing.assert_allclose(pixels(view)[SIZE // 2, SIZE // 2], (200, 90, 20), atol=2)


def test_a_new_frame_is_black_until_its_pixels_come(view):
    view.set_frame((100, 100))
    assert pixels(view).max() == 0
    view.zoom_by(3)
    zoom = view.transform().m11()
    view.set_pixels(np.full((50, 50), GREY, np.uint8))
    assert view.transform().m11() == zoom  # what somebody did meanwhile stays
    assert np.abs(pixels(view)[SIZE // 2, SIZE // 2] - GREY).max() <= 2


def test_the_picture_fits_again_when_the_view_grows(view, qtbot):
    view.resize(SIZE, 2 * SIZE)
    qtbot.waitUntil(lambda: view.viewport().height() == 2 * SIZE)
    assert view.mapFromScene(120, 120) == QPoint(SIZE // 2, SIZE)


def click(view, qtbot, row, column):
    place = view.mapFromScene(QPointF(column + 0.5, row + 0.5))
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)


def test_a_click_chooses_the_nearest_bscan(view, qtbot):
    show(view, vertical_upwards())
    chosen = []
    view.clicked.connect(chosen.append)
    click(view, qtbot, 100, 61)
    click(view, qtbot, 100, 178)
    assert chosen == [0, 7]


def test_a_drag_chooses_nothing(view, qtbot):
    show(view, horizontal())
    chosen = []
    view.clicked.connect(chosen.append)
    area = view.viewport()
    qtbot.mousePress(area, Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    qtbot.mouseMove(area, QPoint(150, 160))
    qtbot.mouseRelease(area, Qt.MouseButton.LeftButton, pos=QPoint(150, 160))
    assert chosen == []


def test_without_lines_a_click_chooses_nothing(view, qtbot):
    chosen = []
    view.clicked.connect(chosen.append)
    click(view, qtbot, 100, 100)
    assert chosen == []


def test_keys_step_and_zoom(view, qtbot):
    steps = []
    view.stepped.connect(steps.append)
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Right, Qt.Key.Key_Up, Qt.Key.Key_Left):
        qtbot.keyClick(view, key)
    assert steps == [1, 1, -1, -1]
    whole = view.transform().m11()
    qtbot.keyClick(view, Qt.Key.Key_Plus)
    assert view.transform().m11() > whole
    qtbot.keyClick(view, Qt.Key.Key_0)
    assert view.transform().m11() == pytest.approx(whole)


@pytest.mark.parametrize("far", [1e7, -1e7])
def test_lines_far_outside_do_no_harm(view, far):
    show(view, [np.array([[far, far], [far, 2 * far]]), np.array([[50.0, 60], [50, 180]])], 0)
    pixels(view)
    view.set_bscan(1)
    assert is_current(pixels(view)).any()
