"""Fast mode's choice of tokens: tissue and lesions stay, the rest is stood for, and in doubt all is kept."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from octcube_core import read_exam
from octcube_core.phantom import DISEASES, SyntheticExam, make_exam
from octcube_core.preprocess import resize_volume
from octcube_core.tissue import EVERY, TokenSample, sample_tissue

CUBE = (3, 16, 16)
SHAPE = (60, 256, 256)


@pytest.fixture(scope="module")
def eye() -> SyntheticExam:
    return make_exam((0x7155, 2), diseases=["DME", "PVD"])


@pytest.fixture(scope="module")
def volume(eye) -> torch.Tensor:
    return resize_volume(eye.volume, SHAPE)


def _share(sample: TokenSample) -> float:
    return len(sample.index) / sample.tissue.numel()


def _assert_stands_for_all(sample: TokenSample, grid: tuple[int, int, int]) -> None:
    """Tissue is all kept with weight 1, every other token has a stand-in, and none is counted twice."""
    assert sample.tissue.shape == grid
    assert sample.stand_in.shape == (math.prod(grid),)
    assert (sample.index.diff() > 0).all()
    kept = torch.zeros(math.prod(grid), dtype=torch.bool)
    kept[sample.index] = True
    assert kept[sample.tissue.flatten()].all()
    assert torch.equal(sample.stand_in[sample.index], torch.arange(len(sample.index)))  # for itself
    assert sample.weight.sum() == math.prod(grid)
    assert (sample.weight[sample.tissue.flatten()[sample.index]] == 1).all()
    assert sample.left_out == (~kept).sum()


def test_about_half_of_an_eye_is_left_out(volume) -> None:
    sample = sample_tissue(volume, CUBE)
    _assert_stands_for_all(sample, (20, 16, 16))
    assert 0.3 < _share(sample) < 0.7
    background = (~sample.tissue).sum()
    assert (len(sample.index) - sample.tissue.sum()) / background == pytest.approx(
        1 / EVERY, rel=0.1
    )


def test_a_token_is_stood_for_by_a_near_one_of_the_background(volume) -> None:
    sample = sample_tissue(volume, CUBE)
    place = torch.stack(torch.unravel_index(torch.arange(sample.tissue.numel()), (20, 16, 16)), 1)
    own, other = place, place[sample.index[sample.stand_in]]
    distance = (own - other).float().norm(dim=1)
    assert distance.median() <= 2
    absent = distance > 0
    assert not sample.tissue.flatten()[absent].any()
    assert not sample.tissue.flatten()[sample.index[sample.stand_in[absent]]].any()


@pytest.mark.parametrize("disease", DISEASES)
def test_lesions_are_kept(disease: str) -> None:
    held = total = 0
    for seed in range(2):
        exam = make_exam((0x7155, 2, seed), diseases=[disease])
        lesion = torch.from_numpy(exam.truth.masks[disease]).float()[None]
        lesion = F.max_pool3d(lesion, CUBE)[0] > 0
        sample = sample_tissue(resize_volume(exam.volume, SHAPE), CUBE)
        held, total = held + int((lesion & sample.tissue).sum()), total + int(lesion.sum())
    assert total > 0
    # The hyaloid is in places too faint to stand out from the noise, for anyone.
    assert held / total >= (0.85 if disease == "PVD" else 0.995)


@pytest.mark.parametrize("disease", ["DME", "AMD", "POAG", "RNV"])
def test_lesions_in_the_dim_half_of_a_scan_are_kept(disease: str) -> None:
    exam = make_exam((0x7155, 4), diseases=[disease])
    lesion = torch.from_numpy(exam.truth.masks[disease]).float()[None]
    lesion = F.max_pool3d(lesion, CUBE)[0] > 0
    dim = resize_volume(exam.volume, SHAPE)
    dim[..., : SHAPE[2] // 2] *= 0.25  # as behind a cataract
    sample = sample_tissue(dim, CUBE)
    assert sample is None or (lesion & ~sample.tissue).sum() <= 0.02 * lesion.sum()


def test_the_vitreous_in_front_of_an_eye_with_a_detached_hyaloid_is_kept_in_part() -> None:
    """The hyaloid lies far in front of the retina, beyond any margin."""
    plain, detached = (
        sample_tissue(
            resize_volume(make_exam((0x7155, 3), diseases=diseases).volume, SHAPE), CUBE
        ).tissue
        for diseases in ([], ["PVD"])
    )
    assert (detached & ~plain).sum() > 20


def test_the_same_sample_twice(volume) -> None:
    first, second = (sample_tissue(volume, CUBE) for _ in range(2))
    assert torch.equal(first.index, second.index)
    assert torch.equal(first.stand_in, second.stand_in)


def _noise() -> torch.Tensor:
    return torch.rand(SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "empty",
    [torch.zeros(SHAPE), torch.full(SHAPE, 0.3), _noise(), _noise() ** 4, 0.02 * _noise()],
    ids=["black", "grey", "noise", "dark noise", "faint noise"],
)
def test_without_tissue_everything_is_kept(empty) -> None:
    assert sample_tissue(empty, CUBE) is None


def test_tissue_from_top_to_bottom_is_kept_whole(volume) -> None:
    """A crop to the retina's inner part has no background to leave out."""
    tissue = sample_tissue(volume, CUBE).tissue
    rows = torch.nonzero(tissue.all(dim=0).all(dim=1))[:, 0]
    inner = volume[:, 16 * int(rows[0]) : 16 * (int(rows[-1]) + 1)]
    sample = sample_tissue(inner, CUBE)
    assert sample is None or sample.tissue.float().mean() > 0.75


