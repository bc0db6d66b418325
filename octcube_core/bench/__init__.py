"""How fast, how exact and how large the analysis of an exam is on this machine, with what is allowed.

Seconds say little about another machine or a busy one; so whatever can be is a ratio of two things measured in turn.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import torch

from octcube_core.bench import fast, gpu, memory, plain, precision, speed
from octcube_core.bench.setup import Figure, Setup
from octcube_core.errors import InputError
from octcube_core.models.random_weights import DISEASES, random_model
from octcube_core.progress import OnProgress
from octcube_core.runtime import (
    choose_device,
    choose_precision,
    choose_threads,
    cpu_capabilities,
    device_label,
    precision_label,
)
from octcube_core.token_grid import Triple

__all__ = ["PARTS", "measure", "random_model"]

Part = Callable[[Setup], tuple[list[Figure], dict[str, Any]]]

# Name -> what is measured, and its share of the time on two cores.
PARTS: dict[str, tuple[Part, float]] = {
    "speed": (speed.measure, 5),
    "plain": (plain.measure, 2),
    "fp32": (precision.measure_speed, 1),
    "fast": (fast.measure, 1),
    "precision": (precision.measure_differences, 1),
    "memory": (memory.measure, 2),
    "gpu": (gpu.measure, 1),
}


def measure(
    *,
    parts: Sequence[str] = ("speed",),
    depth: int = 24,
    embed_dim: int = 1024,
    num_heads: int = 16,
    input_shape: Triple = (60, 256, 256),
    precision: str = "auto",
    device: str = "auto",
    repeats: int = 1,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Measure an analysis with a model of random weights; the defaults are OCTCube's ViT-L.

    Parameters
    ----------
    parts : sequence of str
        Keys of ``PARTS``, each described in a module of this package.
    depth, embed_dim, num_heads : int
    input_shape : (frames, height, width)
        Multiples of 3, 16 and 16.
    precision, device : str
        As for ``load_model``.
    repeats : int
        The medians of so many measurements are given.
    on_progress : callable, optional
        Called with a stage and the fraction of the whole that is done.

    Returns
    -------
    dict
        Ready for JSON. ``figures``: all results, each with ``part``, ``name``, ``value``, ``unit``, what is
        ``allowed`` (None where nothing was promised, as for other sizes than a ViT-L's) and whether it is ``ok``. The
        part "speed" also gives ``forward_s``, ``analyze_s``, ``ratio`` and ``stages_s``, for the card's saliency
        layer; the details of other parts stand in ``parts`` under their names. The rest says what was measured on what.

    Raises
    ------
    InputError
        If a part is unknown, the device or precision is not to be had, or the sizes fit no model.
    """
    if repeats < 1:
        raise InputError("Measure at least once (repeats >= 1).")
    if unknown := [name for name in parts if name not in PARTS]:
        raise InputError(f"Unknown part {unknown[0]!r}; known are {', '.join(PARTS)}.")
    target = choose_device(device)
    if target.type == "cpu":
        torch.set_num_threads(choose_threads())
    setup = Setup(
        depth,
        embed_dim,
        num_heads,
        input_shape,
        target,
        choose_precision(precision, target),
        repeats,
    )
    report = _surroundings(setup)
    figures: list[dict[str, Any]] = []
    total, done = sum(PARTS[name][1] for name in parts), 0.0
    for name in parts:
        if on_progress is not None:
            on_progress(f"Measuring {name}", done / total)
        found, details = PARTS[name][0](setup)
        figures += [{"part": name, **figure.to_dict()} for figure in found]
        if name == "speed":
            report |= details
        else:
            report["parts"][name] = details
        done += PARTS[name][1]
    return {**report, "figures": figures}


def _surroundings(setup: Setup) -> dict[str, Any]:
    has = cpu_capabilities()
    return {
        "model": {
            "depth": setup.depth,
            "embed_dim": setup.embed_dim,
            "num_heads": setup.num_heads,
        },
        "input_shape": list(setup.input_shape),
        "diseases": DISEASES,
        "repeats": setup.repeats,
        "device": device_label(setup.device),
        "precision": precision_label(setup.dtype),
        "threads": torch.get_num_threads(),
        "cpu": {name: has.get(name) for name in ("cpu_name", "amx_bf16", "avx512_bf16")},
        # Above the number of threads, something else was running too.
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "torch": torch.__version__,
        "parts": {},
    }
