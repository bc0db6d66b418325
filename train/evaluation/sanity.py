"""The sanity check of Adebayo et al., arXiv:1810.03292: maps must not survive when a model forgets what it learnt.

Weights are made random from the output backwards, and the maps of each stage compared with those of the trained
model. A map that stays the same shows the image, not what the model makes of it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from octcube_core.models.family import network
from octcube_core.models.octcube import OCTCubeClassifier

# What is random at each stage, the earlier ones included.
STAGES = ("head", "head and last block", "all weights")


def randomised(model: OCTCubeClassifier, seed: int) -> Iterator[tuple[str, OCTCubeClassifier]]:
    """The cascade, stage by stage: a copy of the model, with more of its weights as a new model has them.

    Every stage gives the same copy, so use one before asking for the next. The same seed gives the same weights on
    every device.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = network(model.card).state_dict()
    copied = copy.deepcopy(model)
    weights = copied.state_dict()
    last_block = f"encoder.blocks.{len(model.encoder.blocks) - 1}."
    for stage, part in zip(STAGES, ("head.", last_block, ""), strict=True):
        for name, tensor in weights.items():
            if name.startswith(part):
                tensor.copy_(fresh[name])
        yield stage, copied


def rank_correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    """Spearman's rank correlation of two maps; 0 if one of them is even and so ranks nothing."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return 0.0
    return float(spearmanr(first, second, axis=None).statistic)
