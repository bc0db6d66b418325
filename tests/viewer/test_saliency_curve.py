import dataclasses

import numpy as np
import pytest
from fakes import make_analysis, make_exam
from qtpy.QtCore import QPoint, Qt
from superqt.utils import qimage_to_array

from napari_octcube._widgets.saliency_curve import SaliencyCurve

pytestmark = pytest.mark.xvfb


@pytest.fixture
def curve(session, qtbot):
    exam = make_exam()
    session.show_exam(exam)
    curve = SaliencyCurve(session)
    qtbot.addWidget(curve)
    session.finish(exam, make_analysis(exam))
    curve.resize(330, curve.height())
    curve.show()
    qtbot.waitExposed(curve)
    return curve


def place(curve, bscan):
    return QPoint(round(curve.place_of(bscan).x()), 20)


def test_a_click_goes_to_the_bscan_and_a_drag_through_them(curve, session, qtbot):
    qtbot.mouseClick(curve, Qt.MouseButton.LeftButton, pos=place(curve, 4))
    assert session.bscan == 4
    heard = []
    session.events.bscan.connect(heard.append)
    qtbot.mousePress(curve, Qt.MouseButton.LeftButton, pos=place(curve, 6))
    for bscan in (7, 9):
        move(curve, place(curve, bscan), Qt.MouseButton.LeftButton)
    qtbot.mouseRelease(curve, Qt.MouseButton.LeftButton, pos=place(curve, 9))
    move(curve, place(curve, 2), Qt.MouseButton.NoButton)  # no button: only passing by
    assert heard == [6, 7, 9]


def move(widget, at, button):
    """qtbot.mouseMove tells of no button."""
    from qtpy.QtCore import QEvent, QPointF
    from qtpy.QtGui import QMouseEvent
    from qtpy.QtWidgets import QApplication

    nothing = Qt.KeyboardModifier.NoModifier
    point = QPointF(at)
    whole = QPointF(widget.mapToGlobal(at))
    event = QMouseEvent(
        QEvent.Type.MouseMove, point, whole, Qt.MouseButton.NoButton, button, nothing
    )
    QApplication.sendEvent(widget, event)


def test_beyond_its_ends_a_click_goes_to_the_first_or_last(curve, session, qtbot):
    qtbot.mouseClick(curve, Qt.MouseButton.LeftButton, pos=QPoint(curve.width() - 1, 5))
    assert session.bscan == 19
    qtbot.mouseClick(curve, Qt.MouseButton.LeftButton, pos=QPoint(0, 5))
    assert session.bscan == 0


def test_keys_step_through_the_bscans(curve, session, qtbot):
    session.go_to_bscan(5)
    for key, expected in (
        (Qt.Key.Key_Right, 6), (Qt.Key.Key_Left, 5), (Qt.Key.Key_End, 19), (Qt.Key.Key_Right, 19),
        (Qt.Key.Key_Home, 0),
    ):  # fmt: skip
        qtbot.keyClick(curve, key)
        assert session.bscan == expected


def pixels(curve):
    return qimage_to_array(curve.grab().toImage())[..., :3].astype(int)


def columns_with_curve(curve):
    """Columns in which the upper third is coloured."""
    upper = pixels(curve)[6 : curve.height() // 3]
    return np.nonzero((upper.max(axis=-1) - upper.min(axis=-1) > 40).any(axis=0))[0]


def test_it_is_high_where_the_saliency_is(curve, session):
    session.go_to_bscan(10)
    high = columns_with_curve(curve)  # of DME, seen in the token layer of B-scan 17
    assert abs(high.mean() - curve.place_of(17).x()) < 20
    session.disease = "AMD"  # seen in the first layer
    assert columns_with_curve(curve).mean() < curve.place_of(4).x()


def test_the_bscan_in_view_is_marked(curve, session):
    session.go_to_bscan(3)
    before = pixels(curve)
    session.go_to_bscan(12)
    changed = (np.abs(pixels(curve) - before).max(axis=-1) > 30).any(axis=0)
    for bscan in (3, 12):
        column = round(curve.place_of(bscan).x())
        assert changed[column - 2 : column + 3].any()
    assert not changed[round(curve.place_of(6).x())]


def test_it_says_which_bscan_and_how_much(curve):
    assert "B-scan 18 of 20: mean saliency 0.062" in curve.describe(17)


def test_without_saliency_or_with_one_bscan_there_is_none(curve, session):
    session.disease = None
    assert curve.isHidden()
    exam = make_exam((1, 96, 160), (None, 0.004, 0.012), (0, 2, 3))
    session.show_exam(exam)
    session.finish(exam, make_analysis(exam))
    assert curve.isHidden()


def test_a_disease_without_evidence_is_a_flat_line(curve, session):
    session.disease = "PVD"
    assert not curve.isHidden()
    assert not len(columns_with_curve(curve))


def test_an_analysis_without_targets(curve, session):
    nothing = dataclasses.replace(
        make_analysis(session.exam), scores=(), saliency=np.zeros((0, 4, 4, 4), np.float32)
    )
    session.finish(session.exam, nothing)
    assert curve.isHidden()
