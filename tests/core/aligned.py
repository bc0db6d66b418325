"""An aligned model, and an analysis by one: no diseases, a similarity and a regression value, a map of the IR image."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch

from octcube_core.checkpoints.card import Alignment, Architecture, ModelCard, Target
from octcube_core.exam import BScanLocations, EnFaceImage, Exam
from octcube_core.models.coep import COEPModel
from octcube_core.models.random_weights import random_card
from octcube_core.results import Analysis, EnFaceSaliency, Measurement
from octcube_core.token_grid import PatchGrid

SIMILARITY, GROWTH = "OCT~IR", "GA growth"


def aligned_model(shape: tuple[int, int, int]) -> COEPModel:
    """A small model of volumes of a shape and IR images of 64 x 64, with a regression head; always the same."""
    torch.manual_seed(0)
    volume = random_card(2, 64, 2, shape).architecture
    image = Architecture(
        48, 2, 2, (3, 16, 16), (1, 4, 4), 96, outputs=0, final_residual=True, planar=True
    )
    card = ModelCard(
        "aligned",
        "1",
        dataclasses.replace(volume, outputs=0),
        alignment=Alignment(image, ("IR",), 16, regression_hidden=8),
        targets=(Target("Growth", "GR", "mm/a"),),
    )
    return COEPModel(card).eval().requires_grad_(False)


def aligned_analysis(analysis: Analysis) -> Analysis:
    """The similarity sees token (1, 0, 2) of the volume and the right upper patch of the image; growth, nothing."""
    maps = np.zeros((2, 2, 2), np.float32)
    maps[0, 0, 1] = 1.0
    # Of an IR image of 50 x 60 the model sees the middle 50 x 50, as 2 x 2 patches of 16 pixels of its input.
    grid = PatchGrid((50, 60), (32, 38), (32, 32), (16, 16))
    return dataclasses.replace(
        analysis,
        scores=(),
        normal_probability=None,
        measurements=(
            Measurement("Similarity of OCT and IR", SIMILARITY, 0.3125),
            Measurement("Growth of the atrophy", GROWTH, 1.5, "mm²/year"),
        ),
        saliency=np.stack([analysis.saliency[0], np.zeros_like(analysis.saliency[0])]),
        saliency_peak=np.array([0.5, 0.0], np.float32),
        embeddings={"OCT": np.ones(8, np.float32), "IR": np.zeros(6, np.float32)},
        enface={"IR": EnFaceSaliency(maps, np.array([0.25, 0.0], np.float32), grid)},
        run_notes=("Ran on the CPU, as the GPU's memory was full.",),
    )


def bare_analysis(analysis: Analysis) -> Analysis:
    """By an encoder: an embedding and nothing else."""
    return dataclasses.replace(
        analysis,
        scores=(),
        normal_probability=None,
        saliency=np.zeros((0, *analysis.saliency.shape[1:]), np.float32),
        saliency_peak=np.zeros(0, np.float32),
        embeddings={"OCT": np.ones(8, np.float32)},
    )


def with_lines(exam: Exam, lines: list[np.ndarray], image: EnFaceImage | None = None) -> Exam:
    """The exam with its B-scans placed on an image of 120 x 160."""
    picture = image or EnFaceImage(np.full((120, 160), 100, np.uint8), "IR", (0.01, 0.01))
    return dataclasses.replace(exam, enface=(picture,), locations=BScanLocations(tuple(lines)))


def raster_lines(upwards: bool = False) -> list[np.ndarray]:
    """Eight horizontal lines from column 30 to 125, ten rows apart from row 20 on."""
    rows = [20.0 + 10 * number for number in range(8)]
    lines = [np.array([[row, 30.0], [row, 125.0]]) for row in rows]
    return lines[::-1] if upwards else lines
