"""The networks against plain tensor operations: positions, cubes, both endings of the last block, the autoencoder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import reference_files as files
import reference_models as reference
import torch
import torch.nn.functional as F
from reference_files import Dims, exact

from octcube_core.checkpoints.card import Alignment, Architecture, ModelCard, Target
from octcube_core.checkpoints.upstream import load_upstream
from octcube_core.errors import InputError
from octcube_core.models.coep import COEPModel
from octcube_core.models.embeddings import CubeEmbedding, CubePositions, split_cubes
from octcube_core.models.family import network

D = Dims(frames=9, height=48, width=80)


def _close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=0, atol=1e-5)


def _load(path: Path, weights: files.Weights, keep_residual: bool = False):
    """The reference's weights in a network that ends with or without the residual stream."""
    loaded = load_upstream(files.save(path, weights), input_shape=D.shape)
    changes = {
        part: dataclasses.replace(getattr(loaded.card, part), final_residual=keep_residual)
        for part in ("architecture", "decoder")
        if getattr(loaded.card, part) is not None
    }
    model = network(dataclasses.replace(loaded.card, **changes))
    model.load_state_dict(loaded.state_dict())
    return model.eval()


def _positions(planar: bool = False) -> CubePositions:
    torch.manual_seed(0)
    return CubePositions(8, (1 if planar else 4, 3, 5), planar)


@pytest.mark.parametrize("grid", [(4, 3, 5), (4, 6, 10), (7, 3, 5), (1, 2, 2), (9, 8, 4)])
def test_position_tables_are_brought_to_any_grid(grid) -> None:
    positions = _positions()
    table = positions.spatial.reshape(3, 5, 8).permute(2, 0, 1)[None]
    plane = F.interpolate(table, grid[1:], mode="bicubic", align_corners=False)[0]
    line = F.interpolate(positions.temporal.mT, grid[0], mode="linear", align_corners=False)[0]
    found = positions(grid).unflatten(1, grid)[0]
    for z in range(grid[0]):
        for y in range(grid[1]):
            for x in range(grid[2]):
                torch.testing.assert_close(
                    found[z, y, x], plane[:, y, x] + line[:, z], rtol=0, atol=1e-6
                )


def test_positions_of_the_stored_grid_are_the_stored_ones() -> None:
    positions = _positions()
    expected = positions.temporal[:, :, None] + positions.spatial[:, None]
    assert torch.equal(positions((4, 3, 5)), expected.flatten(1, 2))


@pytest.mark.parametrize(("grid", "dim"), [((10, 8, 8), 128), ((20, 16, 16), 64), ((5, 3, 7), 30)])
def test_new_positions_tell_every_place_from_every_other_beside_content(grid, dim) -> None:
    positions = CubePositions(dim, grid)
    code = positions(grid)[0].detach()
    apart = torch.cdist(code, code) / dim**0.5
    content = CubeEmbedding(dim, (3, 16, 16)).project(torch.rand(64, 768)).std()
    assert apart.median() > 0.3 * content  # a token says where it is beside what it holds
    assert apart.fill_diagonal_(torch.inf).min() > 0.1 * content  # also of neighbours
    assert code.std() < 3 * content
    along = positions.temporal[0].detach()
    steps = torch.stack([(along[0] - place).norm() for place in along])
    assert steps[1] < steps[2] < steps[-1]  # neighbours are alike
    assert all(table.requires_grad for table in positions.parameters())


def test_images_have_positions_in_the_plane_alone() -> None:
    positions = _positions(planar=True)
    assert "temporal" not in dict(positions.named_parameters())
    assert torch.equal(positions((1, 3, 5)), positions.spatial)
    table = positions.spatial.reshape(1, 3, 5, 8).permute(0, 3, 1, 2)
    plane = F.interpolate(table, (4, 4), mode="bicubic", align_corners=False)
    _close(positions((1, 4, 4)), plane.flatten(2).mT)


