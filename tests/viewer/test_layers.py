"""Geometry: a voxel of the exam and the token that covers it lie at the same place in the world."""

import numpy as np
import pytest
from fakes import BRIGHT_VOXEL, make_analysis, make_exam

from napari_octcube._layers import (
    depth_stretch,
    exam_layer,
    overlay_data,
    overlay_layer,
    saliency_colormap,
    world_spacing,
)
from napari_octcube._scene import Scene
from napari_octcube._session import Session


@pytest.fixture
def viewer():
    from napari.components import ViewerModel

    return ViewerModel()


def world_box(layer, index):
    """Lower and upper corner of a voxel or token in the world."""
    centre = np.asarray(index, float)
    return layer.data_to_world(centre - 0.5), layer.data_to_world(centre + 0.5)


def assert_covers(overlay, exam_layer_, voxel):
    token = np.unravel_index(np.argmax(overlay.data), overlay.data.shape)
    low, high = world_box(overlay, token)
    point = np.asarray(exam_layer_.data_to_world(voxel))
    assert (low <= point).all()
    assert (point <= high).all()


@pytest.mark.parametrize("aspect", ["um", "px"])
@pytest.mark.parametrize("spacing", [(0.12, 0.004, 0.012), (None, None, None)])
@pytest.mark.parametrize("shape", [(20, 96, 160), (7, 101, 93), (1, 96, 160), (49, 64, 64)])
def test_token_covers_its_voxel(shape, spacing, aspect):
    bright = tuple(np.array(shape) * (17, 70, 120) // (20, 96, 160))
    exam = make_exam(shape, spacing, bright)
    analysis = make_analysis(exam)
    overlay = overlay_layer(exam, analysis, "DME", aspect)
    assert_covers(overlay, exam_layer(exam, aspect), bright)


def test_overlay_fills_exactly_the_volume():
    exam = make_exam((7, 101, 93), bright=(1, 2, 3))
    overlay = overlay_layer(exam, make_analysis(exam, input_shape=(6, 64, 64)), "DME")
    volume = exam_layer(exam)
    overlay_end = overlay.data_to_world(np.array(overlay.data.shape) - 0.5)
    np.testing.assert_allclose(overlay_end, volume.data_to_world(np.array((7, 101, 93)) - 0.5))
    np.testing.assert_allclose(
        overlay.data_to_world([-0.5] * 3), volume.data_to_world([-0.5] * 3), atol=1e-9
    )


def test_known_spacing_gives_micrometres():
    layer = exam_layer(make_exam(spacing_mm=(0.12, 0.004, 0.012)))
    np.testing.assert_allclose(layer.scale, (120, 4, 12))
    assert {str(unit) for unit in layer.units} == {"micrometer"}
    assert layer.axis_labels == ("B-scan", "depth", "width")


@pytest.mark.parametrize("spacing", [(None, None, None), (None, 0.004, 0.012)])
def test_unknown_spacing_gives_pixels(spacing):
    exam = make_exam(spacing_mm=spacing)
    layer = exam_layer(exam)
    np.testing.assert_allclose(layer.scale, (1, 1, 1))
    assert {str(unit) for unit in layer.units} == {"pixel"}
    assert depth_stretch(exam) == 1.0


def test_square_pixels_stretch_the_depth_only():
    exam = make_exam(spacing_mm=(0.12, 0.004, 0.012))
    assert world_spacing(exam, "px") == pytest.approx((120, 12, 12))
    assert depth_stretch(exam) == pytest.approx(3.0)


def test_colormap_is_transparent_at_zero_and_rises():
    colors = saliency_colormap().map(np.linspace(0, 1, 11))
    assert colors[0, 3] == 0
    assert (np.diff(colors[:, 3]) > 0).all()


def test_token_layers_finer_than_bscans_are_averaged():
    exam = make_exam((2, 96, 160), bright=(1, 70, 120))
    analysis = make_analysis(exam)  # four token layers on two B-scans
    data = overlay_data(analysis, "DME")
    assert data.shape[0] == 2
    assert data[0].max() == 0
    assert data[1].max() == pytest.approx(0.5)


def at_once(function):
    function()


def analysed(viewer, exam, analysis=None):
    session = Session()
    scene = Scene(viewer, session, at_once)
    scene.add_exam(exam)
    session.finish(exam, analysis or make_analysis(exam))
    return session, scene


def test_analysis_adds_the_overlay_and_goes_to_the_key_bscan(viewer):
    exam = make_exam()
    _, scene = analysed(viewer, exam)
    assert scene.overlay.name == "Saliency: DME"
    bscan = round(viewer.dims.point[0] / 120)
    assert bscan == make_analysis(exam).key_bscans("DME")[0]
    assert len(viewer.layers) == 2


def test_overlay_leaves_the_slider_at_bscans(viewer):
    for shape in [(20, 96, 160), (7, 101, 93), (2, 96, 160)]:
        viewer.layers.clear()
        analysed(viewer, make_exam(shape, bright=(1, 2, 3)))
        start, stop, step = viewer.dims.range[0]
        assert (start, stop, step) == pytest.approx((0, (shape[0] - 1) * 120, 120))


def test_switching_the_disease_swaps_the_data_of_one_layer(viewer):
    exam = make_exam()
    session, scene = analysed(viewer, exam)
    overlay = scene.overlay
    session.disease = "AMD"
    assert scene.overlay is overlay
    np.testing.assert_array_equal(overlay.data, session.analysis.saliency[1])
    assert overlay.name == "Saliency: AMD"


def test_a_second_run_with_the_same_top_disease_updates_the_overlay(viewer):
    exam = make_exam()
    session, scene = analysed(viewer, exam)
    other = make_analysis(exam)
    other.saliency[0] = 0.25
    session.finish(exam, other)
    np.testing.assert_array_equal(scene.overlay.data, other.saliency[0])


def test_aspect_switch_keeps_the_layers_registered(viewer):
    session, scene = analysed(viewer, make_exam())
    for aspect in ("px", "um"):
        session.aspect = aspect
        assert viewer.layers[0].scale[1] == pytest.approx(12 if aspect == "px" else 4)
        assert_covers(scene.overlay, viewer.layers[0], BRIGHT_VOXEL)


def test_removing_the_exam_removes_the_overlay(viewer):
    session, scene = analysed(viewer, make_exam())
    viewer.layers.pop(0)
    assert session.exam is None
    assert scene.overlay is None
    assert len(viewer.layers) == 0


def test_removing_the_overlay_deselects_and_selecting_brings_it_back(viewer):
    session, scene = analysed(viewer, make_exam())
    viewer.layers.remove(scene.overlay)
    assert session.disease is None
    session.disease = "PVD"
    assert scene.overlay in viewer.layers


@pytest.mark.parametrize("by_napari", [True, False])
def test_an_exam_replaces_the_one_before(viewer, by_napari):
    first, second = make_exam(), make_exam((9, 64, 64), (None, None, None), bright=(1, 2, 3))
    session, scene = analysed(viewer, first)
    closed = []
    session.exam_closed.connect(closed.append)
    if by_napari:  # File > Open, a sample, a script
        viewer.add_layer(exam_layer(second))
    else:
        scene.add_exam(second)
    assert closed == [first]
    assert session.exam is second
    assert session.analysis is None
    (layer,) = viewer.layers
    assert layer.data.shape == (9, 64, 64)
    assert viewer.dims.range[0] == pytest.approx((0, 8, 1))
    assert viewer.dims.point[0] == 4
    assert not viewer.canvas.overlays.scale_bar.visible


def test_exams_opened_before_the_dock_are_found(viewer):
    exam = make_exam()
    viewer.add_layer(exam_layer(exam))
    session = Session()
    scene = Scene(viewer, session, at_once)
    assert session.exam is exam
    assert scene.overlay is None


def test_scale_bar_only_when_lengths_are_known(viewer):
    session = Session()
    scene = Scene(viewer, session, at_once)
    scene.add_exam(make_exam())
    assert viewer.canvas.overlays.scale_bar.visible
    viewer.layers.clear()
    scene.add_exam(make_exam(spacing_mm=(None, None, None)))
    assert not viewer.canvas.overlays.scale_bar.visible
