"""What every part of the benchmark shares: the model's sizes, a clock, a figure with what is allowed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from octcube_core.analysis import analyze
from octcube_core.errors import OCTCubeError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.models.family import Model
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.models.random_weights import random_model
from octcube_core.results import Analysis
from octcube_core.runtime import synchronise
from octcube_core.token_grid import Triple

VIT_LARGE = 1024, 16, (60, 256, 256)
VIT_LARGE_DEPTH = 24
METHOD = "gradcam++"


@dataclass(frozen=True)
class Setup:
    """The model to measure and where; ``repeats`` is how often."""

    depth: int
    embed_dim: int
    num_heads: int
    input_shape: Triple
    device: torch.device
    dtype: torch.dtype
    repeats: int

    def model(
        self, *, depth: int | None = None, dtype: torch.dtype | None = None
    ) -> OCTCubeClassifier:
        """A model of these sizes with random weights."""
        return random_model(
            depth or self.depth,
            self.embed_dim,
            self.num_heads,
            self.input_shape,
            device=self.device,
            dtype=dtype or self.dtype,
        )

    def exam(self) -> Exam:
        """An exam of noise that needs no resizing."""
        return random_exam(self.input_shape)

    def seconds(self, work: Callable[[], object]) -> float:
        """Time of some work, with the GPU's awaited."""
        start = time.perf_counter()
        work()
        synchronise(self.device)
        return time.perf_counter() - start

    def allowed(self, value: float, *, any_depth: bool = False) -> float | None:
        """A limit that was promised for a ViT-L: None for other sizes."""
        is_large = (self.embed_dim, self.num_heads, tuple(self.input_shape)) == VIT_LARGE
        return value if is_large and (any_depth or self.depth == VIT_LARGE_DEPTH) else None


@dataclass(frozen=True)
class Figure:
    """One result; ``allowed`` is the most (or the least) that it may be, None where nothing was promised."""

    name: str
    value: float
    unit: Literal["x", "GB", "s", "ms", "items/s", ""]
    allowed: float | None = None
    bound: Literal["at most", "at least"] = "at most"
    note: str = ""

    @property
    def ok(self) -> bool | None:
        """Whether the promise is kept; None without one."""
        if self.allowed is None:
            return None
        return self.value <= self.allowed if self.bound == "at most" else self.value >= self.allowed

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "ok": self.ok}


def analyze_as_asked(exam: Exam, model: Model, layer: str) -> Analysis:
    """``analyze`` with the maps of ``METHOD``; OCTCubeError if it had to run otherwise than the figure claims."""
    analysis = analyze(exam, model, saliency=METHOD, layer=layer)
    if analysis.run_notes:
        raise OCTCubeError(f"The figure cannot be measured: {analysis.run_notes[0]}")
    return analysis


def random_exam(shape: Triple) -> Exam:
    """An exam of noise of (bscans, depth, width) voxels, the same every time."""
    voxels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    return Exam(OCTVolume(voxels), format="synthetic")
