"""Files of the released layouts and other dimensions give what plain tensor operations compute from them, to 1e-5."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import reference_files as files
import reference_models as reference
import torch
from reference_files import Dims, exact

import octcube_core
from octcube_core.checkpoints.infer import decoder_heads
from octcube_core.errors import CheckpointError
from octcube_core.saliency import CachedTail, disease_logit

WIDE = Dims(frames=18, height=64, width=96, depth=3, enface=80)
HIGH = Dims(frames=9, height=96, width=48, depth=1, embed_dim=192, enface=48, projection=24)
FLAT = Dims(frames=3, height=16, width=64, embed_dim=64, mlp_ratio=2, enface=32, decoder_depth=2)
EVERY = pytest.mark.parametrize("d", [WIDE, HIGH, FLAT], ids=["wide", "high", "flat"])


def _load(path: Path, d: Dims | None = None):
    shape = None if d is None else d.shape
    return octcube_core.load_model(path, device="cpu", precision="fp32", input_shape=shape)


def _close(found: torch.Tensor, expected: torch.Tensor) -> None:
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=0, atol=1e-5)


@EVERY
@torch.no_grad()
def test_multitask(tmp_path: Path, d: Dims) -> None:
    weights, volume = files.classifier_weights(d), files.random_volume(d)
    model = _load(files.save(tmp_path / "file.pth", weights), d)
    _close(model(volume), reference.classifier_logits(volume.double(), exact(weights), d))
    _close(
        model.encoder.pooled(volume), reference.volume_features(volume.double(), exact(weights), d)
    )


@EVERY
def test_multitask_saliency(tmp_path: Path, d: Dims) -> None:
    weights, volume = files.classifier_weights(d), files.random_volume(d, batch=1)
    model = _load(files.save(tmp_path / "file.pth", weights), d)
    activation: list[torch.Tensor] = []
    logits = reference.classifier_logits(volume.double(), exact(weights), d, activation)
    with torch.no_grad():
        tokens = model.encoder.trunk(volume)
    with CachedTail(model.encoder, model.head, tokens, d.grid, "norm1") as tail:
        for disease in range(8):
            (gradient,) = torch.autograd.grad(
                logits[0, 2 * disease + 1], activation[0], retain_graph=True
            )
            expected = reference.gradcam_plus_plus(activation[0][0, 1:].detach(), gradient[0, 1:])
            found = tail.map(disease_logit(disease))
            assert found.shape == d.grid
            np.testing.assert_allclose(found.ravel(), expected, rtol=0, atol=1e-6)


@EVERY
@pytest.mark.parametrize("finer", [1, 2])
@torch.no_grad()
def test_mae(tmp_path: Path, d: Dims, finer: int) -> None:
    d = dataclasses.replace(d, finer=finer)
    weights, volume = files.mae_weights(d, high_res=finer > 1), files.random_volume(d)
    generator = torch.Generator().manual_seed(5)
    order = torch.rand(2, d.tokens, generator=generator).argsort(dim=1)
    keep = order[:, : max(1, d.tokens // 5)]
    model = _load(files.save(tmp_path / "file.pth", weights), d)
    found = model(volume, keep)
    for name, expected in reference.mae_outputs(volume.double(), keep, exact(weights), d).items():
        _close(getattr(found, name), expected)


@EVERY
@torch.no_grad()
def test_coep_with_one_kind_of_image(tmp_path: Path, d: Dims) -> None:
    weights, volume, image = files.coep_weights(d), files.random_volume(d), files.random_image(d)
    model = _load(files.save_coep(tmp_path / "file.pt", weights), d)
    assert model.modalities == ("IR",)
    _close(model.embed_volume(volume), reference.coep_volume(volume.double(), exact(weights), d))
    _close(model.embed_enface(image, "IR"), reference.coep_image(image.double(), exact(weights), d))
    _close(model.logit_scales, weights["logit_scale"].exp()[None])


@EVERY
@pytest.mark.parametrize("outputs", [1, 3])
@torch.no_grad()
def test_coep_with_two_kinds_and_a_regression(tmp_path: Path, d: Dims, outputs: int) -> None:
    weights = files.coep_weights(d, modalities=2, outputs=outputs)
    volume, faf, ir = (
        files.random_volume(d),
        files.random_image(d, seed=1),
        files.random_image(d, seed=2),
    )
    model = _load(files.save_coep(tmp_path / "file.pt", weights), d)
    embeddings = [
        reference.coep_volume(volume.double(), exact(weights), d),
        reference.coep_image(faf.double(), exact(weights), d, 0),
        reference.coep_image(ir.double(), exact(weights), d, 1),
    ]
    found = [
        model.embed_volume(volume),
        model.embed_enface(faf, "FAF"),
        model.embed_enface(ir, "IR"),
    ]
    for ours, expected in zip(found, embeddings, strict=True):
        _close(ours, expected)
    _close(model.predict(*found), reference.coep_values(embeddings, exact(weights)))
    zero = torch.zeros_like(embeddings[0])
    _close(
        model.predict(None, found[1], None),
        reference.coep_values([zero, embeddings[1], zero], exact(weights)),
    )
    _close(
        model.predict(found[0]), reference.coep_values([embeddings[0], zero, zero], exact(weights))
    )
    scales = [weights[f"logit_scale{number}"].exp() for number in ("", "1", "2")]
    _close(model.logit_scales, torch.stack(scales))


@EVERY
@pytest.mark.parametrize("norm", ["norm", "fc_norm"])
@torch.no_grad()
def test_retfound_pretrained_and_finetuned(tmp_path: Path, d: Dims, norm: str) -> None:
    weights, image = files.retfound_weights(d, norm=norm), files.random_image(d)
    model = _load(files.save(tmp_path / "file.pth", weights))
    expected = reference.retfound_features(image.double(), exact(weights), d, norm)
    _close(model.pooled_features(image), expected)
    assert ("fine-tuned" in model.card.name) == (norm == "fc_norm")


@pytest.mark.parametrize(
    "weights",
    [
        files.classifier_weights(WIDE),
        files.mae_weights(dataclasses.replace(WIDE, finer=2)),
        files.mae_weights(WIDE, high_res=False),
        files.coep_weights(WIDE),
        files.coep_weights(WIDE, modalities=2, outputs=2),
    ],
    ids=["multitask", "mae_finer", "mae", "coep_ir", "coep_ef"],
)
@torch.no_grad()
def test_the_input_is_known_without_being_said(tmp_path: Path, weights) -> None:
    """Where it is no higher than wide and nearly square, as that of every released file."""
    coep = "visual.cls_token" in weights
    path = (files.save_coep if coep else files.save)(tmp_path / "file", weights)
    model = _load(path)
    assert model.card.architecture.input_shape == WIDE.shape
    encoder = model.oct_tower.encoder if coep else model.encoder
    said = _load(path, WIDE)
    said = said.oct_tower.encoder if coep else said.encoder
    volume = files.random_volume(WIDE, batch=1)
    assert torch.equal(encoder(volume), said(volume))


@torch.no_grad()
def test_more_or_fewer_frames_interpolate_the_positions_along_z(tmp_path: Path) -> None:
    """54 frames into a model whose table is for 60, as with the released OCTCube-IR."""
    weights = files.classifier_weights(WIDE)
    path = files.save(tmp_path / "file.pth", weights)
    for frames in (3, 12, 24):
        d = dataclasses.replace(WIDE, frames=frames)
        volume = files.random_volume(d)
        _close(
            _load(path, d)(volume), reference.classifier_logits(volume.double(), exact(weights), d)
        )


@pytest.mark.parametrize("heads", [1, 8])
@torch.no_grad()
def test_a_decoders_heads_are_as_the_file_says(tmp_path: Path, heads: int) -> None:
    args = argparse.Namespace(decoder_num_heads=heads)
    path = files.save(tmp_path / "file.pth", files.mae_weights(WIDE), args=args)
    assert _load(path).card.decoder.num_heads == heads


@pytest.mark.parametrize("width", [8, 72, 200, 320, 520])
def test_a_decoder_of_any_width_has_heads(width: int) -> None:
    assert width % decoder_heads(width) == 0
    assert decoder_heads(512) == 16


def test_an_input_that_the_cube_does_not_divide_is_refused(tmp_path: Path) -> None:
    path = files.save_coep(tmp_path / "file.pt", files.coep_weights(WIDE))
    with pytest.raises(CheckpointError, match="cannot be cut into the cubes"):
        _load(path, dataclasses.replace(WIDE, width=100))
