import threading
from dataclasses import replace

import numpy as np
import pytest
from fakes import make_exam
from qtpy.QtCore import QPointF, Qt

from napari_octcube import _picture_maker
from napari_octcube._session import Session
from napari_octcube._widgets.localizer_tab import LocalizerTab
from octcube_core.exam import BScanLocations, EnFaceImage

pytestmark = pytest.mark.xvfb
FAF = EnFaceImage(np.full((64, 64), 50, np.uint16), "FAF")
IR = EnFaceImage(np.full((32, 48), 90, np.uint8), "IR", (0.02, 0.01))


def located_exam(image=1):
    lines = tuple(np.array([[row, 5.0], [row, 40.0]]) for row in np.linspace(4, 28, 20))
    return replace(make_exam(), enface=(FAF, IR), locations=BScanLocations(lines, image))


@pytest.fixture
def session():
    return Session()


@pytest.fixture
def tab(session, qtbot):
    tab = LocalizerTab(session)
    qtbot.addWidget(tab)
    tab.resize(330, 500)
    tab.show()
    qtbot.waitExposed(tab)
    return tab


def has_lines(tab):
    return tab.view._lines is not None


def is_filled(tab):
    return not tab.view.fundus.picture.pixmap().isNull()


def test_without_an_exam_it_says_so(tab):
    assert tab.note.text() == "No exam open."
    assert not tab.view.isVisible()


def test_the_located_image_comes_first(tab, session):
    session.show_exam(located_exam())
    assert tab.image_chooser.currentText() == "IR"
    assert tab.view.isVisible()
    assert has_lines(tab)
    assert not tab.note.isVisible()
    assert tab.eye_label.text() == "OD (right)"
    assert tab.position_label.text() == "B-scan 1 of 20, at 0.00 mm, raster"


def test_the_picture_has_true_proportions(tab, session):
    session.show_exam(located_exam())
    transform = tab.view.transform()
    assert transform.m22() / transform.m11() == pytest.approx(2.0)


def test_other_images_show_no_lines(tab, session):
    session.show_exam(located_exam())
    tab.image_chooser.setCurrentText("FAF")
    assert not has_lines(tab)
    assert "on the IR image only" in tab.note.text()
    assert tab.view.sceneRect().width() == 64
    tab.image_chooser.setCurrentText("IR")
    assert has_lines(tab)


def test_two_images_of_one_modality_can_be_told_apart(tab, session):
    session.show_exam(replace(make_exam(), enface=(IR, FAF, IR)))
    names = [tab.image_chooser.itemText(i) for i in range(tab.image_chooser.count())]
    assert names == ["IR", "FAF", "IR 2"]


def test_unknown_places_are_said(tab, session):
    session.show_exam(make_exam())
    assert tab.note.text() == "The file does not say where the B-scans lie."
    assert tab.view.isVisible()


def test_places_outside_of_the_image_are_said(tab, session):
    exam = located_exam()
    lines = tuple(line + np.array([0.0, 500.0]) for line in exam.locations.polylines)
    session.show_exam(replace(exam, locations=BScanLocations(lines, 1)))
    assert tab.note.text() == "The file says that the B-scans lie outside of this image."
    assert not has_lines(tab)


def test_no_image_is_said(tab, session):
    session.show_exam(replace(make_exam(), enface=()))
    assert tab.note.text() == "The file holds no en-face image."
    assert not tab.view.isVisible()


def test_it_follows_the_session(tab, session):
    session.show_exam(located_exam())
    session.go_to_bscan(13)
    assert tab.position_label.text() == "B-scan 14 of 20, at 1.56 mm, raster"
    assert tab.view._bscan == 13


