"""The views on a real canvas: what each shows, where, and that it takes away what it brought."""

from dataclasses import replace

import numpy as np
import pytest
from fakes import make_analysis
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication

from octcube_core.exam import EnFaceImage
from octcube_core.phantom import make_exam

pytestmark = pytest.mark.xvfb
SHAPE = (12, 64, 48)


def eye(rotation=0.0, **options):
    return make_exam(3, shape=SHAPE, rotation_deg=rotation, **options)


def marked(rotation=0.0):
    """An eye whose fundus image is black but for one white square, and the place of that square."""
    exam = eye(rotation)
    image = exam.enface[exam.locations.image]
    pixels = np.zeros(image.shape, np.uint8)
    row, column = (image.shape[0] // 8, image.shape[1] // 2)
    pixels[row - 6 : row + 7, column - 6 : column + 7] = 255
    images = list(exam.enface)
    images[exam.locations.image] = EnFaceImage(pixels, image.modality, image.spacing_mm)
    return replace(exam, enface=tuple(images)), (row, column)


@pytest.fixture
def shown(open_dock, qtbot):
    viewer, dock = open_dock(show=True)
    viewer.window.resize(1366, 768)

    def show(exam):
        dock.scene.add_exam(exam)
        qtbot.waitUntil(lambda: dock.session.exam is exam)
        qtbot.wait(200)
        return viewer, dock

    return show


def names(viewer):
    return [layer.name for layer in viewer.layers]


def canvas(viewer, qtbot):
    qtbot.wait(300)
    viewer.canvas.overlays.scale_bar.visible = False
    return viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)


@pytest.mark.parametrize("rotation", [0.0, 30.0])
def test_from_the_front_the_fundus_lies_where_the_lines_say(shown, qtbot, rotation):
    exam, (row, column) = marked(rotation)
    viewer, dock = shown(exam)
    dock.views.show("enface")
    qtbot.waitUntil(lambda: "IR" in names(viewer), timeout=10_000)
    pixels = canvas(viewer, qtbot)
    camera = viewer.scene.camera
    z, _, x = viewer.layers["IR"].data_to_world((row, 0, column))
    expected = (
        np.array(pixels.shape[:2]) / 2
        + (np.array([z, x]) - np.array(camera.center)[-2:]) * camera.zoom
    )
    viewer.layers[-1].visible = False
    pixels = canvas(viewer, qtbot)
    rows, columns = np.nonzero(pixels.min(axis=2) > 150)
    assert (rows.mean(), columns.mean()) == pytest.approx(tuple(expected), abs=3)


def test_the_fundus_is_there_only_while_a_view_shows_it(shown, qtbot):
    viewer, dock = shown(eye())
    steps = viewer.dims.nsteps
    dock.session.go_to_bscan(4)
    for view in ("enface", "3d"):
        dock.views.show(view)
        qtbot.waitUntil(lambda: "IR" in names(viewer), timeout=10_000)
        assert (viewer.dims.ndisplay == 3) == (view == "3d")
        dock.views.show("bscan")
        assert names(viewer) == ["Synthetic eye"]
        assert viewer.dims.nsteps == steps
        assert viewer.layers[0].opacity == 1.0
        assert dock.session.bscan == 4
        assert viewer.dims.current_step[0] == 4


def test_across_the_bscans_the_slow_scan_is_drawn(shown, qtbot):
    exam = eye()
    viewer, dock = shown(exam)
    dock.views.show("slow")
    assert [viewer.dims.axis_labels[axis] for axis in viewer.dims.displayed] == ["depth", "B-scan"]
    before = dock.session.bscan
    viewer.dims.set_current_step(2, 20)
    assert dock.session.bscan == before  # the slider is that of A-scans
    np.testing.assert_array_equal(
        np.asarray(viewer.layers[0]._slice.image.raw), exam.volume.voxels[:, :, 20].T
    )


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_projects_over_a_range_of_depth(shown, qtbot, kind):
    exam = eye()
    viewer, dock = shown(exam)
    dock.views.show("enface")
    dock.views.choose_projection(kind)
    qtbot.waitUntil(lambda: len(viewer.layers) == 3, timeout=10_000)
    dock.views.choose_depth(30, 40)
    expected = getattr(np, kind)(exam.volume.voxels[:, 30:41].astype(float), axis=1)

    def projected():
        found = [layer for layer in viewer.layers if layer.name.startswith("OCT, m")]
        return found and np.allclose(found[0].data[:, 0], expected, rtol=1e-5)

    qtbot.waitUntil(projected, timeout=10_000)
    assert not viewer.layers["Synthetic eye"].visible
    dock.views.choose_projection("slice")
    assert names(viewer) == ["IR", "Synthetic eye"]
    assert viewer.layers["Synthetic eye"].visible


