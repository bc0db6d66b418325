"""Pooling by cosines: what it computes, of all tokens and of some, and that analyses see it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import reference_files as files
import torch
from reference_files import Dims
from scipy.fft import dctn

from octcube_core.analysis import analyze
from octcube_core.checkpoints import load_model, save_checkpoint
from octcube_core.checkpoints.card import Pooling
from octcube_core.checkpoints.convert import to_reference
from octcube_core.errors import CheckpointError
from octcube_core.exam import EnFaceImage, Exam, OCTVolume
from octcube_core.models.coep import COEPModel
from octcube_core.models.cosine_pooling import CosinePooling
from octcube_core.tissue import sample_tissue

GRID = (4, 3, 5)
TOKENS = 60
D = Dims(frames=9, height=32, width=48, enface=48)


def _pooling(orders=(2, 3), channels=7, dim=7, planar=False, kinds=1) -> CosinePooling:
    torch.manual_seed(0)
    return CosinePooling(dim, Pooling(orders, channels), planar, kinds)


@pytest.mark.parametrize("planar", [False, True])
def test_it_is_the_discrete_cosine_transform_of_what_depth_sums_up(planar: bool) -> None:
    grid = (1, 3, 5) if planar else GRID
    tokens = torch.randn(2, grid[0] * grid[1] * grid[2], 7)
    pooling = _pooling(planar=planar)
    pooling.content.weight.data = torch.eye(7)
    volume = tokens.unflatten(1, grid).double().numpy()
    plane = volume[:, 0] if planar else volume.mean(axis=2)
    wanted = dctn(plane, axes=(1, 2), norm="ortho") / np.sqrt(plane.shape[1] * plane.shape[2])
    found = pooling.features(tokens, grid).unflatten(1, (7, 2, 3)).movedim(1, -1)
    torch.testing.assert_close(
        found.detach().double(), torch.from_numpy(wanted[:, :2, :3]), atol=1e-6, rtol=0
    )


def test_one_order_is_the_mean() -> None:
    tokens, pooling = torch.randn(2, TOKENS, 7), _pooling((1, 1))
    pooling.content.weight.data = torch.eye(7)
    torch.testing.assert_close(pooling.features(tokens, GRID), tokens.mean(dim=1))


def test_all_tokens_in_another_order_are_the_same() -> None:
    tokens, pooling = torch.randn(2, TOKENS, 7), _pooling()
    keep = torch.stack([torch.randperm(TOKENS) for _ in range(2)])
    taken = torch.stack([item[places] for item, places in zip(tokens, keep, strict=True)])
    torch.testing.assert_close(pooling(taken, GRID, keep), pooling(tokens, GRID))


def test_a_token_stands_for_others_where_they_are() -> None:
    pooling, few = _pooling(), torch.randn(1, 9, 7)
    stand_in = torch.randint(9, (TOKENS,))
    torch.testing.assert_close(
        pooling(few, GRID, stand_in=stand_in), pooling(few[:, stand_in], GRID)
    )


def test_each_kind_of_input_is_standardised_on_its_own() -> None:
    pooling = _pooling(kinds=2)
    tokens = torch.randn(500, TOKENS, 7) * 3 + 5
    features = pooling.features(tokens, GRID).detach()
    pooling.measured(1, features.mean(dim=0), features.std(dim=0))
    seen = []
    pooling.join.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    pooling(tokens, GRID, kind=1)
    pooling(tokens, GRID, kind=0)
    torch.testing.assert_close(seen[0].mean(dim=0), torch.zeros(42), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[0].std(dim=0), torch.ones(42), atol=1e-4, rtol=0)
    torch.testing.assert_close(seen[1], features)


def test_half_precision_weights_and_autocast_keep_the_sums_exact() -> None:
    tokens, pooling = torch.randn(2, TOKENS, 7) * 1e-3 + 100, _pooling()
    wanted = pooling.features(tokens, GRID)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(pooling.features(tokens, GRID), wanted)


def _aligned(folder, pooling: Pooling) -> COEPModel:
    """A toy aligned model with random weights, saved and loaded again."""
    plain = load_model(
        files.save_coep(folder / "plain", files.coep_weights(D, modalities=2)),
        device="cpu",
        precision="fp32",
        input_shape=D.shape,
    )
    alignment = dataclasses.replace(plain.card.alignment, pooling=pooling)
    torch.manual_seed(0)
    model = COEPModel(dataclasses.replace(plain.card, alignment=alignment, name="Pooled")).eval()
    for tower in (model.oct_tower, model.enface_tower):
        torch.nn.init.normal_(tower.pooling.center, std=0.01)
        torch.nn.init.uniform_(tower.pooling.scale, 0.05, 0.1)
    save_checkpoint(folder / "pooled.safetensors", model)
    return load_model(folder / "pooled.safetensors", device="cpu", precision="fp32")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> COEPModel:
    return _aligned(tmp_path_factory.mktemp("pooled"), Pooling((2, 3), 4))


def _exam() -> Exam:
    random = np.random.default_rng(0)
    images = tuple(
        EnFaceImage(random.integers(0, 256, (48, 48), dtype=np.uint8), name)
        for name in ("FAF", "IR")
    )
    return Exam(OCTVolume(random.integers(0, 256, (9, 32, 48), dtype=np.uint8)), enface=images)


@pytest.mark.parametrize("layer", ["norm1", "norm2"])
def test_an_analysis_embeds_as_the_model_does(model: COEPModel, layer: str) -> None:
    exam = _exam()
    found = analyze(exam, model, layer=layer)
    volume = torch.from_numpy(exam.volume.voxels.astype(np.float32) / 255)[None, None]
    wanted = model.embed_volume(volume).detach().numpy()[0]
    np.testing.assert_allclose(found.embeddings["OCT"], wanted, atol=1e-5)
    assert np.abs(wanted - model.embed_volume(volume.flip(4)).detach().numpy()[0]).max() > 1e-3
    assert set(found.embeddings) == {"OCT", "FAF", "IR"}


def test_the_references_layout_has_no_names_for_it(model: COEPModel, tmp_path) -> None:
    save_checkpoint(tmp_path / "pooled.safetensors", model)
    with pytest.raises(CheckpointError, match="pools its tokens by cosines"):
        to_reference(tmp_path / "pooled.safetensors", tmp_path / "theirs.pth")


@pytest.mark.parametrize("pooling", [Pooling((0, 3), 4), Pooling((2, 9), 4), Pooling((2, 3), 0)])
def test_orders_that_no_grid_can_tell_apart_are_refused(tmp_path, pooling: Pooling) -> None:
    with pytest.raises(CheckpointError, match=r"pooling\.(orders|channels)"):
        _aligned(tmp_path, pooling)


def test_fast_mode_pools_by_where_the_left_out_tokens_lie(model: COEPModel) -> None:
    volume = torch.zeros(9, 32, 48)
    volume[:, 12:20] = 0.8
    volume += 0.02 * torch.rand(volume.shape)
    sample = sample_tissue(volume, (3, 8, 8))
    assert sample is not None
    assert sample.left_out > 0
    tokens = torch.randn(1, len(sample.index), 16)
    pooling = _pooling(dim=16)
    torch.testing.assert_close(
        pooling(tokens, (3, 4, 6), stand_in=sample.stand_in),
        pooling(tokens[:, sample.stand_in], (3, 4, 6)),
    )
