"""The volume that a model sees, and the way from its tokens back to the exam's voxels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from octcube_core.checkpoints.card import Architecture, Label, ModelCard
from octcube_core.errors import InputError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.preprocess import prepare, resize_volume


def _card(cube=(3, 16, 16), grid=(4, 4, 6)) -> ModelCard:
    architecture = Architecture(64, 1, 1, cube, grid, 256, final_residual=True, outputs=2)
    return ModelCard("toy", "1", architecture, (Label("Disease", "D"),))


def _reference(unit: np.ndarray, shape: tuple[int, int, int]) -> torch.Tensor:
    whole = torch.from_numpy(unit.astype(np.float32))[None, None]
    return F.interpolate(whole, size=shape, mode="trilinear", align_corners=False)[0, 0]


@settings(max_examples=40, deadline=None)
@given(
    voxels=st.tuples(st.integers(1, 40), st.integers(1, 30), st.integers(1, 30)),
    shape=st.tuples(st.integers(1, 24), st.integers(1, 40), st.integers(1, 40)),
    seed=st.integers(0, 99),
)
def test_equals_trilinear_interpolation_of_the_whole_volume(voxels, shape, seed) -> None:
    values = np.random.default_rng(seed).integers(0, 256, voxels, dtype=np.uint8)
    result = resize_volume(OCTVolume(values), shape)
    torch.testing.assert_close(result, _reference(values / 255.0, shape), rtol=0, atol=1e-6)


def test_is_the_same_arithmetic_on_a_size_between_two_of_the_devices() -> None:
    values = np.random.default_rng(0).random((97, 62, 48), dtype=np.float32)
    result = resize_volume(OCTVolume(values), (60, 32, 32))
    assert (result - _reference(values, (60, 32, 32))).abs().max() < 3e-7


def test_equals_the_released_recipe() -> None:
    """Resizing 0..255 and then dividing by 255, as the reference does it."""
    values = np.random.default_rng(0).integers(0, 256, (49, 124, 128), dtype=np.uint8)
    reference = _reference(values, (48, 64, 64)) / 255.0
    volume, _ = prepare(Exam(OCTVolume(values)), _card(grid=(16, 4, 4)))
    assert volume.shape == (1, 1, 48, 64, 64)
    assert volume.dtype == torch.float32
    torch.testing.assert_close(volume[0, 0], reference, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("dtype", "black_white"),
    [
        (np.uint8, (0, 255)),
        (np.uint16, (0, 65535)),
        (np.uint16, (100, 4095)),
        (np.float32, (0.0, 1.0)),
        (np.float32, (-3.5, 12.0)),
        (np.dtype(">u2"), (0, 65535)),
    ],
)
def test_black_becomes_0_and_white_1_in_every_type(dtype, black_white) -> None:
    black, white = black_white
    values = np.linspace(black, white, 12 * 64 * 96).reshape(12, 64, 96).astype(dtype)
    volume, _ = prepare(Exam(OCTVolume(values, value_range=black_white)), _card())
    assert volume.min() == pytest.approx(0.0, abs=1e-5)
    assert volume.max() == pytest.approx(1.0, abs=1e-5)
    assert volume.mean() == pytest.approx(0.5, abs=3e-3)


def test_values_beyond_the_range_are_clipped() -> None:
    values = np.full((4, 8, 8), 500, np.uint16)
    values[:, :4] = 0
    volume, _ = prepare(Exam(OCTVolume(values, value_range=(100, 300))), _card())
    assert volume.min() == 0.0
    assert volume.max() == 1.0


def test_the_exam_is_not_changed() -> None:
    values = np.random.default_rng(0).random((5, 20, 20), dtype=np.float32)
    before = values.copy()
    values.flags.writeable = False
    prepare(Exam(OCTVolume(values, value_range=(0.1, 0.9))), _card())
    np.testing.assert_array_equal(values, before)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_bright_voxel_lands_in_its_cube_and_back(data) -> None:
    cube = data.draw(st.sampled_from([(3, 16, 16), (1, 8, 16), (3, 8, 4)]), label="cube")
    grid = data.draw(st.tuples(*[st.integers(1, 5)] * 3), label="grid")
    card = _card(cube, grid)
    size = card.architecture.input_shape
    # Enlarged at most, so that no voxel falls between the samples; odd numbers and non-cubes included.
    shape = tuple(data.draw(st.integers(1, s), label="voxels") for s in size)
    if shape[0] == 1 and grid[0] > 1:  # a single B-scan becomes one layer of cubes, tested above
        shape = (2, *shape[1:])
    voxel = tuple(data.draw(st.integers(0, s - 1), label="voxel") for s in shape)
    values = np.zeros(shape, np.uint8)
    values[voxel] = 255

    volume, tokens = prepare(Exam(OCTVolume(values, value_range=(0, 255))), card)

    assert tokens.shape == grid
    z, y, x = np.unravel_index(int(volume[0, 0].argmax()), size)
    brightest = np.array([z // cube[0], y // cube[1], x // cube[2]])
    # The light of a voxel across a border of cubes may be brightest on either side of it.
    low = tokens.token_of_voxel(np.array(voxel) - 0.5 + 1e-6)
    high = tokens.token_of_voxel(np.array(voxel) + 0.5 - 1e-6)
    assert ((low <= brightest) & (brightest <= high)).all()
    distance = np.abs(tokens.voxel_of_token(brightest) - voxel)
    assert (distance <= (tokens.step_voxels + 1) / 2).all()


def test_a_lesion_in_a_reduced_odd_volume_lights_up_its_cube() -> None:
    card = _card(grid=(4, 4, 6))
    values = np.zeros((37, 151, 203), np.uint8)
    expected = (2, 1, 4)
    step = np.array(values.shape) / np.array([4, 4, 6])
    start = np.ceil(np.array(expected) * step).astype(int)
    stop = np.floor((np.array(expected) + 1) * step).astype(int)
    values[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = 255
    volume, tokens = prepare(Exam(OCTVolume(values)), card)
    sums = volume[0, 0].reshape(4, 3, 4, 16, 6, 16).sum(dim=(1, 3, 5))
    assert np.unravel_index(int(sums.argmax()), (4, 4, 6)) == expected
    assert sums.max() / sums.sum() > 0.85
    assert (tokens.voxel_of_token(expected) >= start - 0.5).all()
    assert (tokens.voxel_of_token(expected) <= stop - 0.5).all()


def test_a_single_bscan_becomes_one_layer_of_cubes() -> None:
    values = np.random.default_rng(0).integers(0, 256, (1, 64, 96), dtype=np.uint8)
    volume, grid = prepare(Exam(OCTVolume(values)), _card())
    assert volume.shape[2] == 3
    torch.testing.assert_close(volume[0, 0], volume[0, 0, :1].expand(3, -1, -1))
    assert grid.shape[0] == 1
    assert grid.bscan_of_token(0) == 0


def test_a_volume_with_nan_is_refused() -> None:
    holed = np.zeros((2, 4, 4), np.float32)
    holed[1, 2, 3] = np.nan
    with pytest.raises(InputError, match="NaN"):
        prepare(Exam(OCTVolume(holed, value_range=(0.0, 1.0))), _card())
