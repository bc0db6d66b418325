"""Geometry: a voxel of the exam and the token that covers it lie at the same place in the world."""

import numpy as np
import pytest
from fakes import make_analysis, make_exam
from geometry import assert_covers

from napari_octcube._layers import (
    NOT_TO_SCALE,
    depth_stretch,
    exam_layer,
    overlay_data,
    overlay_layer,
    saliency_colormap,
    world_spacing,
)


@pytest.mark.parametrize("aspect", ["um", "px"])
@pytest.mark.parametrize(
    "spacing", [(0.12, 0.004, 0.012), (None, 0.004, 0.012), (None, None, None)]
)
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


@pytest.mark.parametrize(
    "spacing", [(None, None, None), (0.12, 0.004, None), (None, 0.004, None), (0.12, None, 0.012)]
)
def test_unknown_spacing_within_a_bscan_gives_pixels(spacing):
    exam = make_exam(spacing_mm=spacing)
    layer = exam_layer(exam)
    np.testing.assert_allclose(layer.scale, (1, 1, 1))
    assert {str(unit) for unit in layer.units} == {"pixel"}
    assert depth_stretch(exam) == 1.0


def test_bscans_without_distance_are_still_drawn_to_scale():
    layer = exam_layer(make_exam(spacing_mm=(None, 0.004, 0.012)))
    np.testing.assert_allclose(layer.scale[1:], (4, 12))
    assert {str(unit) for unit in layer.units} == {"micrometer"}
    assert layer.axis_labels == (NOT_TO_SCALE, "depth", "width")


def test_one_bscan_needs_no_distance():
    layer = exam_layer(make_exam((1, 96, 160), (None, 0.004, 0.012), (0, 2, 3)))
    assert layer.axis_labels == ("B-scan", "depth", "width")


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
