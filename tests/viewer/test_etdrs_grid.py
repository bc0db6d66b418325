"""The ETDRS grid on the fundus picture: where it is drawn, and that it can be moved."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import make_exam
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtWidgets import QApplication
from superqt.utils import qimage_to_array

from octcube_core.exam import BScanLocations, EnFaceImage

pytestmark = pytest.mark.xvfb
SPACING_MM = (0.04, 0.02)
LINES = tuple(np.array([[row, 100.0], [row, 420.0]]) for row in np.linspace(50, 150, 20))
CENTRE = (100.0, 260.0)  # of the lines


def eye(spacing_mm=SPACING_MM, level=80):
    image = EnFaceImage(np.full((240, 480), level, np.uint8), "IR", spacing_mm)
    return replace(make_exam(), enface=(image,), locations=BScanLocations(LINES))


def show(localizer_tab, session, qtbot, exam=None):
    session.show_exam(exam or eye())
    session.show_etdrs = True
    qtbot.waitUntil(lambda: not localizer_tab.view.fundus.picture.pixmap().isNull())


def on_screen(localizer_tab, row, column):
    return localizer_tab.view.mapFromScene(QPointF(column + 0.5, row + 0.5))


def is_white(localizer_tab, row, column, radius=1):
    """Whether the grid is drawn at a place of the picture, which is darker."""
    drawn = qimage_to_array(localizer_tab.view.viewport().grab().toImage())[..., :3].astype(int)
    at = on_screen(localizer_tab, row, column)
    rows = slice(at.y() - radius, at.y() + radius + 1)
    return drawn[rows, at.x() - radius : at.x() + radius + 1].min(axis=-1).max() > 170


def move(localizer_tab, at, button=Qt.MouseButton.LeftButton):
    """qtbot.mouseMove tells of no button."""
    port, nothing = localizer_tab.view.viewport(), Qt.KeyboardModifier.NoModifier
    event = QMouseEvent(
        QEvent.Type.MouseMove,
        QPointF(at),
        QPointF(port.mapToGlobal(at)),
        Qt.MouseButton.NoButton,
        button,
        nothing,
    )
    QApplication.sendEvent(port, event)


def drag(localizer_tab, qtbot, start, end):
    port, left = localizer_tab.view.viewport(), Qt.MouseButton.LeftButton
    qtbot.mousePress(port, left, pos=start)
    for part in (0.3, 0.7, 1.0):
        way = end - start
        move(localizer_tab, start + QPoint(round(way.x() * part), round(way.y() * part)))
    qtbot.mouseRelease(port, left, pos=end)


@pytest.mark.parametrize("radius_mm", [0.5, 1.5, 3.0])
def test_circles_are_drawn_in_millimetres_around_the_centre_of_the_scan(
    localizer_tab, session, qtbot, radius_mm
):
    show(localizer_tab, session, qtbot)
    row, column = CENTRE
    for angle in np.deg2rad([10, 100, 190, 280]):
        down, right = radius_mm * np.sin(angle), radius_mm * np.cos(angle)
        place = row + down / SPACING_MM[0], column + right / SPACING_MM[1]
        assert is_white(localizer_tab, *place), np.rad2deg(angle)
    between = radius_mm - 0.3
    assert not is_white(
        localizer_tab, row + 0.17 * between / SPACING_MM[0], column + between / SPACING_MM[1]
    )


def test_it_can_be_hidden(localizer_tab, session, qtbot):
    show(localizer_tab, session, qtbot)
    place = CENTRE[0], CENTRE[1] + 1.5 / SPACING_MM[1]
    assert is_white(localizer_tab, place[0] + 6, place[1], 4)
    qtbot.mouseClick(
        localizer_tab.switches.etdrs_switch, Qt.MouseButton.LeftButton, pos=QPoint(8, 8)
    )
    assert not session.show_etdrs
    assert not is_white(localizer_tab, place[0] + 6, place[1], 4)
    assert not localizer_tab.switches.fovea_label.isVisible()


def test_the_centre_is_dragged_and_remembered(localizer_tab, session, qtbot):
    show(localizer_tab, session, qtbot)
    label, back = localizer_tab.switches.fovea_label, localizer_tab.switches.estimate_button
    assert label.text() == "Fovea estimated"
    assert not back.isVisible()
    centre, transform = on_screen(localizer_tab, *CENTRE), localizer_tab.view.viewportTransform()
    drag(localizer_tab, qtbot, centre, centre + QPoint(40, 30))
    assert localizer_tab.view.viewportTransform() == transform  # the picture stayed
    assert session.bscan == 0  # and it was no click
    place = session.fovea(0)
    there = on_screen(localizer_tab, place.row, place.column)
    assert (there - centre - QPoint(40, 30)).manhattanLength() <= 2
    assert is_white(localizer_tab, place.row, place.column)
    assert label.text() == "Fovea placed by you"
    session.show_exam(make_exam())
    show(localizer_tab, session, qtbot)  # the same eye, read again
    assert session.fovea(0) == place
    qtbot.mouseClick(back, Qt.MouseButton.LeftButton)
    assert (session.fovea(0).row, session.fovea(0).column) == CENTRE
    assert not back.isVisible()


def test_it_is_moved_by_keys(localizer_tab, session, qtbot):
    show(localizer_tab, session, qtbot)
    qtbot.keyClick(localizer_tab.view, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    qtbot.keyClick(localizer_tab.view, Qt.Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    place = session.fovea(0)
    away_mm = (np.array([place.row, place.column]) - CENTRE) * SPACING_MM
    np.testing.assert_allclose(away_mm, (0.02, 0.02), atol=1e-9)
    assert session.bscan == 0
    session.show_etdrs = False
    qtbot.keyClick(localizer_tab.view, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert session.fovea(0) == place


def test_a_click_on_the_fovea_still_goes_to_the_bscan(localizer_tab, session, qtbot):
    show(localizer_tab, session, qtbot)
    at = on_screen(localizer_tab, *CENTRE)
    qtbot.mouseClick(localizer_tab.view.viewport(), Qt.MouseButton.LeftButton, pos=at)
    assert session.bscan in (9, 10)
    assert session.fovea(0).estimate


def test_beside_the_fovea_a_drag_moves_the_picture(localizer_tab, session, qtbot):
    show(localizer_tab, session, qtbot)
    localizer_tab.view.zoom_by(4)
    at = on_screen(localizer_tab, *CENTRE) + QPoint(60, 60)
    before = localizer_tab.view.viewportTransform()
    drag(localizer_tab, qtbot, at, at + QPoint(50, 20))
    assert localizer_tab.view.viewportTransform() != before
    assert session.fovea(0).estimate


def test_without_a_scale_it_says_why_there_is_no_grid(localizer_tab, session, qtbot):
    show(localizer_tab, session, qtbot, eye((None, None)))
    switch = localizer_tab.switches.etdrs_switch
    assert not switch.isEnabled()
    assert switch.text() == "ETDRS (scale unknown)"
    assert "does not state how large a pixel" in switch.toolTip()
    assert not is_white(localizer_tab, *CENTRE, 6)
