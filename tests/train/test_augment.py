"""Augmentation moves labels with their eyes, and draws the same again after the same seed."""

from __future__ import annotations

import pytest
import torch

from train.data.augment import Augment

STILL = {"depth_shift": 0.0, "width_shift": 0.0, "contrast": 0.0}


def _square(count: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    volume = torch.zeros(count, 6, 32, 32)
    volume[:, 1, 8:16, 20:30] = 1.0
    return volume, (volume > 0).to(torch.uint8) * 0b101


@pytest.mark.parametrize("options", [{}, {"crop": 0.5}])
def test_lesions_move_with_their_eyes(options):
    torch.manual_seed(0)
    volume, lesions = _square()
    changed, moved = Augment(contrast=0.2, **options)(volume, lesions)
    assert moved.dtype == torch.uint8
    assert set(moved.unique().tolist()) == {0, 0b101}
    assert not torch.equal(moved, lesions)
    differing = ((changed > 0.5) != (moved > 0)).float().mean()
    assert differing < 0.01  # borders of a crop are interpolated, bits are not
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_nothing_asked_for_changes_nothing():
    volume, lesions = torch.rand(4, 3, 16, 16), torch.randint(0, 9, (4, 3, 16, 16))
    same, bits = Augment(**STILL, mirror=False)(volume, lesions)
    torch.testing.assert_close(same, volume)
    assert torch.equal(bits, lesions)


def test_mirroring_turns_about_half_of_the_eyes_along_each_axis():
    torch.manual_seed(0)
    volume = torch.arange(6 * 4 * 8.0).view(1, 6, 4, 8).expand(200, -1, -1, -1) / 200
    turned, none = Augment(**STILL)(volume)
    assert none is None
    for axes in ((), (1,), (3,), (1, 3)):
        share = (turned == volume.flip(axes)).flatten(1).all(1).float().mean()
        assert share == pytest.approx(0.25, abs=0.1)


def test_each_eye_and_each_call_draws_anew_and_a_seed_draws_the_same_again():
    volume = torch.rand(1, 4, 16, 16).expand(6, -1, -1, -1)
    augment = Augment(crop=0.5, noise=0.05)

    def draw(seed: int) -> torch.Tensor:
        torch.manual_seed(seed)
        return augment(volume)[0]

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert len({eye.sum().item() for eye in draw(1)}) == 6
    assert torch.equal(volume[0], volume[1])  # the input stays as it was


def test_a_crop_enlarges_what_it_keeps():
    torch.manual_seed(0)
    volume, _ = _square(64)
    cropped, _ = Augment(**STILL, mirror=False, crop=0.4)(volume)
    areas = cropped.sum((1, 2, 3)) / volume.sum((1, 2, 3))
    whole = (cropped[:, 1, 0] == 0).all(1) & (cropped[:, 1, :, 0] == 0).all(1)
    assert areas.max() > 1.5
    assert areas.max() <= 1 / 0.4 * 1.1
    assert whole.any()


def test_noise_has_the_asked_for_strength():
    torch.manual_seed(0)
    volume = torch.full((2, 8, 32, 32), 0.5)
    noisy, _ = Augment(**STILL, noise=0.1)(volume)
    assert float((noisy - volume).std()) == pytest.approx(0.1, rel=0.05)
