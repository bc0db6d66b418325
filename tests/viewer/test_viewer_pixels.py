"""What is on the screen, drawn by a real GL canvas."""

import numpy as np
import pytest
from screen import canvas, saturation

pytestmark = pytest.mark.xvfb

BACKGROUND_GREY = 90  # of the fake exam's voxels


def screen_point(viewer, pixels, layer, index):
    """(row, column) on the screenshot of a voxel's or token's centre."""
    height, width = pixels.shape[:2]
    world = np.asarray(layer.data_to_world(index))[-2:]
    offset = (world - np.asarray(viewer.scene.camera.center)[-2:]) * viewer.scene.camera.zoom
    return round(height / 2 + offset[0]), round(width / 2 + offset[1])


def patch(pixels, point, radius=2):
    row, column = point
    rows, columns = (
        slice(row - radius, row + radius + 1),
        slice(column - radius, column + radius + 1),
    )
    return pixels[rows, columns].reshape(-1, 3)


def assert_coloured_at_the_token_and_grey_elsewhere(viewer, dock, qtbot):
    pixels = canvas(viewer, qtbot)
    overlay = dock.scene.overlay
    token = np.unravel_index(np.argmax(overlay.data), overlay.data.shape)
    hot = patch(pixels, screen_point(viewer, pixels, overlay, token))
    assert saturation(hot).min() > 60
    far = (token[0], 0, 3)
    cold = patch(pixels, screen_point(viewer, pixels, overlay, far))
    assert saturation(cold).max() <= 3
    assert abs(cold.mean() - BACKGROUND_GREY) <= 4
    # the colour is where the token is and nowhere else: its centre of mass is the token's centre
    rows, columns = np.nonzero(saturation(pixels) > 60)
    place = screen_point(viewer, pixels, overlay, token)
    size = overlay.scale[-2:] * viewer.scene.camera.zoom
    assert abs(rows.mean() - place[0]) < 0.1 * size[0] + 2
    assert abs(columns.mean() - place[1]) < 0.1 * size[1] + 2


@pytest.mark.parametrize("aspect", ["um", "px"])
def test_overlay_is_coloured_where_the_saliency_is(analysed, qtbot, aspect):
    viewer, dock = analysed
    dock.session.aspect = aspect
    assert_coloured_at_the_token_and_grey_elsewhere(viewer, dock, qtbot)


def test_brightest_voxel_shines_inside_the_coloured_token(analysed, qtbot):
    viewer, dock = analysed
    dock.session.aspect = "px"
    exam_layer = viewer.layers[0]
    bright = (17, 70, 40)
    dock.scene.go_to_bscan(bright[0])
    pixels = canvas(viewer, qtbot)
    point = screen_point(viewer, pixels, exam_layer, bright)
    assert saturation(patch(pixels, point, 0)).min() > 20
    dock.session.disease = "PVD"  # no saliency: the anatomy alone
    pixels = canvas(viewer, qtbot)
    around = patch(pixels, point, 2)
    assert saturation(around).max() <= 3
    assert around.max() > BACKGROUND_GREY + 60


def test_switching_the_disease_moves_the_colour(analysed, qtbot):
    viewer, dock = analysed
    before = saturation(canvas(viewer, qtbot)) > 60
    dock.session.disease = "AMD"
    dock.scene.go_to_bscan(0)
    after = saturation(canvas(viewer, qtbot)) > 60
    assert before.any()
    assert after.any()
    assert not (before & after).any()


def test_other_bscans_stay_grey(analysed, qtbot):
    viewer, dock = analysed
    dock.scene.go_to_bscan(2)
    assert saturation(canvas(viewer, qtbot)).max() <= 3


def test_the_next_exam_is_shown_alone(analysed, plugin, qtbot, tmp_path):
    viewer, dock = analysed
    path = tmp_path / "next.npy"  # without spacing, so in other units than the exam before
    np.save(path, np.full((5, 50, 50), BACKGROUND_GREY, np.uint8))
    first = dock.session.exam
    viewer.open(path, plugin="napari-octcube")
    qtbot.waitUntil(lambda: dock.session.exam not in (None, first))
    assert [layer.name for layer in viewer.layers] == ["next.npy"]
    pixels = canvas(viewer, qtbot)
    assert saturation(pixels).max() <= 3
    middle = pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]
    assert abs(middle.mean() - BACKGROUND_GREY) <= 4


def test_removing_the_exam_leaves_an_empty_viewer(analysed, qtbot):
    viewer, dock = analysed
    viewer.layers.remove(viewer.layers[0])
    qtbot.waitUntil(lambda: dock.session.exam is None)
    assert len(viewer.layers) == 0
    assert "No exam open" in dock.analysis_tab.exam_facts.note.text()
