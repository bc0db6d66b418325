"""The released files' layouts give the reference implementation's numbers, to 1e-5 in float32 on a CPU.

The fixtures (see the README in their folder) are small checkpoints in the exact layout of the released ones, with what
the reference computed from them. ``OCTCUBE_UPSTREAM_FIXTURES`` names another folder; every dimension is taken from the
files in it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import octcube_core
from octcube_core.saliency import CachedTail, disease_logit, saliency_maps

TOLERANCE = 1e-5
BESIDE = Path(__file__).parents[2] / "../shared/fixtures/upstream"
FOLDER = Path(os.environ.get("OCTCUBE_UPSTREAM_FIXTURES", BESIDE)).resolve()

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(),
    reason=f"no parity fixtures at {FOLDER}; set OCTCUBE_UPSTREAM_FIXTURES",
)


def _array(case: str, name: str) -> NDArray[np.float32]:
    return np.load(FOLDER / case / f"{name}.npy")


def _tensor(case: str, name: str) -> torch.Tensor:
    return torch.from_numpy(_array(case, name))


def _assert_equal(found: Any, case: str, name: str) -> None:
    expected = _array(case, name)
    assert found.shape == expected.shape
    np.testing.assert_allclose(np.asarray(found), expected, rtol=0, atol=TOLERANCE)


def _load(case: str, volume: torch.Tensor | None = None) -> Any:
    (checkpoint,) = (FOLDER / case).glob("checkpoint.*")
    input_shape = None if volume is None else tuple(volume.shape[2:])
    return octcube_core.load_model(
        checkpoint, device="cpu", precision="fp32", input_shape=input_shape
    )


@torch.no_grad()
def test_multitask_logits_and_embedding() -> None:
    volume = _tensor("multitask", "volume")
    model = _load("multitask", volume)
    _assert_equal(model(volume), "multitask", "logits")
    _assert_equal(model.encoder(volume)[:, 1:].mean(dim=1), "multitask", "embedding")


def test_multitask_saliency_of_every_disease() -> None:
    volume = _tensor("multitask", "volume")[:1]
    model = _load("multitask", volume)
    with torch.no_grad():
        tokens = model.encoder.trunk(volume)
    with CachedTail(model.encoder, model.head, tokens, model.encoder.grid(volume), "norm1") as tail:
        targets = [disease_logit(number) for number in range(len(model.card.labels))]
        maps = saliency_maps(tail, targets, "gradcam++")
        logits = tail.outputs[0].detach()
        np.testing.assert_allclose(logits, _array("multitask", "logits")[0], atol=TOLERANCE)
        np.testing.assert_allclose(tail.pooled, _array("multitask", "embedding")[0], atol=TOLERANCE)
    _assert_equal(maps, "multitask", "gradcampp")
    expected = _array("multitask", "gradcampp")
    # The maps are small numbers: also compare them as they are shown, on the scale of their maxima.
    np.testing.assert_allclose(maps / expected.max(), expected / expected.max(), atol=1e-3)


@torch.no_grad()
def test_mae_reconstruction() -> None:
    volume, ids_keep = _tensor("mae", "volume"), _tensor("mae", "ids_keep").long()
    result = _load("mae", volume)(volume, ids_keep)
    for name in ("mask", "latent", "pred", "loss"):
        _assert_equal(getattr(result, name), "mae", name)


@torch.no_grad()
def test_coep_ir_embeddings() -> None:
    volume = _tensor("coep_ir", "volume")
    model = _load("coep_ir", volume)
    _assert_equal(model.embed_volume(volume), "coep_ir", "oct_embedding")
    _assert_equal(model.embed_enface(_tensor("coep_ir", "ir"), "IR"), "coep_ir", "ir_embedding")
    _assert_equal(model.logit_scales.squeeze(), "coep_ir", "logit_scale")


@torch.no_grad()
def test_coep_ef_embeddings_and_prediction() -> None:
    volume = _tensor("coep_ef", "volume")
    model = _load("coep_ef", volume)
    embeddings = [model.embed_volume(volume)]
    for number, modality in enumerate(("FAF", "IR")):
        image = _tensor("coep_ef", f"enface{number}")
        embeddings.append(model.embed_enface(image, modality))
        _assert_equal(embeddings[-1], "coep_ef", f"enface{number}_embedding")
    _assert_equal(embeddings[0], "coep_ef", "oct_embedding")
    _assert_equal(model.predict(*embeddings), "coep_ef", "prediction")
    _assert_equal(model.logit_scales, "coep_ef", "logit_scales")


@torch.no_grad()
def test_retfound_features() -> None:
    model = _load("retfound")
    features = model.pooled_features(_tensor("retfound", "image"))
    _assert_equal(features, "retfound", "pooled_features_normed")


@pytest.mark.parametrize(
    ("case", "kind"),
    [
        ("multitask", "classifier"),
        ("mae", "mae"),
        ("coep_ir", "coep"),
        ("coep_ef", "coep"),
        ("retfound", "enface"),
    ],
)
def test_every_file_loads_without_being_told_its_input(case: str, kind: str) -> None:
    assert _load(case).card.kind == kind