LARGE = {
    "grey": ((6000, 6000), np.float32),
    "colour": ((4000, 6000, 3), np.uint16),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_photographs_never_stop_the_viewer(tab, session, qtbot, longest_stall, name):
    shape, dtype = LARGE[name]
    ramp = (np.arange(shape[1]) * 10).astype(dtype)
    pixels = np.broadcast_to(ramp.reshape((1, -1) + (1,) * (len(shape) - 2)), shape).copy()
    exam = replace(make_exam(), enface=(IR, EnFaceImage(pixels, "CFP")))
    session.show_exam(exam)
    qtbot.waitUntil(lambda: is_filled(tab))
    longest_stall()
    tab.image_chooser.setCurrentText("CFP")
    assert tab.view.sceneRect().width() == 6000
    assert not is_filled(tab)  # never the picture of another image
    qtbot.waitUntil(lambda: is_filled(tab))
    qtbot.wait(50)
    assert longest_stall()[1] < 0.05
    tab.image_chooser.setCurrentText("IR")
    assert is_filled(tab)  # at once: it was made before
    tab.image_chooser.setCurrentText("CFP")
    assert is_filled(tab)
    left, right = (
        tab.view.fundus.picture.pixmap().toImage().pixelColor(x, 5).red() for x in (5, 1900)
    )
    assert left < 10
    assert right > 220


def test_a_picture_that_comes_late_is_not_shown(tab, session, qtbot, monkeypatch):
    gate, made = threading.Event(), []

    def slow(image):
        if image is FAF:
            gate.wait(20)
            made.append(image)
        return np.full(image.shape, 77, np.uint8)

    monkeypatch.setattr(_picture_maker, "fundus_picture", slow)
    session.show_exam(replace(make_exam(), enface=(FAF, IR)))
    tab.image_chooser.setCurrentText("IR")
    qtbot.waitUntil(lambda: is_filled(tab))
    gate.set()
    qtbot.waitUntil(lambda: made == [FAF])
    qtbot.wait(50)
    assert tab.view.fundus.picture.pixmap().width() == IR.shape[1]


def test_click_and_keys_drive_the_session(tab, session, qtbot):
    session.show_exam(located_exam())
    heard = []
    session.events.bscan.connect(heard.append)
    row = np.linspace(4, 28, 20)[15]
    place = tab.view.mapFromScene(QPointF(20, row + 0.5))
    qtbot.mouseClick(tab.view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.keyClick(tab.view, Qt.Key.Key_Down)
    qtbot.keyClick(tab.view, Qt.Key.Key_End)
    qtbot.keyClick(tab.view, Qt.Key.Key_Right)  # there is none
    qtbot.keyClick(tab.view, Qt.Key.Key_Home)
    assert heard == [15, 16, 19, 0]


def test_closing_the_exam_leaves_nothing_behind(tab, session):
    exam = located_exam()
    session.show_exam(exam)
    session.close_exam(exam)
    assert tab.note.text() == "No exam open."
    assert not tab.view.isVisible()
    assert tab.image_chooser.count() == 0


def test_a_shorter_exam_after_a_longer_one(tab, session):
    session.show_exam(located_exam())
    session.go_to_bscan(19)
    session.show_exam(replace(located_exam(), volume=make_exam((1, 64, 64), bright=(0, 1, 1)).volume,
                              locations=None))  # fmt: skip
    assert tab.position_label.text() == "B-scan 1 of 1, raster"


def test_localizer_and_slider_in_the_viewer(open_dock, qtbot):
    viewer, dock = open_dock(show=True)
    dock.scene.add_exam(located_exam())
    dock.setCurrentWidget(dock.localizer_tab)
    viewer.window.resize(1366, 768)
    qtbot.wait(100)
    view = dock.localizer_tab.view
    place = view.mapFromScene(QPointF(20, 4.5))
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert viewer.dims.current_step[0] == 0
    viewer.dims.set_current_step(0, 12)
    assert dock.localizer_tab.position_label.text() == "B-scan 13 of 20, at 1.44 mm, raster"
    assert view.height() >= 250
    assert dock.width() <= 400