def test_tables_in_half_precision_are_interpolated_in_full() -> None:
    positions = _positions()
    half = _positions().bfloat16()
    found = half((8, 6, 10))
    assert found.dtype == torch.float32
    # Only the stored values of the three tables are rounded, each by half a unit in the last place at most.
    error = (found - positions((8, 6, 10))).abs().max()
    assert error < 2 * 2**-9 * positions((8, 6, 10)).abs().max()


def test_cubes_are_those_of_a_strided_convolution() -> None:
    embedding = CubeEmbedding(16, (3, 4, 8))
    torch.nn.init.normal_(embedding.bias)
    volume = torch.rand(2, 1, 9, 12, 32)
    expected = F.conv3d(volume, embedding.weight, embedding.bias, stride=(3, 4, 8))
    _close(embedding(volume), expected.flatten(2).mT)


def test_voxels_of_a_cube_are_in_the_order_of_the_axes() -> None:
    volume = torch.arange(6 * 4 * 6).reshape(1, 6, 4, 6)
    cubes = split_cubes(volume, (3, 2, 3))
    assert cubes.shape == (1, 8, 18)
    number = 0
    for z in range(2):
        for y in range(2):
            for x in range(2):
                cube = volume[0, 3 * z : 3 * z + 3, 2 * y : 2 * y + 2, 3 * x : 3 * x + 3]
                assert torch.equal(cubes[0, number], cube.flatten())
                number += 1


def test_a_volume_that_the_cube_does_not_divide_is_refused(tmp_path: Path) -> None:
    model = _load(tmp_path / "file", files.classifier_weights(D))
    with pytest.raises(InputError, match="do not divide an input of"):
        model(torch.rand(1, 1, 9, 48, 81))


@pytest.mark.parametrize("keep_residual", [False, True])
@torch.no_grad()
def test_the_encoder_ends_with_or_without_the_residual_stream(tmp_path, keep_residual) -> None:
    weights, volume = files.classifier_weights(D), files.random_volume(D)
    encoder = _load(tmp_path / "file", weights, keep_residual).encoder
    w = exact(weights)
    start = reference.with_class(
        reference.volume_tokens(volume.double(), w, D), w["cls_token"] + w["pos_embed_class"]
    )
    expected = reference.two_streams(start, w, D.depth, 2, keep_residual=keep_residual)
    _close(encoder(volume), expected)
    _close(encoder.pooled(volume), expected[:, 1:].mean(dim=1))


@torch.no_grad()
def test_the_endings_differ(tmp_path: Path) -> None:
    weights, volume = files.classifier_weights(D), files.random_volume(D)
    without, with_it = (_load(tmp_path / "file", weights, keep)(volume) for keep in (False, True))
    assert (without - with_it).abs().max() > 0.1


@pytest.mark.parametrize(
    "shape", [(3, 48, 80), (6, 48, 80), (60, 48, 80), (9, 96, 160), (9, 32, 48), (3, 16, 16)]
)
@torch.no_grad()
def test_volumes_of_any_number_of_bscans_and_any_size(tmp_path: Path, shape) -> None:
    """Down to a single cube, with tables brought to the grid as F.interpolate does it."""
    weights = files.classifier_weights(D)
    d = dataclasses.replace(D, frames=shape[0], height=shape[1], width=shape[2])
    volume = files.random_volume(d, batch=1)
    found = _load(tmp_path / "file", weights)(volume)
    w = exact(weights)
    table = w["pos_embed_spatial"].unflatten(1, (3, 5)).permute(0, 3, 1, 2)
    plane = F.interpolate(table, d.grid[1:], mode="bicubic", align_corners=False)
    w["pos_embed_spatial"] = plane.flatten(2).mT
    assert found.shape == (1, 16)
    _close(found, reference.classifier_logits(volume.double(), w, d))


