"""Our analysis against the plain way, pytorch-grad-cam on the whole model, of fewer layers and full width.

The plain way is that of textbooks: every weight can be trained, and for each disease the whole model runs forward and
backward. It is measured for one disease and multiplied. Fewer layers favour it, since what our maps cost beyond the
forward pass does not grow with the depth.
"""

from __future__ import annotations

from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from octcube_core.bench.setup import Figure, Setup, analyze_as_asked
from octcube_core.bench.speed import warm_up
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.models.random_weights import DISEASES
from octcube_core.preprocess import prepare
from octcube_core.runtime import precision_label

DEPTH = 8  # what a backward pass keeps of these fits into 4 GB
LAYER = "norm2"
AT_LEAST = 15.0


def measure(setup: Setup) -> tuple[list[Figure], dict[str, Any]]:
    """Time one disease's map the plain way and a whole analysis, in turn."""
    depth = min(setup.depth, DEPTH)
    model, exam = setup.model(depth=depth), setup.exam()
    volume = prepare(exam, model.card)[0].to(setup.device)
    warm_up(setup, model, volume)
    plain_s, ours_s = [], []
    for _ in range(setup.repeats):
        ours_s.append(setup.seconds(lambda: analyze_as_asked(exam, model, LAYER)))
        model.requires_grad_(True)
        plain_s.append(setup.seconds(lambda: plain_map(model, volume, disease=0)))
        model.requires_grad_(False)
    ratio = median(DISEASES * plain / ours for plain, ours in zip(plain_s, ours_s, strict=True))
    details = {
        "depth": depth,
        "layer": LAYER,
        "precision": precision_label(setup.dtype),
        "plain_one_disease_s": median(plain_s),
        "analyze_s": median(ours_s),
        "multiplied_by": DISEASES,
    }
    figure = Figure(
        f"pytorch-grad-cam for {DISEASES} diseases / analyze, {depth} layers, {LAYER}",
        ratio,
        "x",
        setup.allowed(AT_LEAST, any_depth=True) if depth >= DEPTH else None,
        "at least",
        f"the plain way measured for one disease, times {DISEASES}",
    )
    return [figure], details


def plain_map(model: OCTCubeClassifier, volume: torch.Tensor, disease: int) -> NDArray[np.float32]:
    """Grad-CAM++ of one disease, shape (tokens,), by pytorch-grad-cam's hooks on the whole model."""
    from pytorch_grad_cam import GradCAMPlusPlus

    whole = _Whole(model)
    layer = getattr(model.encoder.blocks[-1], LAYER)
    with GradCAMPlusPlus(whole, [layer], reshape_transform=_as_picture) as cam:
        # Its own call does no more than this, but cannot read bf16.
        record = cam.activations_and_grads
        record(volume)[0, 2 * disease + 1].backward()
        activation, gradient = (
            kept[0].float().numpy() for kept in (record.activations, record.gradients)
        )
        weighted = cam.get_cam_image(None, None, None, activation, gradient, False)
    model.zero_grad()
    positive: NDArray[np.float32] = np.maximum(weighted.reshape(-1), 0).astype(np.float32)
    return positive


class _Whole(nn.Module):
    """The classifier with every token going through the last block, and only then their mean."""

    def __init__(self, model: OCTCubeClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model.head(self.model.encoder(volume)[:, 1:].mean(dim=1))
        return logits


def _as_picture(tokens: torch.Tensor) -> torch.Tensor:
    """(1, 1 + tokens, dim) with the class token first -> (1, dim, tokens, 1)."""
    return tokens[:, 1:].transpose(1, 2).unsqueeze(-1)
