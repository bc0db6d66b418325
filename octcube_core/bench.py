"""How fast an analysis is against one plain forward pass, measured on a large model of random weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch

from octcube_core.analysis import analyze
from octcube_core.checkpoints.card import Architecture, Label, ModelCard
from octcube_core.errors import InputError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.preprocess import prepare
from octcube_core.runtime import (
    choose_device,
    choose_precision,
    choose_threads,
    device_label,
    precision_label,
    synchronise,
)
from octcube_core.token_grid import Triple

CUBE = (3, 16, 16)
DISEASES = 8


def measure(
    *,
    depth: int = 24,
    embed_dim: int = 1024,
    num_heads: int = 16,
    input_shape: Triple = (60, 256, 256),
    precision: str = "auto",
    device: str = "auto",
    repeats: int = 1,
) -> dict[str, Any]:
    """Time a forward pass and a whole analysis of the same exam, in turn; the defaults are OCTCube's ViT-L.

    Parameters
    ----------
    depth, embed_dim, num_heads : int
    input_shape : (frames, height, width)
        Multiples of 3, 16 and 16.
    precision, device : str
        As for ``load_model``.
    repeats : int
        The medians of so many measurements are given.

    Returns
    -------
    dict
        Ready for JSON. ``forward_s``: the model's forward pass on a prepared input, without gradients.
        ``analyze_s``: ``analyze`` from the exam on, that is preprocessing, scores, the maps of all eight diseases and
        the embedding. ``ratio``: the median over the repeats of analyze / forward. ``stages_s``: the latest analysis.

    Raises
    ------
    InputError
        If the device or precision is not to be had, or the sizes fit no model.
    """
    if repeats < 1:
        raise InputError("Measure at least once (repeats >= 1).")
    target = choose_device(device)
    dtype = choose_precision(precision, target)
    if target.type == "cpu":
        torch.set_num_threads(choose_threads())
    model = random_model(depth, embed_dim, num_heads, input_shape, device=target, dtype=dtype)
    exam = _random_exam(input_shape)
    volume = prepare(exam, model.card)[0].to(target, dtype)
    _warm_up(model, volume)

    forward, analysis = [], []
    stages: dict[str, float] = {}
    for _ in range(repeats):
        with torch.no_grad():
            forward.append(_seconds(lambda: model(volume), target))
        start = time.perf_counter()
        stages = analyze(exam, model).timings_s
        analysis.append(time.perf_counter() - start)
    return {
        "model": {"depth": depth, "embed_dim": embed_dim, "num_heads": num_heads},
        "input_shape": list(input_shape),
        "diseases": DISEASES,
        "forward_s": median(forward),
        "analyze_s": median(analysis),
        "ratio": median(a / f for a, f in zip(analysis, forward, strict=True)),
        "stages_s": stages,
        "repeats": repeats,
        "device": device_label(target),
        "precision": precision_label(dtype),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def random_model(
    depth: int,
    embed_dim: int,
    num_heads: int,
    input_shape: Triple,
    *,
    final_residual: bool = False,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> OCTCubeClassifier:
    """A classifier of eight diseases with known architecture and random weights, ready for inference.

    Every parameter is random, those of the norms too, so that no product is trivial. The same sizes give the same
    weights. Raises InputError if the sizes fit no model.
    """
    card = _card(depth, embed_dim, num_heads, input_shape, final_residual)
    device = device or torch.device("cpu")
    with torch.device("meta"):
        model = OCTCubeClassifier(card)
    model = model.to(dtype).to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for name, parameter in model.named_parameters():
        is_scale = parameter.ndim == 1 and name.endswith("weight")
        spread = 0.02 if parameter.ndim == 1 else parameter[0].numel() ** -0.5
        parameter.normal_(float(is_scale), spread, generator=generator)
    return model


def _card(
    depth: int, embed_dim: int, num_heads: int, input_shape: Triple, final_residual: bool
) -> ModelCard:
    if depth < 1 or num_heads < 1 or embed_dim < 1 or embed_dim % num_heads:
        raise InputError(
            f"No model has depth {depth} and {num_heads} heads for {embed_dim} features."
        )
    if len(input_shape) != 3 or any(
        size < 1 or size % cube for size, cube in zip(input_shape, CUBE, strict=True)
    ):
        raise InputError(f"The cubes of {CUBE} do not divide an input of {tuple(input_shape)}.")
    z, y, x = (size // cube for size, cube in zip(input_shape, CUBE, strict=True))
    architecture = Architecture(
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        cube=CUBE,
        grid=(z, y, x),
        mlp_dim=4 * embed_dim,
        outputs=2 * DISEASES,
        final_residual=final_residual,
    )
    labels = tuple(Label(f"Disease {number}", f"D{number}") for number in range(1, DISEASES + 1))
    return ModelCard("Random weights", "0", architecture, labels, synthetic=True)


def _random_exam(shape: Triple) -> Exam:
    voxels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Exam(OCTVolume(voxels), format="synthetic")


def _warm_up(model: OCTCubeClassifier, volume: torch.Tensor) -> None:
    """Load libraries and choose kernels: a tiny analysis, then the large model's first block."""
    tiny = random_model(1, 64, 1, CUBE, device=volume.device, dtype=volume.dtype)
    analyze(_random_exam(CUBE), tiny)
    encoder = model.encoder
    with torch.no_grad():
        encoder.blocks[0](encoder.embedding(volume))
    synchronise(volume.device)


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start
