"""Our maps are those of pytorch-grad-cam run plainly on the whole model, and leave no trace on it."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from pytorch_grad_cam import GradCAMPlusPlus, HiResCAM

from octcube_core.bench import random_model
from octcube_core.saliency import CachedTail, disease_maps, normalise

GRID = (4, 2, 3)
SHAPE = (12, 32, 48)


@pytest.fixture(params=[False, True], ids=["released", "final_residual"])
def model(request):
    return random_model(3, 64, 2, SHAPE, final_residual=request.param)


@pytest.fixture
def volume() -> torch.Tensor:
    return torch.rand(1, 1, *SHAPE, generator=torch.Generator().manual_seed(1))


def _tokens(model, volume: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model.encoder.trunk(volume.to(model.head.linear.weight.dtype))


def _maps(model, volume: torch.Tensor, method: str = "gradcam++") -> np.ndarray:
    with CachedTail(model, _tokens(model, volume), GRID, method) as tail:
        return disease_maps(tail, 8)


def _plain_maps(model, volume: torch.Tensor, method_class=GradCAMPlusPlus) -> np.ndarray:
    """The whole model forward and backward for every disease, with pytorch-grad-cam's own hooks."""
    model = copy.deepcopy(model).requires_grad_(True)

    def to_volume(tokens: torch.Tensor) -> torch.Tensor:
        return tokens[:, 1:].permute(0, 2, 1).reshape(1, -1, *GRID)

    maps = []
    cam = method_class(model, [model.encoder.blocks[-1].norm1], reshape_transform=to_volume)
    for disease in range(8):
        model.zero_grad()
        recorded = cam.activations_and_grads
        recorded(volume)[0, 2 * disease + 1].backward()
        activation, gradient = recorded.activations[0].numpy(), recorded.gradients[0].numpy()
        maps.append(cam.get_cam_image(volume, None, None, activation, gradient, False)[0])
    cam.activations_and_grads.release()
    return np.maximum(np.stack(maps), 0)


@pytest.mark.parametrize(
    ("method", "method_class"), [("gradcam++", GradCAMPlusPlus), ("hirescam", HiResCAM)]
)
def test_equal_to_pytorch_grad_cam_on_the_whole_model(model, volume, method, method_class) -> None:
    ours, plain = _maps(model, volume, method), _plain_maps(model, volume, method_class)
    assert (plain.max(axis=(1, 2, 3)) > 0).sum() >= 4  # there is something to compare
    np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-5)
    np.testing.assert_allclose(ours, plain, rtol=0, atol=1e-4 * plain.max())
    assert ours.dtype == np.float32
    assert ours.shape == (8, *GRID)
    assert (ours >= 0).all()


def test_logits_and_embedding_come_from_the_same_pass(model, volume) -> None:
    with torch.no_grad():
        features = model.encoder(volume)
        logits = model(volume)
    with CachedTail(model, _tokens(model, volume), GRID) as tail:
        np.testing.assert_allclose(tail.logits, logits[0], atol=1e-6)
        np.testing.assert_allclose(tail.embedding, features[0, 1:].mean(dim=0), atol=1e-6)


def test_one_disease_can_be_asked_for_again_in_any_order(model, volume) -> None:
    every = _maps(model, volume)
    with CachedTail(model, _tokens(model, volume), GRID) as tail:
        for disease in (5, 2, 5):
            np.testing.assert_array_equal(tail.disease_map(disease), every[disease])


def test_no_weight_gets_a_gradient_even_if_the_model_is_not_frozen(model, volume) -> None:
    model.requires_grad_(True)
    _maps(model, volume)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_the_hooks_are_gone_also_after_an_error(model, volume) -> None:
    def stop(done: int, total: int) -> None:
        raise IndexError("pytorch-grad-cam's own context manager would swallow this")

    norm = model.encoder.blocks[-1].norm1
    with CachedTail(model, _tokens(model, volume), GRID) as tail:
        assert norm._forward_hooks
        with pytest.raises(IndexError):
            disease_maps(tail, 8, stop)
    assert not norm._forward_hooks
    tail = CachedTail(model, _tokens(model, volume), GRID)
    with pytest.raises(IndexError), tail:
        stop(0, 8)
    assert not norm._forward_hooks
    with pytest.raises(RuntimeError):
        CachedTail(model, torch.zeros(1, 25, 99), GRID)
    assert not norm._forward_hooks


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
