"""Which rows make which batch: a function of seed, epoch and rank alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from octcube_core.errors import InputError


class EpochSampler(Sampler[list[int]]):
    """Shuffled training batches, divided among ranks, that can go on in the middle of an epoch.

    The order of an epoch is a function of (seed, epoch). It is cut into global batches of ``batch_size x world_size``
    rows, of which each rank takes its part; so two ranks with 8 rows each see together what one rank with 16 sees.
    Rows that fill no global batch are left out of that epoch.

    Parameters
    ----------
    count : number of rows
    batch_size : rows per batch and rank
    seed : of the order
    rank, world_size : which part this process takes
    weights : how often a row is drawn, relative to the others, shape (count,); None draws each once

    Attributes
    ----------
    epoch : the current epoch, from 0
    position : batches of it that have been used
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.count, self.batch_size, self.seed = count, batch_size, seed
        self.rank, self.world_size = rank, world_size
        self.weights = weights
        self.epoch = self.position = 0

    def __len__(self) -> int:
        return self.count // (self.batch_size * self.world_size)

    def __iter__(self) -> Iterator[list[int]]:
        batches = self.order().reshape(len(self), self.world_size, self.batch_size)
        for batch in batches[self.position :, self.rank]:
            yield batch.tolist()

    def order(self) -> NDArray[np.int64]:
        """Rows of the current epoch, of all ranks."""
        draw = np.random.default_rng((self.seed, self.epoch))
        if self.weights is None:
            rows = draw.permutation(self.count)
        else:
            rows = draw.choice(self.count, self.count, p=self.weights / self.weights.sum())
        return rows[: len(self) * self.batch_size * self.world_size]

    def set_epoch(self, epoch: int) -> None:
        """Begin an epoch, unless it has begun already."""
        if epoch != self.epoch:
            self.epoch, self.position = epoch, 0

    def state_dict(self) -> dict[str, Any]:
        """Where training is; the same on all ranks."""
        place = {"seed": self.seed, "epoch": self.epoch, "position": self.position}
        return {**place, **self._division()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on where ``state`` was taken, with the order of then.

        Raises
        ------
        InputError
            In the middle of an epoch, if the number of rows or the global batch is not that of then.
        """
        then = {name: state[name] for name in self._division()}
        self.seed, self.epoch, self.position = (state[key] for key in ("seed", "epoch", "position"))
        if then == self._division() or not self.position:
            return
        if self.position < then["rows"] // then["global_batch"]:
            name = next(name for name, value in self._division().items() if then[name] != value)
            raise InputError(
                f"This run stopped in the middle of an epoch with {name.replace('_', ' ')} {then[name]}, but now it is "
                f"{self._division()[name]}; resume with the same, or from a checkpoint of an epoch's end."
            )
        self.position = len(self)  # that epoch's end

    def _division(self) -> dict[str, int]:
        return {"rows": self.count, "global_batch": self.batch_size * self.world_size}


class EveryRow(Sampler[list[int]]):
    """Batches of every row exactly once, in order, divided among ranks.

    All ranks get equally many batches of equal sizes, as collective operations need it; where rows run out, a rank
    repeats one, and ``valid`` says so.

    Parameters
    ----------
    count, batch_size, rank, world_size : as those of EpochSampler
    """

    def __init__(self, count: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.batches: list[list[int]] = []
        self.valid: list[list[bool]] = []
        for start in range(0, count, batch_size * world_size):
            rows = range(start, min(start + batch_size * world_size, count))
            share = -(-len(rows) // world_size)
            mine = list(rows[rank * share : (rank + 1) * share])
            padding = share - len(mine)
            self.batches.append(mine + [start] * padding)
            self.valid.append([True] * len(mine) + [False] * padding)

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self.batches)
