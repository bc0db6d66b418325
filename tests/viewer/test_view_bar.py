from types import SimpleNamespace

import pytest
from fakes import make_exam

from napari_octcube._views import ViewState
from napari_octcube._widgets.view_bar import NO_PLANES, ViewBar


@pytest.fixture
def bar(session, qtbot):
    asked = []
    views = SimpleNamespace(
        state=ViewState(),
        show=asked.append,
        choose_projection=asked.append,
        choose_depth=lambda *depth: asked.append(depth),
    )
    bar = ViewBar(session, views)
    bar.state, bar.asked = views.state, asked
    qtbot.addWidget(bar)
    return bar


def usable(bar):
    return {view for view, button in bar.buttons.items() if button.isEnabled()}


def test_only_views_that_make_sense_can_be_chosen(bar, session):
    assert usable(bar) == set()
    session.show_exam(make_exam())
    assert usable(bar) == {"bscan", "3d"}  # of B-scans that do not lie side by side
    assert bar.buttons["enface"].toolTip() == f"{NO_PLANES} (Alt+2)"
    bar.state.across = True
    assert usable(bar) == {"bscan", "enface", "slow", "3d"}
    bar.buttons["slow"].click()
    assert bar.asked == ["slow"]


def test_depth_is_asked_for_from_the_front_alone(bar, session):
    session.show_exam(make_exam())
    bar.state.across = True
    assert bar.projection_box.isHidden()
    bar.state.view = "enface"
    assert bar.buttons["enface"].isChecked()
    assert not bar.projection_box.isHidden()
    assert bar.depth_slider.isHidden()
    bar.state.projection, bar.state.depth = "mean", (10, 49)
    assert not bar.depth_slider.isHidden()
    assert bar.depth_label.text() == "Depth 11 to 50 of 96"
    assert bar.depth_slider.value() == (10, 49)
    assert bar.asked == []  # what is shown is not asked for again
    bar.depth_slider.setValue((20, 30))
    bar.projection_box.activated.emit(bar.projection_box.findData("max"))
    assert bar.asked == [(20, 30), "max"]
