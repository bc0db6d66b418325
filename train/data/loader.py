"""Batches of a store, read ahead by threads, in an order that knows ranks and its place in the epoch.

Threads and not processes: what reading a batch takes is copying and decompressing, which hold no interpreter lock.
A process would have to hand each batch over through shared memory, which costs several times the reading, and takes
seconds to start; a thread reads straight into the (page-locked) memory that the GPU copies from, and its errors stay
one sentence.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from train.data.datasets import Item, StoreDataset
from train.data.sampler import EpochSampler, EveryRow

BATCHES_AHEAD = 2  # per worker, the one that it reads included


class BatchLoader:
    """Batches of a dataset; Lightning takes it as it is and adds no sampler of its own.

    Each item of a batch is as StoreDataset says, with an axis in front, and ``valid`` (bool, (batch,)) is False for
    what only fills up a batch of EveryRow. Besides the batch in use, at most ``BATCHES_AHEAD`` per worker are held.
    With CUDA they lie in page-locked memory, from which Lightning's transfer does not block.

    Parameters
    ----------
    dataset : StoreDataset
    sampler : EpochSampler for training, EveryRow for validation
    workers : threads that read ahead; 0 reads when a batch is asked for
    """

    def __init__(
        self, dataset: StoreDataset, sampler: EpochSampler | EveryRow, workers: int
    ) -> None:
        self.dataset = dataset
        self.sampler = self.batch_sampler = sampler  # Lightning asks for either name
        self.workers = workers

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Item]:
        for batch, valid in zip(self._batches(), self.sampler.valid, strict=True):
            yield {**batch, "valid": torch.tensor(valid)}

    def _batches(self) -> Iterator[Item]:
        read = self.dataset.__getitems__
        if not self.workers:
            yield from map(read, self.sampler)
            return
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="batches")
        try:
            ahead: deque[Future[Item]] = deque()
            for rows in self.sampler:
                ahead.append(pool.submit(read, rows))
                if len(ahead) > BATCHES_AHEAD * self.workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


class TrainingLoader(BatchLoader):
    """A BatchLoader of training, whose place in the epoch Lightning writes into its checkpoints.

    Lightning asks for an iterator before it says which epoch it is and before it loads that place; so both take
    effect when the first batch is asked for.
    """

    sampler: EpochSampler

    def __iter__(self) -> Iterator[Item]:
        if self.sampler.position >= len(self.sampler):
            self.sampler.set_epoch(self.sampler.epoch + 1)
        for batch in self._batches():
            self.sampler.position += 1
            yield {**batch, "valid": torch.ones(len(batch["row"]), dtype=torch.bool)}

    def state_dict(self) -> dict[str, Any]:
        """The epoch, and how many of its batches training has taken; those read ahead do not count."""
        return self.sampler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on after the last batch that was taken."""
        self.sampler.load_state_dict(state)
