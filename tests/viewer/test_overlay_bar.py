import pytest
from fakes import make_analysis, make_exam
from qtpy.QtCore import Qt

from napari_octcube._widgets.overlay_bar import OverlayBar
from octcube_core.colours import OVERLAY_COLORMAPS


@pytest.fixture
def bar(session, qtbot):
    bar = OverlayBar(session)
    qtbot.addWidget(bar)
    exam = make_exam()
    session.show_exam(exam)
    session.finish(exam, make_analysis(exam))
    bar.show()
    return bar


def test_it_sets_the_session(bar, session, qtbot):
    bar.opacity_slider.setValue(30)
    qtbot.keyClick(bar.threshold_slider, Qt.Key.Key_PageUp)
    chooser = bar.colormap_chooser
    chooser.setCurrentIndex(1)
    chooser.activated.emit(1)
    assert session.overlay_opacity == 0.3
    assert session.overlay_threshold == 0.1
    assert session.overlay_colormap == OVERLAY_COLORMAPS[1]
    assert (bar.opacity_label.text(), bar.threshold_label.text()) == ("30%", "0.10")


def test_it_follows_the_session_without_rounding_it(bar, session):
    session.overlay_opacity = 0.456
    session.overlay_colormap = OVERLAY_COLORMAPS[2]
    assert bar.opacity_slider.value() == 46
    assert session.overlay_opacity == 0.456
    assert bar.colormap_chooser.currentText() == OVERLAY_COLORMAPS[2]


def test_it_is_there_only_with_something_to_show(bar, session):
    assert bar.isVisible()
    session.show_exam(make_exam())
    assert not bar.isVisible()
