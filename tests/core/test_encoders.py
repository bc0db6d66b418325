"""Every released file is also a bare encoder: same features, positions on the grid in use, weights of its own."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import reference_files as files
import reference_models as reference
import torch
import torch.nn.functional as F
from reference_files import Dims, exact

from octcube_core.checkpoints import load_checkpoint, load_model, save_checkpoint
from octcube_core.checkpoints.encoders import volume_encoder
from octcube_core.errors import InputError

D = Dims(frames=9, height=32, width=48, enface=48)
FINER = dataclasses.replace(D, finer=2)
VOLUME_MODELS = {
    "multitask": (files.classifier_weights(D), D, ""),
    "mae": (files.mae_weights(D, high_res=False), D, ""),
    "mae finer": (files.mae_weights(FINER), FINER, ""),
    "coep_ir": (files.coep_weights(D), D, "visual."),
    "coep_ef": (files.coep_weights(D, modalities=2, outputs=2), D, "visual."),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def _load(path: Path, weights: files.Weights, input_shape=None):
    files.save(path, weights)
    return load_model(path, device="cpu", precision="fp32", input_shape=input_shape)


def _close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", VOLUME_MODELS)
@torch.no_grad()
def test_features_of_every_volume_model(path: Path, name: str) -> None:
    weights, d, prefix = VOLUME_MODELS[name]
    encoder = volume_encoder(_load(path, weights, d.shape)).eval()
    w = exact(reference.part(weights, prefix))
    volume = files.random_volume(d)
    expected = reference.normed(reference.volume_features(volume.double(), w, d), w, "norm")
    assert encoder.card.kind == "encoder"
    assert encoder.card.architecture.input_shape == d.shape
    _close(encoder.pooled_features(volume), expected)


@pytest.mark.parametrize("name", VOLUME_MODELS)
@pytest.mark.parametrize("shape", [(9, 32, 48), (12, 32, 48), (9, 48, 48), (3, 64, 96)])
@torch.no_grad()
def test_position_tables_are_brought_to_the_grid_in_use(path: Path, name: str, shape) -> None:
    weights, d, prefix = VOLUME_MODELS[name]
    encoder = volume_encoder(_load(path, weights, d.shape), shape)
    z, y, x = shape[0] // 3, shape[1] // 16, shape[2] // 16
    assert encoder.card.architecture.grid == (z, y, x)
    assert encoder.card.architecture.position_table is None
    stored = d.finer * D.height // 16, d.finer * D.width // 16
    table = weights[f"{prefix}pos_embed_spatial"].unflatten(1, stored).permute(0, 3, 1, 2)
    if stored != (y, x):
        table = F.interpolate(table, (y, x), mode="bicubic", align_corners=False)
    line = weights[f"{prefix}pos_embed_temporal"].mT
    if line.shape[2] != z:
        line = F.interpolate(line, z, mode="linear", align_corners=False)
    positions = encoder.encoder.positions
    torch.testing.assert_close(positions.spatial, table.flatten(2).mT, rtol=0, atol=1e-6)
    torch.testing.assert_close(positions.temporal, line.mT, rtol=0, atol=1e-6)
    # Brought there once or again and again while it runs: the same features.
    same = _load(path, weights, d.shape)
    within = same.oct_tower.encoder if prefix else same.encoder
    volume = torch.rand(1, 1, *shape)
    _close(encoder.eval().encoder(volume), within(volume))


@torch.no_grad()
def test_retfound_is_the_encoder_of_one_layer_of_cubes(path: Path) -> None:
    """Its kernel's three colours become the slices of a cube: bit for bit the same features."""
    model = _load(path, files.retfound_weights(D))
    encoder = volume_encoder(model, (3, D.enface, D.enface)).eval()
    image = files.random_image(D)
    assert torch.equal(encoder.pooled_features(image[:, None]), model.pooled_features(image))
    kernel = files.retfound_weights(D)["patch_embed.proj.weight"]
    assert torch.equal(encoder.encoder.embedding.weight, kernel[:, None])
    expected = reference.retfound_features(image.double(), exact(files.retfound_weights(D)), D)
    _close(encoder.pooled_features(image[:, None]), expected)


@torch.no_grad()
def test_retfound_starts_an_encoder_of_whole_volumes(path: Path) -> None:
    model = _load(path, files.retfound_weights(D))
    encoder = volume_encoder(model, D.shape)
    assert encoder.card.kind == "encoder"
    assert encoder.card.architecture.input_shape == D.shape
    assert encoder.card.architecture.final_residual  # a standard transformer stays one
    assert not encoder.encoder.positions.temporal.any()
    table = files.retfound_weights(D)["pos_embed"][:, 1:].unflatten(1, (3, 3))
    plane = F.interpolate(table.permute(0, 3, 1, 2), (2, 3), mode="bicubic", align_corners=False)
    _close(encoder.encoder.positions.spatial, plane.flatten(2).mT)
    assert encoder(files.random_volume(D)).shape == (2, D.embed_dim)


@torch.no_grad()
def test_slices_that_are_alike_give_every_layer_the_same_tokens(path: Path) -> None:
    """Without positions along z, nothing but the content tells the layers of cubes apart."""
    encoder = volume_encoder(_load(path, files.retfound_weights(D)), D.shape).eval()
    volume = files.random_volume(D, batch=1)[:, :, :1].expand(-1, -1, 9, -1, -1)
    tokens = encoder.encoder.embed(volume)[0, 1:].unflatten(0, D.grid)
    assert torch.equal(tokens[0], tokens[1])
    assert torch.equal(tokens[0], tokens[2])


def test_the_encoder_has_weights_of_its_own(path: Path) -> None:
    model = _load(path, files.classifier_weights(D))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    encoder = volume_encoder(model)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.zero_()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@torch.no_grad()
def test_it_can_be_saved_and_tells_where_it_is_from(path: Path, tmp_path: Path) -> None:
    model = _load(path, files.mae_weights(FINER))
    encoder = volume_encoder(model).eval()
    save_checkpoint(tmp_path / "encoder", encoder)
    loaded = load_checkpoint(tmp_path / "encoder").eval()
    assert loaded.card == encoder.card
    assert model.card.name in loaded.card.name
    assert loaded.card.licence == model.card.licence
    volume = files.random_volume(D)
    assert torch.equal(loaded(volume), encoder(volume))


def test_it_can_be_trained(path: Path) -> None:
    encoder = volume_encoder(_load(path, files.classifier_weights(D))).train()
    encoder.requires_grad_(True)
    encoder(files.random_volume(D)).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_an_encoder_of_images_needs_to_be_told_the_volumes_shape(path: Path) -> None:
    model = _load(path, files.retfound_weights(D))
    with pytest.raises(InputError, match="needs an input_shape"):
        volume_encoder(model)
    with pytest.raises(InputError, match="do not divide an input of"):
        volume_encoder(model, (9, 32, 50))