def test_another_exam_starts_with_its_bscans(shown, qtbot):
    viewer, dock = shown(eye())
    dock.views.show("3d")
    qtbot.waitUntil(lambda: "IR" in names(viewer), timeout=10_000)
    shown(eye(30.0))
    assert dock.views.state.view == "bscan"
    assert viewer.dims.ndisplay == 2
    assert names(viewer) == ["Synthetic eye"]


@pytest.mark.parametrize("pattern", ["radial", "circle"])
def test_bscans_that_do_not_lie_side_by_side_have_no_planes(shown, qtbot, pattern):
    viewer, dock = shown(eye(scan_pattern=pattern))
    bar = dock.view_bar
    assert not bar.buttons["enface"].isEnabled()
    assert "Localizer" in bar.buttons["slow"].toolTip()
    dock.views.show("enface")
    assert dock.views.state.view == "bscan"
    dock.views.show("3d")
    qtbot.wait(300)
    assert names(viewer) == ["Synthetic eye"]


def test_a_key_for_each_view(shown, qtbot):
    _, dock = shown(eye())
    dock.window().activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is not None)
    dock.setCurrentWidget(dock.localizer_tab)  # whatever tab is in front
    keys = {"enface": Qt.Key.Key_2, "slow": Qt.Key.Key_3, "3d": Qt.Key.Key_4, "bscan": Qt.Key.Key_1}
    for view, key in keys.items():
        qtbot.keyClick(dock, key, Qt.KeyboardModifier.AltModifier)
        qtbot.waitUntil(lambda view=view: dock.views.state.view == view)
        assert dock.view_bar.buttons[view].isChecked()


def test_the_bar_shows_what_the_view_needs(shown, qtbot):
    _, dock = shown(eye())
    bar = dock.view_bar
    assert not bar.projection_box.isVisible()
    bar.buttons["enface"].click()
    assert bar.projection_box.isVisible()
    assert not bar.depth_slider.isVisible()
    bar.projection_box.activated.emit(bar.projection_box.findData("max"))
    assert bar.depth_slider.isVisible()
    bar.depth_slider.setValue((10, 20))
    assert dock.views.state.depth == (10, 20)
    assert bar.depth_label.text() == "Depth 11 to 21 of 64"


def test_the_aspect_switch_moves_the_fundus_along(shown, qtbot):
    viewer, dock = shown(eye())
    dock.views.show("3d")
    qtbot.waitUntil(lambda: "IR" in names(viewer), timeout=10_000)
    dock.session.aspect = "px"
    qtbot.waitUntil(lambda: "IR" in names(viewer), timeout=10_000)
    bottom = viewer.layers["IR"].data[0][0, 1]
    assert bottom == pytest.approx((SHAPE[1] - 1) * viewer.layers["Synthetic eye"].scale[1])


def test_the_place_stays_through_all_views(shown, qtbot):
    viewer, dock = shown(eye())
    dock.session.go_to_bscan(9)
    spacing = viewer.layers[0].scale
    viewer.dims.set_point(1, 20 * spacing[1])
    for view in ("enface", "slow", "3d", "enface", "3d", "bscan"):
        dock.views.show(view)
        if view in ("enface", "3d"):
            qtbot.waitUntil(lambda: "IR" in names(viewer), timeout=10_000)
        qtbot.wait(100)
        assert dock.session.bscan == 9
        assert np.allclose(np.array(viewer.dims.point)[:2] / spacing[:2], (9, 20), atol=0.5)
    dock.views.show("enface")
    dock.views.choose_projection("mean")
    qtbot.waitUntil(lambda: "OCT, mean over depth" in names(viewer), timeout=10_000)
    dock.views.show("bscan")
    assert dock.session.bscan == 9
    assert viewer.dims.current_step[0] == 9


def test_saliency_is_projected_over_the_same_depths(shown, qtbot):
    exam = eye()
    _, dock = shown(exam)
    analysis = make_analysis(exam)
    dock.session.finish(exam, analysis)
    saliency = analysis.saliency[analysis.index(dock.session.disease)]
    peak = int(saliency.max(axis=(0, 2)).argmax())
    samples = SHAPE[1] // saliency.shape[1]  # of a token
    dock.views.show("enface")
    dock.views.choose_projection("mean")
    qtbot.waitUntil(lambda: (dock.scene.overlay.data == saliency.max(axis=1, keepdims=True)).all())
    dock.views.choose_depth((peak + 1) * samples, SHAPE[1] - 1)  # below the token that is seen best
    below = saliency[:, peak + 1 :].max(axis=1, keepdims=True, initial=0.0)
    qtbot.waitUntil(lambda: (dock.scene.overlay.data == below).all())
    dock.views.choose_projection("slice")
    np.testing.assert_array_equal(dock.scene.overlay.data, saliency)
