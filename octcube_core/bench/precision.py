"""What half precision gains and costs: speed against fp32, and how far probabilities move."""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from octcube_core.bench.setup import Figure, Setup
from octcube_core.checkpoints.zoo import load_model
from octcube_core.exam import Exam
from octcube_core.models.heads import disease_probabilities
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.phantom import make_exam
from octcube_core.preprocess import prepare
from octcube_core.runtime import cpu_capabilities

DEPTH = 4  # every layer takes the same time
FASTER_WITH_AMX = 3.0
EYES = 50
MOST_DIFFERENCE = 0.01
SEED = 0x0C7C_0004  # of eyes that nothing else looks at


def measure_speed(setup: Setup) -> tuple[list[Figure], dict[str, Any]]:
    """Time forward passes in fp32 and bf16, in turn, on a model of few layers."""
    depth = min(setup.depth, DEPTH)
    models = {
        dtype: setup.model(depth=depth, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)
    }
    volume = prepare(setup.exam(), models[torch.float32].card)[0].to(setup.device)
    seconds: dict[torch.dtype, list[float]] = {dtype: [] for dtype in models}
    with torch.no_grad():
        for model in models.values():
            _first_block(model, volume)
        for _ in range(setup.repeats):
            for dtype, model in models.items():
                seconds[dtype].append(setup.seconds(partial(model, volume)))
    single, half = seconds[torch.float32], seconds[torch.bfloat16]
    has_amx = setup.device.type == "cpu" and bool(cpu_capabilities().get("amx_bf16"))
    figure = Figure(
        f"forward in fp32 / forward in bf16, {depth} layers",
        median(a / b for a, b in zip(single, half, strict=True)),
        "x",
        setup.allowed(FASTER_WITH_AMX, any_depth=True) if has_amx else None,
        "at least",
        "" if has_amx else "promised for CPUs with AMX only",
    )
    return [figure], {"depth": depth, "fp32_s": median(single), "bf16_s": median(half)}


def _first_block(model: OCTCubeClassifier, volume: torch.Tensor) -> None:
    model.encoder.blocks[0](model.encoder.embed(volume))


def measure_differences(setup: Setup) -> tuple[list[Figure], dict[str, Any]]:
    """Compare the demo model's probabilities of synthetic eyes in half precision with those in fp32."""
    differences = probability_differences(setup.device, EYES)
    figures = [
        Figure(
            f"largest probability difference, {name} to fp32, {EYES} eyes",
            float(values.max()),
            "",
            MOST_DIFFERENCE,
        )
        for name, values in differences.items()
    ]
    details = {
        name: {"max": float(values.max()), "mean": float(values.mean())}
        for name, values in differences.items()
    }
    return figures, {"model": "demo", "eyes": EYES, **details}


def probability_differences(device: torch.device, eyes: int) -> dict[str, NDArray[np.float32]]:
    """By half precision: |difference to fp32| of the demo model's probabilities, shape (eyes, diseases).

    bf16 everywhere, fp16 on GPUs, as fp16 is too slow on CPUs to be of use.
    """
    halves = ["bf16"] + ["fp16"] * (device.type != "cpu")
    models: dict[str, Any] = {
        name: load_model("demo", device=str(device), precision=name) for name in ["fp32", *halves]
    }
    found: dict[str, list[Any]] = {name: [] for name in models}
    for number in range(eyes):
        exam = make_exam((SEED, number))
        for name, model in models.items():
            found[name].append(_probabilities(model, exam, device))
    exact = np.stack(found.pop("fp32"))
    return {name: np.abs(np.stack(values) - exact) for name, values in found.items()}


def _probabilities(
    model: OCTCubeClassifier, exam: Exam, device: torch.device
) -> NDArray[np.float32]:
    volume = prepare(exam, model.card)[0].to(device)
    with torch.no_grad():
        logits = model(volume)
    found: NDArray[np.float32] = (
        disease_probabilities(logits, model.card.temperature)[0].cpu().numpy()
    )
    return found
