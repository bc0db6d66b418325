"""A forward pass in fast mode against a full one, on synthetic eyes and a model of few layers.

How much is gained depends on the eye: on how much of its volume is background. What it costs in accuracy,
``python -m train benchmark --fast`` measures.
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import torch

from octcube_core.bench.setup import Figure, Setup
from octcube_core.bench.speed import warm_up
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.models.random_weights import CUBE
from octcube_core.phantom import make_exam
from octcube_core.preprocess import prepare
from octcube_core.tissue import sample_tissue

DEPTH = 3  # every layer takes the same time
EYES = 3
SEED = 0x0C7C_0005
AT_LEAST = 2.0


def measure(setup: Setup) -> tuple[list[Figure], dict[str, Any]]:
    """Time both on each eye in turn, the search for tissue included."""
    depth = min(setup.depth, DEPTH)
    model = setup.model(depth=depth)
    eyes = [prepare(make_exam((SEED, number)), model.card)[0] for number in range(EYES)]
    warm_up(setup, model, eyes[0].to(setup.device, setup.dtype))
    ratios: list[float] = []
    for volume in eyes:
        for _ in range(setup.repeats):
            full = setup.seconds(partial(_full, setup, model, volume))
            ratios.append(full / setup.seconds(partial(_fast, setup, model, volume)))
    figure = Figure(
        f"forward / forward in fast mode, {depth} layers",
        median(ratios),
        "x",
        setup.allowed(AT_LEAST, any_depth=True),
        "at least",
        f"median of {EYES} synthetic eyes",
    )
    kept = [_kept(volume) for volume in eyes]
    return [figure], {"depth": depth, "ratios": ratios, "tokens_kept": kept}


def _full(setup: Setup, model: OCTCubeClassifier, volume: torch.Tensor) -> None:
    with torch.no_grad():
        model.encoder.pooled(volume.to(setup.device))


def _fast(setup: Setup, model: OCTCubeClassifier, volume: torch.Tensor) -> None:
    sample = sample_tissue(volume[0, 0], CUBE)
    if sample is None:
        _full(setup, model, volume)
        return
    keep, weight = sample.index[None].to(setup.device), sample.weight.to(setup.device)
    with torch.no_grad():
        model.encoder.pooled(volume.to(setup.device), keep, weight)


def _kept(volume: torch.Tensor) -> float:
    """Share of the tokens that take part in fast mode."""
    sample = sample_tissue(volume[0, 0], CUBE)
    return 1.0 if sample is None else len(sample.index) / len(sample.stand_in)
