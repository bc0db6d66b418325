"""All of an exam is in view, in a window that changes its layout when a layer comes."""

import numpy as np
import pytest
from fakes import make_exam

from napari_octcube._layers import exam_layer

pytestmark = pytest.mark.xvfb
WIDE = (6, 100, 600)  # as wide as 6 mm, as high as 0.4 mm


@pytest.fixture
def opened(open_dock, qtbot):
    viewer, dock = open_dock(show=True)
    viewer.window.resize(1366, 768)
    qtbot.wait(100)
    return viewer, dock


def wide_exam(shape=WIDE):
    return make_exam(shape, (0.12, 0.004, 0.01), bright=(1, 2, 3))


def margins(viewer):
    """Canvas pixels (above, left, below, right) of the exam in view; negative where it is cut."""
    low, high = viewer.layers[0].extent.world[:, -2:]
    camera = viewer.scene.camera
    half = np.array(viewer.canvas.size) / 2
    centre = np.array(camera.center[-2:])
    return (*(half - (centre - low) * camera.zoom), *(half - (high - centre) * camera.zoom))


def is_whole(viewer):
    all_around = margins(viewer)
    fills = min(all_around) < 0.05 * max(viewer.canvas.size)
    symmetric = np.allclose(all_around[:2], all_around[2:], atol=6)
    return min(all_around) > 0 and fills and symmetric


def canvas_width(viewer):
    return viewer.canvas.size[1]


@pytest.mark.parametrize("by_napari", [True, False])
def test_the_first_exam_is_whole_though_its_controls_take_room(opened, qtbot, by_napari):
    viewer, dock = opened
    before = canvas_width(viewer)
    if by_napari:
        viewer.add_layer(exam_layer(wide_exam()))
    else:
        dock.scene.add_exam(wide_exam())
    qtbot.waitUntil(lambda: canvas_width(viewer) < before)  # else this test proves nothing
    qtbot.waitUntil(lambda: is_whole(viewer))


def test_the_next_exam_is_whole(opened, qtbot):
    viewer, dock = opened
    dock.scene.add_exam(make_exam())
    qtbot.waitUntil(lambda: is_whole(viewer))
    dock.scene.add_exam(wide_exam((6, 100, 1200)))
    qtbot.waitUntil(lambda: is_whole(viewer))
    assert viewer.layers[0].data.shape[2] == 1200


def test_it_stays_whole_when_the_window_changes(opened, qtbot):
    viewer, dock = opened
    dock.scene.add_exam(wide_exam())
    qtbot.waitUntil(lambda: is_whole(viewer))
    before = canvas_width(viewer)
    viewer.window.resize(1100, 700)
    qtbot.waitUntil(lambda: canvas_width(viewer) < before)
    qtbot.waitUntil(lambda: is_whole(viewer))


def test_what_a_user_has_zoomed_stays(opened, qtbot):
    viewer, dock = opened
    dock.scene.add_exam(wide_exam())
    qtbot.waitUntil(lambda: is_whole(viewer))
    camera = viewer.scene.camera
    camera.zoom *= 3
    zoomed = camera.zoom, camera.center
    for width in (1100, 1366):
        before = canvas_width(viewer)
        viewer.window.resize(width, 768)
        qtbot.waitUntil(lambda before=before: canvas_width(viewer) != before)
        qtbot.wait(50)
        assert (camera.zoom, *camera.center) == pytest.approx((zoomed[0], *zoomed[1]))


def test_a_screenshot_in_another_size_leaves_the_view(opened, qtbot):
    viewer, dock = opened
    dock.scene.add_exam(wide_exam())
    qtbot.waitUntil(lambda: is_whole(viewer))
    zoom = viewer.scene.camera.zoom
    viewer.screenshot(scale=0.5, flash=False)
    qtbot.wait(50)
    assert viewer.scene.camera.zoom == pytest.approx(zoom)
    assert is_whole(viewer)
