"""A converted file whose rows and columns nobody stated is as good as the reference's own, once they are said."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import reference_files as files
import torch
from reference_files import Dims

from octcube_core.checkpoints import load_checkpoint, load_model
from octcube_core.checkpoints.convert import to_ours, to_reference
from octcube_core.checkpoints.upstream import load_upstream

D = Dims(embed_dim=64, depth=2, width=48, enface=32)
HIGH = dataclasses.replace(D, height=96, width=48)  # whose most nearly square table is another
HIGH_MODELS = {
    "multitask": files.classifier_weights(HIGH),
    "mae finer": files.mae_weights(dataclasses.replace(HIGH, finer=2)),
    "coep_ef": files.coep_weights(HIGH, modalities=2, outputs=2),
}


@pytest.mark.parametrize("name", HIGH_MODELS)
@torch.no_grad()
def test_what_the_model_sees_may_be_said_when_the_converted_file_is_loaded(
    tmp_path: Path, name: str
) -> None:
    source, ours = tmp_path / "source.pth", tmp_path / "ours"
    torch.save({"model": HIGH_MODELS[name]}, source)
    to_ours(source, ours)
    read = {"device": "cpu", "precision": "fp32", "input_shape": HIGH.shape}
    direct, converted = load_model(source, **read), load_model(ours, **read)
    assert converted.card == direct.card
    volume = files.random_volume(HIGH)
    for wanted, found in zip(_seen(direct, volume), _seen(converted, volume), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    # Once said, the table is known, and another input interpolates it.
    to_ours(source, ours, input_shape=HIGH.shape)
    other = load_model(ours, device="cpu", precision="fp32", input_shape=D.shape)
    assert other.card.architecture.table_grid[1:] in ((6, 3), (12, 6))


def _seen(model: Any, volume: torch.Tensor) -> tuple[torch.Tensor, ...]:
    if model.card.kind == "mae":
        result = model(volume, torch.tensor([[0, 3, 5], [1, 2, 7]]))
        return result.pred, result.latent
    return (model.embed_volume(volume) if model.card.kind == "coep" else model(volume),)


@torch.no_grad()
def test_a_decoder_table_of_another_size_is_kept_and_converted(tmp_path: Path) -> None:
    weights = HIGH_MODELS["mae finer"] | {
        name: HIGH_MODELS["mae finer"][name][:, :18] for name in ("decoder_pos_embed_spatial",)
    }
    source, ours = files.save(tmp_path / "source.pth", weights), tmp_path / "ours"
    to_ours(source, ours)
    direct, converted = (
        load_upstream(source, input_shape=HIGH.shape),
        load_checkpoint(ours, input_shape=HIGH.shape),
    )
    assert converted.decoder.positions.table_grid == (3, 6, 3)
    volume = files.random_volume(HIGH)
    for wanted, found in zip(
        _seen(direct.eval(), volume), _seen(converted.eval(), volume), strict=True
    ):
        assert torch.equal(found, wanted)
    to_reference(ours, tmp_path / "back.pth")
    found = torch.load(tmp_path / "back.pth", weights_only=False)["model"]
    assert set(found) == set(weights)
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())
