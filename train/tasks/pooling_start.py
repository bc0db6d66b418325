"""The start of a pooling by cosines: its features are standardised by those of the first batch of all processes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import distributed

from octcube_core.models.coep import COEPModel, PooledTower
from octcube_core.models.cosine_pooling import CosinePooling
from train.data.store import OCT
from train.engine.distributed import world_size

# Of one modality: its exams' volumes or images, and the tokens to keep of each, if not all.
Inputs = dict[str, tuple[torch.Tensor, torch.Tensor | None]]


@torch.no_grad()
def measure_poolings(model: COEPModel, parts: Iterable[Inputs]) -> None:
    """Standardise the features of both towers' poolings by the inputs of all parts and of all processes.

    A modality with fewer than two exams is left as it is.
    """
    sums: dict[str, torch.Tensor] = {}
    for name in (OCT, *model.modalities):
        like = _pooling(model, name).center[0]
        sums[name] = torch.zeros(3, len(like), dtype=torch.float64, device=like.device)
    for inputs in parts:
        for name, (value, keep) in inputs.items():
            if len(value):
                features = _features(model, name, value, keep).double()
                powers = [features**power for power in range(3)]
                sums[name] += torch.stack([each.sum(dim=0) for each in powers])
    for name, total in sums.items():
        if world_size() > 1:
            distributed.all_reduce(total)
        count, first, second = total
        if count[0] < 2:
            continue
        mean = first / count
        variance = (second / count - mean.square()).clamp(min=0) * count / (count - 1)
        kind = 0 if name == OCT else model.modality_number(name)
        _pooling(model, name).measured(kind, mean.float(), variance.sqrt().float())


def _tower(model: COEPModel, name: str) -> PooledTower:
    return model.oct_tower if name == OCT else model.enface_tower


def _pooling(model: COEPModel, name: str) -> CosinePooling:
    pooling = _tower(model, name).pooling
    assert pooling is not None
    return pooling


def _features(
    model: COEPModel, name: str, value: torch.Tensor, keep: torch.Tensor | None
) -> torch.Tensor:
    tower, pooling = _tower(model, name), _pooling(model, name)
    grid = tower.encoder.grid(value)
    return tower.encoder.pooled(
        value, keep, pooling=lambda tokens: pooling.features(tokens, grid, keep)
    )
