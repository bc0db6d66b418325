"""Deletion and insertion curves of volumes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from train.evaluation.perturbation import Perturbation

CUBE = (1, 4, 4)
GRID = (4, 4, 4)
STEPS = 8
LESION = (2, 1, 3)
INSIDE = tuple(slice(i * edge, (i + 1) * edge) for i, edge in zip(LESION, CUBE, strict=True))


class Detector:
    """Scores two diseases: the light inside the lesion's cube, and the mean light everywhere."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, volumes: torch.Tensor) -> np.ndarray:
        self.seen.append(volumes)
        lesion = volumes[(slice(None), 0, *INSIDE)].mean(dim=(1, 2, 3))
        return torch.stack([lesion, volumes.mean(dim=(1, 2, 3, 4))], dim=1).numpy()


@pytest.fixture
def volume() -> torch.Tensor:
    """Black, with one white cube."""
    volume = torch.zeros(1, 1, *(size * edge for size, edge in zip(GRID, CUBE, strict=True)))
    volume[(0, 0, *INSIDE)] = 1
    return volume


def _perturbation(volume, detector=None, seed: int = 0) -> Perturbation:
    detector = detector or Detector()
    return Perturbation(detector, volume, CUBE, STEPS, np.random.default_rng(seed))


def _pointing_to(*token: int) -> np.ndarray:
    saliency = np.zeros(GRID, np.float32)
    saliency[token] = 1
    return saliency


def test_a_map_of_the_lesion_takes_the_score_away_first_and_brings_it_back_first(volume):
    perturbation = _perturbation(volume)
    right = _pointing_to(*LESION)
    deletion, insertion = perturbation.areas(np.stack([right, 1 - right]), disease=0)
    half_a_step = 0.5 / STEPS
    assert deletion == pytest.approx([half_a_step, 1 - half_a_step])
    assert insertion == pytest.approx([1 - half_a_step, half_a_step])
    assert deletion[0] < perturbation.random_area()[0] < insertion[0]


def test_order_means_nothing_to_a_score_that_all_cubes_share_alike():
    generator = torch.Generator().manual_seed(1)
    bright = (torch.rand(1, 1, 4, 16, 16, generator=generator) > 0.5).float()
    even = bright.new_ones(bright.shape)
    even[..., ::2] = 0  # every cube holds as much light as every other; a quantile of 0.25 is black
    perturbation = _perturbation(even)
    deletion, insertion = perturbation.areas(np.stack([_pointing_to(*LESION)]), disease=1)
    assert [deletion[0], insertion[0], perturbation.random_area()[1]] == pytest.approx([0.25] * 3)


def test_removed_cubes_take_the_background_level_and_the_others_stay():
    volume = torch.rand(1, 1, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    volume[:, :, :, :8] = 0.125  # the darker half of the eye
    detector = Detector()
    perturbation = _perturbation(volume, detector)
    detector.seen.clear()
    ranked = np.arange(np.prod(GRID), dtype=np.float32)[::-1].reshape(GRID)
    perturbation.areas(ranked[None], disease=0)
    deleted, inserted = torch.cat(detector.seen).reshape(2, STEPS - 1, 4, 16, 16)
    for step in range(1, STEPS):
        first = torch.zeros(64)
        first[: step * 64 // STEPS] = 1
        inside = first.reshape(GRID).repeat_interleave(4, 1).repeat_interleave(4, 2).bool()
        assert torch.equal(deleted[step - 1], torch.where(inside, 0.125, volume[0, 0]))
        assert torch.equal(inserted[step - 1], torch.where(inside, volume[0, 0], 0.125))


def test_cubes_of_equal_salience_do_not_go_slice_by_slice(volume):
    """Most maps are zero in half of the eye; the order in which cubes are stored must not decide there."""
    first_slice = torch.zeros_like(volume)
    first_slice[:, :, 0] = 1
    empty, by_slice = np.zeros(GRID, np.float32), np.zeros(GRID, np.float32)
    by_slice[0] = 1
    deletion, _ = _perturbation(first_slice).areas(np.stack([empty, by_slice]), disease=1)
    assert deletion[0] > 1.5 * deletion[1]


def test_the_same_seed_gives_the_same_figures(volume):
    def figures(seed: int) -> np.ndarray:
        perturbation = _perturbation(volume, seed=seed)
        maps = np.zeros((1, *GRID), np.float32)
        return np.concatenate([*perturbation.areas(maps, 0), perturbation.random_area()])

    assert np.array_equal(figures(3), figures(3))
    assert not np.array_equal(figures(3), figures(4))
