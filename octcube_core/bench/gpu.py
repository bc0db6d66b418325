"""Attention backends and torch.compile compared on a CUDA GPU; elsewhere this part is skipped.

Backends are those of ``attention_backend``. Compiled means every block but the last: they are alike, so one
compilation serves them all; the last is what saliency differentiates.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from statistics import median
from typing import Any

import torch

from octcube_core.bench.setup import Figure, Setup, analyze_as_asked
from octcube_core.bench.speed import warm_up
from octcube_core.errors import OCTCubeError
from octcube_core.models.attention import ATTENTION_BACKENDS, attention_backend
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.preprocess import prepare

LAYERS = ("norm2", "norm1")
LEAST_REPEATS = 5  # a GPU is quick


def measure(setup: Setup) -> tuple[list[Figure], dict[str, Any]]:
    """Time forward pass and analysis with each backend, then compiled, against the backend "auto"."""
    if setup.device.type != "cuda":
        return [], {"skipped": "no CUDA GPU is used"}
    details = compare(setup)
    return _figures(details), details


def compare(setup: Setup, *, compiled: bool = True) -> dict[str, dict[str, Any]]:
    """Median seconds by backend; one that cannot run here says why under "failed"."""
    model = setup.model()
    volume = prepare(setup.exam(), model.card)[0].to(setup.device)
    found = {
        name: _tried(partial(attention_backend, name), setup, model, volume)
        for name in ATTENTION_BACKENDS
    }
    if compiled:
        for block in model.encoder.blocks[:-1]:
            block.compile()
        found["auto, compiled"] = _tried(partial(attention_backend, "auto"), setup, model, volume)
    return found


def _tried(
    backend: Callable[[], AbstractContextManager[None]],
    setup: Setup,
    model: OCTCubeClassifier,
    volume: torch.Tensor,
) -> dict[str, Any]:
    """Median seconds of each kind of work, or why there are none."""
    try:
        with backend():
            return _seconds(setup, model, volume)
    # A compiler or a foreign kernel fails in many ways, and the others can still be compared.
    except (OCTCubeError, RuntimeError, ImportError) as error:
        return {"failed": " ".join(str(error).split())[:200]}


def _seconds(setup: Setup, model: OCTCubeClassifier, volume: torch.Tensor) -> dict[str, Any]:
    exam = setup.exam()
    work: dict[str, Callable[[], object]] = {"forward_s": lambda: _forward(model, volume)}
    for layer in LAYERS:
        work[f"analyze_{layer}_s"] = partial(analyze_as_asked, exam, model, layer)
    warm_up(setup, model, volume)
    found: dict[str, list[float]] = {name: [] for name in work}
    for run in range(1 + max(LEAST_REPEATS, setup.repeats)):
        for name, do in work.items():
            seconds = setup.seconds(do)
            if run:  # the first compiles and chooses kernels
                found[name].append(seconds)
    return {name: median(values) for name, values in found.items()}


def _forward(model: OCTCubeClassifier, volume: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        logits: torch.Tensor = model(volume)
    return logits


def _figures(details: dict[str, dict[str, Any]]) -> list[Figure]:
    """Times over those of "auto": below 1 is faster than what is used by default."""
    auto = details["auto"]
    return [
        Figure(f"{what.removesuffix('_s')} with {name} / with auto", seconds / auto[what], "x")
        for name, found in details.items()
        if name != "auto" and "failed" not in found | auto
        for what, seconds in found.items()
    ]
