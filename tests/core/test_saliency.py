"""Our maps are those of pytorch-grad-cam run plainly on the whole model, and leave no trace on it."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from pytorch_grad_cam import EigenCAM, GradCAM, GradCAMPlusPlus, HiResCAM, LayerCAM, XGradCAM

from octcube_core.bench import random_model
from octcube_core.checkpoints.card import SALIENCY_METHODS
from octcube_core.errors import InputError
from octcube_core.saliency import CachedTail, disease_logit, normalise, saliency_maps

GRID = (4, 2, 3)
SHAPE = (12, 32, 48)


@pytest.fixture(params=[False, True], ids=["released", "final_residual"])
def model(request):
    return random_model(3, 64, 2, SHAPE, final_residual=request.param)


@pytest.fixture
def volume() -> torch.Tensor:
    return torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(1))


METHODS = {
    "gradcam++": GradCAMPlusPlus,
    "gradcam": GradCAM,
    "hirescam": HiResCAM,
    "layercam": LayerCAM,
    "xgradcam": XGradCAM,
    "eigencam": EigenCAM,
}
TARGETS = [disease_logit(disease) for disease in range(8)]


def _tail(model, volume: torch.Tensor, layer: str = "norm1") -> CachedTail:
    with torch.no_grad():
        tokens = model.encoder.trunk(volume.to(model.head.linear.weight.dtype))
    return CachedTail(model.encoder, model.head, tokens, GRID, layer)


def _maps(model, volume: torch.Tensor, method: str = "gradcam++", layer: str = "norm1"):
    with _tail(model, volume, layer) as tail:
        return saliency_maps(tail, TARGETS, method)


class _Plain(torch.nn.Module):
    """The model as textbooks write it: every token through the last block, then their mean."""

    def __init__(self, model) -> None:
        super().__init__()
        self.model = model

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return self.model.head(self.model.encoder(volume)[:, 1:].mean(dim=1))


def _plain_maps(model, volume: torch.Tensor, method: str, layer: str) -> np.ndarray:
    """The whole model forward and backward for every disease, with pytorch-grad-cam's own hooks."""
    plain = _Plain(copy.deepcopy(model).requires_grad_(True))

    def to_volume(tokens: torch.Tensor) -> torch.Tensor:
        inner = tokens[:, 1:] if tokens.shape[1] > math.prod(GRID) else tokens
        return inner.permute(0, 2, 1).reshape(1, -1, *GRID)

    maps = []
    target_layer = getattr(plain.model.encoder.blocks[-1], layer)
    with METHODS[method](plain, [target_layer], reshape_transform=to_volume) as cam:
        for disease in range(8):
            plain.zero_grad()
            recorded = cam.activations_and_grads
            recorded(volume)[0, 2 * disease + 1].backward()
            activation, gradient = recorded.activations[0].numpy(), recorded.gradients[0].numpy()
            maps.append(cam.get_cam_image(volume, None, None, activation, gradient, False)[0])
    return np.maximum(np.stack(maps), 0).reshape(8, *GRID)


@pytest.mark.parametrize("layer", ["norm1", "norm2"])
@pytest.mark.parametrize("method", METHODS)
def test_equal_to_pytorch_grad_cam_on_the_whole_model(model, volume, method, layer) -> None:
    ours = _maps(model, volume, method, layer)
    plain = _plain_maps(model, volume, method, layer)
    assert (plain.max(axis=(1, 2, 3)) > 0).sum() >= 4  # there is something to compare
    np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-4 * plain.max())
    assert ours.dtype == np.float32
    assert ours.shape == (8, *GRID)
    assert (ours >= 0).all()


def test_every_method_of_the_cards_is_known() -> None:
    assert set(METHODS) == set(SALIENCY_METHODS)


@pytest.mark.parametrize("layer", ["norm1", "norm2"])
def test_logits_and_embedding_come_from_the_same_pass(model, volume, layer) -> None:
    with torch.no_grad():
        features = model.encoder(volume)
        logits = model(volume)
    with _tail(model, volume, layer) as tail:
        np.testing.assert_allclose(tail.outputs[0].detach(), logits[0], atol=1e-6)
        np.testing.assert_allclose(tail.pooled, features[0, 1:].mean(dim=0), atol=1e-6)


@pytest.mark.parametrize("layer", ["norm1", "norm2"])
def test_one_disease_can_be_asked_for_again_in_any_order_and_by_any_method(
    model, volume, layer
) -> None:
    every = {method: _maps(model, volume, method, layer) for method in METHODS}
    with _tail(model, volume, layer) as tail:
        for disease in (5, 2, 5):
            for method in METHODS:
                again = tail.map(TARGETS[disease], method)
                np.testing.assert_array_equal(again, every[method][disease])


def test_no_weight_gets_a_gradient_even_if_the_model_is_not_frozen(model, volume) -> None:
    model.requires_grad_(True)
    _maps(model, volume)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_no_hook_is_left_on_the_model(model, volume) -> None:
    _maps(model, volume)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_maps_resemble_those_in_fp32(model, volume, dtype) -> None:
    exact = _maps(model, volume)
    half = _maps(model.to(dtype), volume)
    assert half.dtype == np.float32
    for ours, reference in zip(half, exact, strict=True):
        if reference.max() > 0.1 * exact.max():
            assert np.corrcoef(ours.ravel(), reference.ravel())[0, 1] > 0.95


def test_maps_are_normalised_per_volume_and_never_per_slice() -> None:
    maps = np.zeros((2, 3, 2, 2), np.float32)
    maps[0, 0], maps[0, 2, 1, 1] = 0.001, 0.004
    scaled, peaks = normalise(maps)
    np.testing.assert_allclose(scaled[0, 0], 0.25)  # a faint slice stays faint
    assert scaled[0].max() == 1.0
    assert not scaled[1].any()  # no evidence stays no evidence
    np.testing.assert_allclose(peaks, [0.004, 0.0])
    assert scaled.dtype == peaks.dtype == np.float32


def test_maps_far_below_one_are_scaled_too() -> None:
    maps = np.full((1, 2, 2, 2), 1e-30, np.float32)
    assert normalise(maps)[0].max() == 1.0


def test_gradients_that_overflow_half_precision_are_said_so(volume) -> None:
    model = random_model(1, 64, 2, (3, 16, 16), dtype=torch.float16)
    model.head.linear.weight.data.mul_(1000)
    with torch.no_grad():
        tokens = model.encoder.trunk(volume[:, :, :3, :16, :16])
    with (
        CachedTail(model.encoder, model.head, tokens, (1, 1, 1), "norm2") as tail,
        pytest.raises(InputError, match="not finite in this precision"),
    ):
        saliency_maps(tail, TARGETS)
