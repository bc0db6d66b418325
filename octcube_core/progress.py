"""How far an analysis is, for whoever waits, and how long its stages took."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import torch

from octcube_core.checkpoints.card import ModelCard
from octcube_core.objectives import Tower
from octcube_core.runtime import synchronise

OnProgress = Callable[[str, float], None]

# Time of one map over that of one block, measured on a ViT-L.
MAP_COST = {"norm1": 1.3, "norm2": 0.3}


class Progress:
    """Counts the analysis in blocks' worth of work."""

    def __init__(self, on_progress: OnProgress | None, card: ModelCard, layer: str) -> None:
        self._on_progress = on_progress
        self._maps = len(card.labels) + len(card.targets)
        self._map_cost = MAP_COST[layer]
        self._done, self._total = 0.0, 1.0
        self._before = 0.0  # the fraction that earlier tries reached

    def expect(self, towers: Sequence[Tower]) -> None:
        """Say what is to be done."""
        similarities = len(towers) - 1
        maps = len(towers) * (self._maps + similarities)
        depth = sum(tower.encoder.architecture.depth for tower in towers)
        self._total = depth + self._map_cost * maps

    @property
    def fraction(self) -> float:
        """What is done of the whole; never less than before."""
        return self._before + (1.0 - self._before) * min(1.0, self._done / self._total)

    def report(self, stage: str) -> None:
        """Tell the caller; what its callback raises goes through."""
        if self._on_progress is not None:
            self._on_progress(stage, self.fraction)

    def block(self) -> None:
        """A block of a tower is done."""
        self._done += 1
        self.report("Running the network")

    def map(self, stage: str) -> None:
        """A map is done."""
        self._done += self._map_cost
        self.report(stage)

    def restart(self, stage: str) -> None:
        """Everything that was expected has to be done again: the rest of the bar is for that."""
        self._before, self._done = self.fraction, 0.0
        self.report(stage)


class Clock:
    """Seconds per stage, with the GPU's work awaited."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, stage: str, device: torch.device) -> None:
        """What was done since the last stop belongs to this stage."""
        synchronise(device)
        now = time.perf_counter()
        self._seconds[stage] = self._seconds.get(stage, 0.0) + now - self._last
        self._last = now

    def timings(self) -> dict[str, float]:
        """Seconds by stage, and their sum as "total"."""
        return {**self._seconds, "total": sum(self._seconds.values())}
