import numpy as np
import pytest
from fakes import make_analysis, make_exam
from qtpy.QtCore import Qt

from napari_octcube._widgets.key_bscans import KeyBScans


@pytest.fixture
def chips(session, qtbot):
    exam = make_exam()
    session.show_exam(exam)
    widget = KeyBScans(session)
    qtbot.addWidget(widget)
    analysis = make_analysis(exam)
    analysis.saliency[0, 1] = 0.3  # two layers speak for DME
    session.finish(exam, analysis)
    widget.show()
    return widget


def test_a_chip_for_each_key_bscan_the_most_salient_first(chips, session):
    expected = session.analysis.key_bscans("DME", 5)
    assert len(expected) == 2
    assert [chip.text() for chip in chips.chips.values()] == [str(n + 1) for n in expected]


def test_a_click_goes_there_and_the_chip_stays_pressed(chips, session, qtbot):
    first, second = chips.chips.values()
    for _ in range(2):
        qtbot.mouseClick(second, Qt.MouseButton.LeftButton)
        assert session.bscan == list(chips.chips)[1]
        assert second.isChecked()
        assert not first.isChecked()
    session.go_to_bscan(0)
    assert not second.isChecked()


def test_they_follow_the_disease(chips, session):
    session.disease = "AMD"
    assert list(chips.chips) == session.analysis.key_bscans("AMD", 5)
    session.disease = "PVD"  # nothing speaks for it
    assert chips.isHidden()


def test_a_single_bscan_needs_none(chips, session):
    exam = make_exam((1, 96, 160), (None, 0.004, 0.012), (0, 2, 3))
    session.show_exam(exam)
    session.finish(exam, make_analysis(exam))
    assert np.any(session.analysis.saliency[0])
    assert chips.isHidden()
