from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octcube_core.token_grid import TokenGrid

OCTCUBE = {"input_shape": (60, 256, 256), "cube": (3, 16, 16)}


@st.composite
def grids(draw):
    triples = st.tuples(*(st.integers(1, 8) for _ in range(3)))
    cube = draw(triples)
    tokens = draw(triples)
    volume = draw(st.tuples(*(st.integers(1, 1200) for _ in range(3))))
    size = tuple(c * t for c, t in zip(cube, tokens, strict=True))
    first = draw(st.integers(0, volume[1] - 1))
    depth = draw(st.sampled_from([None, (first, draw(st.integers(first + 1, volume[1])))]))
    return TokenGrid(volume, size, cube, depth)


def seen_by(grid):
    """First voxel and end of what the model sees, (z, y, x)."""
    first, end = np.zeros(3), np.array(grid.volume_shape, float)
    if grid.depth is not None:
        first[1], end[1] = grid.depth
    return first, end


@settings(max_examples=200, deadline=None)
@given(grids(), st.data())
def test_token_to_voxel_and_back(grid, data):
    token = data.draw(st.tuples(*(st.integers(0, size - 1) for size in grid.shape)))
    assert tuple(grid.token_of_voxel(grid.voxel_of_token(token))) == token


@settings(max_examples=200, deadline=None)
@given(grids(), st.data())
def test_voxel_lies_in_the_token_that_covers_it(grid, data):
    voxel = np.array(data.draw(st.tuples(*(st.integers(0, n - 1) for n in grid.volume_shape))))
    token = grid.token_of_voxel(voxel)
    assert (token >= 0).all()
    assert (token < grid.shape).all()
    first, end = seen_by(grid)
    distance = np.abs(grid.voxel_of_token(token) - np.clip(voxel, first - 0.5, end - 0.5))
    assert (distance <= grid.step_voxels / 2 * (1 + 1e-9)).all()


@settings(max_examples=200, deadline=None)
@given(grids())
def test_tokens_tile_what_the_model_sees_exactly(grid):
    first, end = seen_by(grid)
    last = np.asarray(grid.shape) - 1
    first_edge = grid.voxel_of_token((0, 0, 0)) - grid.step_voxels / 2
    last_edge = grid.voxel_of_token(last) + grid.step_voxels / 2
    np.testing.assert_allclose(first_edge, first - 0.5, atol=1e-9)
    np.testing.assert_allclose(last_edge, end - 0.5, rtol=1e-9)


@pytest.mark.parametrize("volume", [(49, 382, 1009), (61, 496, 768), (1, 17, 31), (60, 256, 256)])
def test_odd_volume_sizes(volume):
    grid = TokenGrid(volume, **OCTCUBE)
    assert grid.shape == (20, 16, 16)
    corner = np.asarray(volume) - 1
    assert tuple(grid.token_of_voxel((0, 0, 0)))[1:] == (0, 0)
    assert tuple(grid.token_of_voxel(corner))[1:] == (15, 15)
    bscans = [grid.bscan_of_token(z) for z in range(20)]
    assert bscans == sorted(bscans)
    assert 0 <= bscans[0] <= bscans[-1] < volume[0]


def test_bscan_of_a_token_is_inside_it_when_there_are_enough_bscans():
    grid = TokenGrid((49, 382, 1009), **OCTCUBE)
    for z in range(20):
        assert grid.token_of_voxel((grid.bscan_of_token(z), 0, 0))[0] == z


def test_model_input_of_the_same_size_is_the_identity():
    grid = TokenGrid((60, 256, 256), **OCTCUBE)
    np.testing.assert_allclose(grid.step_voxels, (3, 16, 16))
    np.testing.assert_allclose(grid.voxel_of_token((0, 0, 0)), (1, 7.5, 7.5))
    assert grid.bscan_of_token(19) == 58


def test_voxels_outside_go_to_the_nearest_token():
    grid = TokenGrid((49, 382, 1009), **OCTCUBE)
    assert tuple(grid.token_of_voxel((-5, -5, 5000))) == (0, 0, 15)


def test_world_coordinates_agree_with_voxel_coordinates():
    grid = TokenGrid((49, 382, 1009), **OCTCUBE)
    spacing = np.array([122.0, 3.87, 5.8])
    scale, translate = grid.scale_and_translate(spacing)
    token = np.array([7, 3, 11])
    np.testing.assert_allclose(token * scale + translate, grid.voxel_of_token(token) * spacing)


def test_many_indices_at_once():
    grid = TokenGrid((49, 382, 1009), **OCTCUBE)
    tokens = np.array([[[0, 0, 0], [1, 2, 3]], [[19, 15, 15], [4, 4, 4]]])
    np.testing.assert_array_equal(grid.token_of_voxel(grid.voxel_of_token(tokens)), tokens)
