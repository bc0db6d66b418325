from dataclasses import replace

import numpy as np
import pytest

from napari_octcube._fundus_plane import en_face_layer, fundus_affine, surface_layer
from octcube_core.exam import BScanLocations
from octcube_core.phantom import make_exam

SHAPE = (12, 64, 48)


@pytest.mark.parametrize("rotation", [0.0, 25.0, 90.0, -140.0])
def test_a_pixel_on_a_bscan_lies_where_that_bscan_is(rotation):
    exam = make_exam(3, shape=SHAPE, rotation_deg=rotation)
    affine = fundus_affine(exam)
    between, _, lateral = np.array(exam.volume.spacing_mm) * 1000
    for bscan in (0, 5, 11):
        line = exam.locations.polylines[bscan]
        for fraction in (0.0, 0.5, 1.0):
            row, column = line[0] + fraction * (line[-1] - line[0])
            z, x = affine @ (row, column, 1)
            assert (z, x) == pytest.approx(
                (bscan * between, fraction * (SHAPE[2] - 1) * lateral), abs=0.02 * between
            )


@pytest.mark.parametrize("pattern", ["radial", "circle", "line"])
def test_patterns_without_a_plane_have_none(pattern):
    assert fundus_affine(make_exam(3, shape=SHAPE, scan_pattern=pattern)) is None


def test_without_places_or_with_places_that_are_no_plane_there_is_none():
    exam = make_exam(3, shape=SHAPE)
    assert fundus_affine(replace(exam, locations=None)) is None
    rng = np.random.default_rng(0)
    scattered = tuple(rng.uniform(0, 300, (2, 2)) for _ in range(SHAPE[0]))
    assert fundus_affine(replace(exam, locations=BScanLocations(scattered))) is None
    same = (np.array([[5.0, 5.0], [5.0, 90.0]]),) * SHAPE[0]
    assert fundus_affine(replace(exam, locations=BScanLocations(same))) is None


@pytest.mark.parametrize("rotation", [0.0, 25.0])
def test_the_layers_lie_where_the_affine_says(rotation):
    exam = make_exam(3, shape=SHAPE, rotation_deg=rotation)
    affine = fundus_affine(exam)
    picture = np.zeros((384, 384), np.uint8)
    layer = en_face_layer(exam, picture, affine, "um")
    assert layer.data.shape == (384, SHAPE[1], 384)
    assert layer.data.strides[1] == 0  # one picture, not one for each depth
    z, y, x = layer.data_to_world((100, 7, 200))
    assert (z, x) == pytest.approx(tuple(affine @ (100, 200, 1)))
    assert y == pytest.approx(7 * exam.volume.spacing_mm[1] * 1000)
    surface = surface_layer(exam, picture, affine, "um")
    vertices = surface.data[0]
    assert vertices[0, [0, 2]] == pytest.approx(affine @ (-0.5, -0.5, 1))
    assert vertices[2, [0, 2]] == pytest.approx(affine @ (383.5, 383.5, 1))
    assert np.ptp(vertices[:, 1]) == 0
    assert layer.units == surface.units
