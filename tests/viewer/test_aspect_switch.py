import pytest
from fakes import make_exam
from qtpy.QtCore import Qt

from napari_octcube._widgets.aspect_switch import AspectSwitch

pytestmark = pytest.mark.xvfb


@pytest.fixture
def switch(session, qtbot):
    switch = AspectSwitch(session)
    qtbot.addWidget(switch)
    switch.show()
    return switch


def test_without_an_exam_there_is_nothing_to_switch(switch):
    assert not switch.isEnabled()
    assert switch.note.text() == ""


def test_a_click_switches_there_and_back(switch, session, qtbot):
    session.show_exam(make_exam())
    for aspect, other, note in (("px", "um", "depth ×3.0"), ("um", "px", "")):
        qtbot.mouseClick(switch.buttons[aspect], Qt.MouseButton.LeftButton)
        assert session.aspect == aspect
        assert switch.buttons[aspect].isChecked()
        assert not switch.buttons[other].isChecked()
        assert switch.note.text() == note


def test_unknown_spacing_is_shown_as_pixels_and_the_choice_is_kept(switch, session):
    session.show_exam(make_exam(spacing_mm=(None, None, None)))
    assert not switch.isEnabled()
    assert switch.buttons["px"].isChecked()
    assert switch.note.text() == "no spacing"
    session.show_exam(make_exam())
    assert switch.isEnabled()
    assert switch.buttons["um"].isChecked()
