"""An analysis against one plain forward pass, at both norms that saliency can look at.

Grad-CAM++ throughout. Everything is measured in turn on the same exam. A forward pass is run in its two halves, trunk
and tail, so that the trunk's tokens are there for the maps that come from the cached tail.
"""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from statistics import median
from typing import Any

import torch

from octcube_core.bench.setup import METHOD, Figure, Setup, analyze_as_asked
from octcube_core.checkpoints.card import SALIENCY_LAYERS
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.models.random_weights import CUBE, DISEASES
from octcube_core.preprocess import prepare
from octcube_core.runtime import synchronise
from octcube_core.saliency import CachedTail, disease_logit

# Times of an analysis over that of a forward pass; nothing was promised for one map.
ALLOWED = {"norm1": 2.2, "norm2": 1.15}
ALLOWED_LATER = {"norm2": 0.03}

Ratios = dict[str, list[float]]  # by layer, one of each repeat


def measure(setup: Setup) -> tuple[list[Figure], dict[str, Any]]:
    """Time forward passes, analyses with eight maps and with one, and another map later."""
    model, exam = setup.model(), setup.exam()
    prepared, grid = prepare(exam, model.card)
    volume = prepared.to(setup.device, setup.dtype)
    warm_up(setup, model, volume)
    forward: list[float] = []
    analysis: Ratios = defaultdict(list)
    ratios: dict[str, Ratios] = {name: defaultdict(list) for name in ("all", "one", "later")}
    stages: dict[str, dict[str, float]] = {}
    for _ in range(setup.repeats):
        trunk_s, rest_s, tokens = _forward(setup, model, volume)
        forward.append(trunk_s + rest_s)
        for layer in reversed(SALIENCY_LAYERS):
            analysis[layer].append(setup.seconds(partial(_analyze, exam, model, layer, stages)))
            first_s, later_s = _tail(setup, model, tokens, grid.shape, layer)
            one_s = stages[layer]["preprocess"] + trunk_s + first_s
            for name, seconds in (("all", analysis[layer][-1]), ("one", one_s), ("later", later_s)):
                ratios[name][layer].append(seconds / forward[-1])
    layer = model.card.saliency_layer
    details = {
        "saliency": METHOD,
        "layer": layer,
        "forward_s": median(forward),
        "analyze_s": median(analysis[layer]),
        "ratio": median(ratios["all"][layer]),
        "stages_s": stages[layer],
    }
    return _figures(setup, ratios), details


def warm_up(setup: Setup, model: OCTCubeClassifier, volume: torch.Tensor) -> None:
    """Load libraries and choose kernels: tiny analyses, then the large model's first block."""
    tiny = Setup(1, 64, 1, CUBE, setup.device, setup.dtype, 1)
    for layer in SALIENCY_LAYERS:
        analyze_as_asked(tiny.exam(), tiny.model(), layer)
    encoder = model.encoder
    with torch.no_grad():
        encoder.blocks[0](encoder.embed(volume))
    synchronise(setup.device)


def _forward(
    setup: Setup, model: OCTCubeClassifier, volume: torch.Tensor
) -> tuple[float, float, torch.Tensor]:
    """Seconds of the trunk and of what follows, and the tokens between."""
    encoder, between = model.encoder, []
    with torch.no_grad():
        trunk_s = setup.seconds(lambda: between.append(encoder.trunk(volume)))
        rest_s = setup.seconds(lambda: model.head(encoder.pool(encoder.attend(between[0]))))
    return trunk_s, rest_s, between[0]


def _analyze(exam: Any, model: OCTCubeClassifier, layer: str, stages: dict[str, Any]) -> None:
    stages[layer] = analyze_as_asked(exam, model, layer).timings_s


def _tail(
    setup: Setup, model: OCTCubeClassifier, tokens: torch.Tensor, grid: Any, layer: str
) -> tuple[float, float]:
    """Seconds until the first map, from the trunk's tokens on, and of every map after it."""
    opened: list[CachedTail] = []

    def first() -> None:
        opened.append(CachedTail(model.encoder, model.head, tokens, grid, layer))
        opened[0].map(disease_logit(0), METHOD)

    first_s = setup.seconds(first)
    with opened[0] as tail:
        later_s = [
            setup.seconds(partial(tail.map, disease_logit(disease), METHOD))
            for disease in range(1, DISEASES)
        ]
    return first_s, median(later_s)


def _figures(setup: Setup, ratios: dict[str, Ratios]) -> list[Figure]:
    figures = []
    for layer in reversed(SALIENCY_LAYERS):
        limit, later = ALLOWED[layer], ALLOWED_LATER.get(layer)
        figures += [
            Figure(
                f"analyze with {DISEASES} maps at {layer} / forward",
                median(ratios["all"][layer]),
                "x",
                setup.allowed(limit),
            ),
            Figure(
                f"analyze with one map at {layer} / forward",
                median(ratios["one"][layer]),
                "x",
                note="preparation, trunk, tail and one map, added up",
            ),
            Figure(
                f"another map later at {layer} / forward",
                median(ratios["later"][layer]),
                "x",
                None if later is None else setup.allowed(later),
            ),
        ]
    return figures
