"""Randomness as a function of the place in the run, so that a resumed run draws what it would have drawn."""

from __future__ import annotations

import random
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback

_TRAINING, _VALIDATION = 0, 1


def seed_generators(*key: int) -> None:
    """Seed the global generators of torch (all devices), numpy and Python with a tuple of non-negative integers."""
    state = np.random.SeedSequence(key).generate_state(3, np.uint32)
    torch.manual_seed((int(state[0]) << 32) | int(state[1]))
    np.random.seed(state[2])  # noqa: NPY002 - libraries draw from it
    random.seed(int(state[2]))


class BatchRandomness(Callback):
    """Reseed at the start of every batch with (seed, epoch, batch, rank).

    What a batch draws (augmentation, masks, dropout, drop path) then depends on nothing that happened before: no
    generator's state needs to be stored, and validation does not disturb training. Validation draws the same in every
    epoch, so that its values can be compared. A task draws in its training step, not while batches are moved.

    Parameters
    ----------
    seed : of the run; a resumed run keeps the one it began with
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        seed_generators(_TRAINING, self.seed, trainer.current_epoch, batch_idx, trainer.global_rank)

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        seed_generators(_VALIDATION, self.seed, dataloader_idx, batch_idx, trainer.global_rank)

    def state_dict(self) -> dict[str, Any]:
        return {"seed": self.seed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.seed = state_dict["seed"]
