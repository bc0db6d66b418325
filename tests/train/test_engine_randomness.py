"""What a batch draws depends on seed, epoch, batch and rank, and on nothing else."""

from __future__ import annotations

import random
from types import SimpleNamespace

import numpy as np
import torch

from train.engine.randomness import BatchRandomness


def drawn(epoch: int, batch: int, rank: int = 0, seed: int = 1, validation: bool = False):
    """First numbers of the three generators, after whatever was drawn before."""
    trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    callback = BatchRandomness(seed)
    torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
    if validation:
        callback.on_validation_batch_start(trainer, None, None, batch)
    else:
        callback.on_train_batch_start(trainer, None, None, batch)
    return float(torch.rand(())), float(np.random.rand()), random.random()  # noqa: NPY002


def test_same_place_draws_the_same_and_any_other_something_else():
    here = drawn(2, 3)
    assert drawn(2, 3) == here
    others = [drawn(3, 2), drawn(2, 4), drawn(3, 3), drawn(2, 3, rank=1), drawn(2, 3, seed=2)]
    for other in others:
        assert not set(other) & set(here)


def test_validation_draws_the_same_in_every_epoch_and_not_what_training_draws():
    assert drawn(0, 3, validation=True) == drawn(5, 3, validation=True)
    assert not set(drawn(0, 3, validation=True)) & set(drawn(0, 3))


def test_a_resumed_run_keeps_the_seed_it_began_with():
    resumed = BatchRandomness(7)
    resumed.load_state_dict(BatchRandomness(1).state_dict())
    assert resumed.seed == 1
