"""A similar eye beside the one in view, on a real canvas."""

import numpy as np
import pytest
from archives import choose, eye, find_similar


def halves(viewer):
    """Mean brightness of the left and of the right half of the canvas."""
    pixels = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(float)
    middle = pixels.shape[1] // 2
    rows = slice(pixels.shape[0] // 3, -pixels.shape[0] // 3)
    return pixels[rows, :middle].max(), pixels[rows, middle:].max()


@pytest.mark.xvfb
def test_double_click_opens_a_neighbour_beside_the_eye_in_view(archive_tab, qtbot):
    viewer, dock, state = archive_tab
    tab_ = find_similar(qtbot, dock)
    choose(tab_.gallery, 2)  # brightness 140
    tab_.gallery.activated.emit(tab_.gallery.currentIndex())
    qtbot.waitUntil(lambda: state.beside is not None, timeout=20_000)
    qtbot.wait(300)
    left, right = halves(viewer)
    assert left == pytest.approx(98, abs=8)
    assert right == pytest.approx(143, abs=8)
    assert dock.session.exam.volume.voxels.max() < 110  # still the eye in view
    assert viewer.layers.selection == {viewer.layers[0]}
    # Both follow one slider, and what is added to the exam stays on its side.
    white = np.full((6, 48, 64), 255, np.uint8)
    mine = viewer.layers[0]
    viewer.add_image(white, scale=mine.scale, units=mine.units, opacity=0.5)
    qtbot.waitUntil(lambda: viewer.layers[-1] is dock.beside.layer)
    qtbot.wait(200)
    left, right = halves(viewer)
    assert left > 150
    assert right == pytest.approx(143, abs=8)
    tab_.close_button.click()
    assert state.beside is None
    assert not viewer.canvas.grid.enabled
    assert dock.beside.layer is None
    assert len(viewer.layers) == 2


@pytest.mark.xvfb
def test_the_neighbour_leaves_with_the_exam_or_by_the_users_hand(archive_tab, qtbot):
    viewer, dock, state = archive_tab
    tab_ = find_similar(qtbot, dock)
    for leave in ("remove", "new exam"):
        choose(tab_.gallery, 0)
        tab_.open_button.click()
        qtbot.waitUntil(lambda: state.beside is not None, timeout=20_000)
        if leave == "remove":
            viewer.layers.remove(dock.beside.layer)
        else:
            dock.scene.add_exam(eye(30))
        qtbot.waitUntil(lambda: state.beside is None)
        assert not viewer.canvas.grid.enabled
    assert len(viewer.layers) == 1
