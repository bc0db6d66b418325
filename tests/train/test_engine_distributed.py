"""What several processes compute together."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist

from tests.train.two_processes import run
from train.engine.distributed import (
    gather,
    largest,
    rank,
    share_of_mean,
    world_size,
)


def _parts() -> torch.Tensor:
    return torch.arange(12.0).reshape(4, 3).sin()


def _gathered() -> tuple[torch.Tensor, bool]:
    mine = _parts()[2 * rank() :][:2].requires_grad_()
    everything = gather(mine)
    return everything, everything.requires_grad


def test_gathered_tensors_are_those_of_all_processes_in_their_order():
    for everything, with_gradient in run(_gathered):
        assert torch.equal(everything, _parts())
        assert not with_gradient


def _small_answers() -> tuple[int, int, int, float]:
    device = torch.device("cpu")
    return world_size(), rank(), largest(10 * rank(), device), share_of_mean(1 + 2 * rank(), device)


def test_processes_agree_on_numbers():
    assert run(_small_answers) == [(2, 0, 10, 0.5), (2, 1, 10, 1.5)]


def test_without_processes_everything_is_its_own():
    parts = _parts().requires_grad_()
    assert not gather(parts).requires_grad
    assert (world_size(), rank()) == (1, 0)
    assert (largest(3, parts.device), share_of_mean(5, parts.device)) == (3, 1.0)


def _fail_in_one() -> None:
    dist.barrier()
    if rank() == 1:
        raise RuntimeError("rank one broke")


def test_harness_shows_the_error_of_one_process():
    with pytest.raises(Exception, match="rank one broke"):
        run(_fail_in_one)
