"""Several training processes: who is who, and what they agree on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.distributed as dist

if TYPE_CHECKING:
    import lightning as L


def world_size() -> int:
    """Number of training processes; 1 without torch.distributed."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Number of this process among them, from 0."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def effective_batch(module: L.LightningModule) -> int:
    """Examples per optimiser step: batch of the data x accumulation x processes of all nodes.

    A task that accumulates by itself (manual optimisation) says by an attribute ``accumulation`` over how many
    batches.
    """
    trainer = module.trainer
    accumulation = max(trainer.accumulate_grad_batches, getattr(module, "accumulation", 1))
    return int(trainer.datamodule.batch_size) * accumulation * trainer.world_size


@torch.no_grad()
def gather(tensor: torch.Tensor) -> torch.Tensor:
    """Tensors (n, ...) of all processes, (processes * n, ...) in the order of their ranks, without gradient.

    All processes must call it, with tensors of the same shape and type.
    """
    if world_size() == 1:
        return tensor.detach()
    parts = [torch.empty_like(tensor) for _ in range(world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def largest(number: int, device: torch.device) -> int:
    """The largest of all processes' numbers; all must call it at the same point."""
    if world_size() == 1:
        return number
    answer = torch.tensor(number, device=device)
    dist.all_reduce(answer, dist.ReduceOp.MAX)
    return int(answer)


def share_of_mean(count: int, device: torch.device) -> float:
    """What to multiply a mean over ``count`` items with, so that DDP's mean over processes is one over all items.

    1 where all processes have equally many. All must call it at the same point.
    """
    if world_size() == 1:
        return 1.0
    total = torch.tensor(count, device=device)
    dist.all_reduce(total)
    return count * world_size() / max(1, int(total))