@pytest.mark.parametrize("keep_residual", [False, True])
@pytest.mark.parametrize("visible", [1, 4, 44])
@torch.no_grad()
def test_the_masked_autoencoder(tmp_path: Path, keep_residual: bool, visible: int) -> None:
    weights, volume = files.mae_weights(D), files.random_volume(D)
    model = _load(tmp_path / "file", weights, keep_residual)
    keep = torch.rand(2, D.tokens, generator=torch.Generator().manual_seed(3)).argsort(dim=1)
    keep = keep[:, :visible]
    expected = reference.mae_outputs(volume.double(), keep, exact(weights), D, keep_residual)
    found = model(volume, keep)
    for name, value in expected.items():
        _close(getattr(found, name), value)


def test_the_autoencoder_learns_from_masked_cubes_alone(tmp_path: Path) -> None:
    model, volume = _load(tmp_path / "file", files.mae_weights(D)), files.random_volume(D, batch=1)
    keep = torch.tensor([[0, 7, 20]])
    result = model(volume, keep)
    (gradient,) = torch.autograd.grad(result.loss, result.pred)
    assert (gradient.abs().sum(dim=2)[0] == 0).nonzero().flatten().tolist() == [0, 7, 20]
    model(volume, keep).loss.backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert all(name.startswith("high_res_embedding.") for name in without)


@torch.no_grad()
def test_the_autoencoder_does_not_see_masked_cubes(tmp_path: Path) -> None:
    model, volume = _load(tmp_path / "file", files.mae_weights(D)), files.random_volume(D, batch=1)
    keep = torch.tensor([[3, 1]])
    before = model(volume, keep)
    volume[0, 0, :, 16:] = 0  # everything but the first row of cubes
    after = model(volume, keep)
    assert torch.equal(after.pred, before.pred)
    assert after.loss != before.loss


def _coep(modalities: tuple[str, ...], targets: tuple[Target, ...] = ()) -> COEPModel:
    volume = Architecture(64, 1, 1, (3, 16, 16), (2, 2, 3), 128, final_residual=False)
    image = dataclasses.replace(volume, grid=(1, 2, 2), planar=True)
    alignment = Alignment(image, modalities, 24, regression_hidden=8 if targets else 0)
    card = ModelCard("Aligned", "1", volume, alignment=alignment, targets=targets)
    torch.manual_seed(0)
    return COEPModel(card).eval()


@torch.no_grad()
def test_aligned_embeddings_have_length_one_in_every_precision() -> None:
    model = _coep(("FAF", "IR"))
    for dtype in (torch.float32, torch.bfloat16):
        model.to(dtype)
        volume = model.embed_volume(torch.rand(3, 1, 6, 32, 48, dtype=dtype))
        image = torch.randn(3, 3, 32, 32, dtype=dtype)
        images = [model.embed_enface(image, modality) for modality in ("FAF", "IR")]
        for embedding in (volume, *images):
            torch.testing.assert_close(embedding.norm(dim=1), torch.ones(3))
        assert (images[0] - images[1]).abs().max() > 0.01  # a last layer of its own for each


@pytest.mark.parametrize(("modalities", "pairs"), [(("IR",), 1), (("FAF", "IR"), 3)])
def test_a_new_aligned_model_starts_at_the_papers_temperature(modalities, pairs) -> None:
    scales = _coep(modalities).logit_scales
    torch.testing.assert_close(scales, torch.full((pairs,), 1 / 0.07))


def test_what_an_aligned_model_cannot_do_is_said() -> None:
    plain, target = _coep(("FAF", "IR")), (Target("GA growth", "GA", "mm"),)
    with pytest.raises(InputError, match="embeds FAF and IR images, not CFP"):
        plain.embed_enface(torch.zeros(1, 3, 32, 32), "CFP")
    with pytest.raises(InputError, match="no regression head"):
        plain.predict(torch.zeros(1, 24))
    with pytest.raises(InputError, match="at least one modality"):
        _coep(("FAF", "IR"), target).predict(None, None)
    assert _coep(("FAF", "IR"), target).predict(torch.zeros(5, 24)).shape == (5, 1)