def test_brightness_contrast_and_a_blink_do_not_lose_the_retina(volume) -> None:
    tissue = sample_tissue(volume, CUBE).tissue
    for changed in (volume * 0.2 + 0.4, volume * 0.1, volume**0.6):
        assert (sample_tissue(changed, CUBE).tissue & tissue).sum() / tissue.sum() > 0.97
    blink = volume.clone()
    blink[27:33] *= 0.02
    unblinked = torch.ones(20, dtype=torch.bool)
    unblinked[9:11] = False
    seen = sample_tissue(blink, CUBE).tissue[unblinked]
    assert (seen & tissue[unblinked]).sum() / tissue[unblinked].sum() > 0.99


def test_an_eye_upside_down_is_found_too(eye, volume) -> None:
    lesion = F.max_pool3d(torch.from_numpy(eye.truth.masks["DME"]).float()[None], CUBE)[0] > 0
    sample = sample_tissue(volume.flip(1), CUBE)
    _assert_stands_for_all(sample, (20, 16, 16))
    assert sample.tissue.flip(1)[lesion].float().mean() > 0.99
    assert _share(sample) < 0.7


@pytest.mark.parametrize(
    ("shape", "cube"),
    [
        ((3, 256, 256), (3, 16, 16)),
        ((30, 128, 128), (3, 16, 16)),
        ((48, 512, 256), (3, 16, 16)),
        ((60, 224, 224), (3, 16, 16)),
        ((16, 160, 96), (2, 32, 8)),
        ((6, 144, 45), (3, 48, 15)),
    ],
)
def test_any_size_that_the_cube_divides(eye, shape, cube) -> None:
    sample = sample_tissue(resize_volume(eye.volume, shape), cube)
    _assert_stands_for_all(sample, tuple(s // c for s, c in zip(shape, cube, strict=True)))
    assert sample.tissue.float().mean() > 0.2


@pytest.mark.parametrize("shape", [(3, 16, 16), (3, 32, 16), (6, 32, 32)])
def test_tiny_volumes_are_no_error(eye, shape) -> None:
    sample = sample_tissue(resize_volume(eye.volume, shape), CUBE)
    if sample is not None:
        _assert_stands_for_all(sample, tuple(s // c for s, c in zip(shape, CUBE, strict=True)))


def test_a_sample_cannot_be_changed_by_mistake(volume) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        sample_tissue(volume, CUBE).index = torch.zeros(1)


@pytest.mark.parametrize(
    "name", ["hcms_hc01", "topcon/fda_minimized.fda", "heyex_vol/circle_1x496x768.vol"]
)
def test_real_retinas_are_found(real_data, name: str) -> None:
    exam = read_exam(real_data / name)
    frames = 3 if exam.volume.shape[0] == 1 else 60
    volume = resize_volume(exam.volume, (frames, 256, 256))
    sample = sample_tissue(volume, CUBE)
    _assert_stands_for_all(sample, (frames // 3, 16, 16))
    assert 0.25 < sample.tissue.float().mean() < 0.7
    # What is left out is dark: its brightest cubes are dimmer than half of the tissue's.
    bright = F.avg_pool3d(volume[None], CUBE)[0]
    left_out, tissue = bright[~sample.tissue], bright[sample.tissue]
    assert np.quantile(left_out, 0.99) < np.quantile(tissue, 0.5)
