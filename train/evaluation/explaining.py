"""Every saliency map of an eye, by several methods at several layers, from one pass through the trunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from octcube_core.exam import Exam
from octcube_core.models.heads import disease_probabilities
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.preprocess import prepare
from octcube_core.saliency import CachedTail, disease_logit, saliency_maps
from octcube_core.token_grid import TokenGrid, Triple


class Explainer(NamedTuple):
    """How maps are made: a key of ``SALIENCY_METHODS``, at a norm of the last block."""

    method: str
    layer: str


Maps = dict[Explainer, NDArray[np.float32]]  # each of shape (disease, z, y, x), unscaled


@dataclass(frozen=True, eq=False)
class ExplainedEye:
    """What a model says of an eye, and why.

    Attributes
    ----------
    volume : tensor, shape (1, 1, frames, height, width)
        The model's input, on its device in its precision.
    tokens : tensor, shape (1, 1 + tokens, dim)
        Before the last block.
    grid : TokenGrid
    probabilities : float32 array, shape (all diseases of the model,)
    maps : dict of Explainer to array
        Of the diseases that were asked about.
    """

    volume: torch.Tensor
    tokens: torch.Tensor
    grid: TokenGrid
    probabilities: NDArray[np.float32]
    maps: Maps


def explain_exam(
    exam: Exam,
    model: OCTCubeClassifier,
    diseases: Sequence[int],
    explainers: Sequence[Explainer],
) -> ExplainedEye:
    """Score an exam and explain some of the model's diseases by every explainer."""
    parameter = next(model.parameters())
    prepared, grid = prepare(exam, model.card)
    volume = prepared.to(parameter.device)
    with torch.no_grad():
        tokens = model.encoder.trunk(volume)
    logits, maps = explain_tokens(model, tokens, grid.shape, diseases, explainers)
    probabilities = disease_probabilities(logits[0].cpu(), model.card.temperature).numpy()
    return ExplainedEye(volume, tokens, grid, probabilities, maps)


def explain_tokens(
    model: OCTCubeClassifier,
    tokens: torch.Tensor,
    grid: Triple,
    diseases: Sequence[int],
    explainers: Sequence[Explainer],
) -> tuple[torch.Tensor, Maps]:
    """Logits, shape (1, 2 * diseases), and maps from ``trunk``'s tokens; the logits are those of the first layer."""
    logits: torch.Tensor | None = None
    maps: Maps = {}
    targets = [disease_logit(disease) for disease in diseases]
    for layer in dict.fromkeys(explainer.layer for explainer in explainers):
        with CachedTail(model.encoder, model.head, tokens, grid, layer) as tail:
            logits = tail.outputs.detach() if logits is None else logits
            for explainer in explainers if targets else ():
                if explainer.layer == layer:
                    maps[explainer] = saliency_maps(tail, targets, explainer.method)
    assert logits is not None
    return logits, maps
