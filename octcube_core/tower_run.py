"""One tower run on one exam, up to where results are read and explained."""

from __future__ import annotations

from collections.abc import Callable

import torch

from octcube_core.objectives import Tower
from octcube_core.saliency import CachedTail


def run_tower(
    tower: Tower, device: torch.device, layer: str, on_block: Callable[[], None] | None = None
) -> CachedTail:
    """Run a tower, in fast mode on its sample of tokens.

    ``layer`` is the last block's norm that saliency is to look at; ``on_block`` is called after every block.
    """
    sample, keep, weight = tower.sample, None, None
    if sample is not None:
        keep, weight = sample.index[None].to(device), sample.weight.to(device)

    def told(_done: int, _total: int) -> None:
        if on_block is not None:
            on_block()

    with torch.no_grad():
        tokens = tower.encoder.trunk(tower.volume.to(device), told, keep=keep, weight=weight)
    grid = tower.grid.shape
    layers = grid[0] if tower.by_layer else None
    pooling = tower.pooling(device)
    return CachedTail(tower.encoder, tower.project, tokens, grid, layer, sample, layers, pooling)
