"""Gradients of several processes, and of accumulated batches, are those of one big batch."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tests.train.mae_store import batch, card
from tests.train.two_processes import run
from train.engine.optimiser import Optimisation
from train.tasks.mae import MAETask
from train.tasks.mae_inputs import Inputs
from train.tasks.masking import Masks

pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")


class FixedMasks(MAETask):
    """Each eye keeps its mask, whatever the batch."""

    def masks(self, inputs: Inputs, *, training: bool) -> Masks:
        grid = self.model.encoder.grid(inputs.pixels)
        keys = torch.stack([inputs.rows, inputs.modalities], dim=1).tolist()
        return self.masking.fixed(keys, grid[0] * grid[1] * grid[2])


class Step(nn.Module):
    """The training step as DDP wraps it."""

    def __init__(self, task: MAETask) -> None:
        super().__init__()
        self.task = task

    def forward(self, data: dict[str, Any]) -> torch.Tensor:
        return self.task.training_step(data, 0)


def _task(images: bool, fraction: float) -> MAETask:
    torch.manual_seed(0)
    task = FixedMasks(
        card(planar=images),
        Optimisation(lr=1e-3),
        mask_ratio=0.5,
        decode_fraction=fraction,
        flips=False,
    )
    task.modalities = ["FAF", "IR"] if images else ["OCT"]
    return task


def _part(data: dict[str, Any], items: slice) -> dict[str, Any]:
    return {
        name: {key: image[items] for key, image in value.items()}
        if name == "images"
        else value[items]
        for name, value in data.items()
    }


def _gradients(module: nn.Module) -> dict[str, torch.Tensor]:
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


CASES = ((False, 1.0), (False, 0.5), (True, 0.5))  # images, decode_fraction


def _one_rank() -> list[dict[str, torch.Tensor]]:
    found = []
    for images, fraction in CASES:
        step = DistributedDataParallel(Step(_task(images, fraction)))
        rank = dist.get_rank()
        step(_part(batch(8, images), slice(4 * rank, 4 * rank + 4))).backward()
        found.append(_gradients(step.module))
    return found


def test_two_processes_average_as_one_batch():
    for found in run(_one_rank):
        for (images, fraction), gradients in zip(CASES, found, strict=True):
            step = Step(_task(images, fraction))
            step(batch(8, images)).backward()
            expected = _gradients(step)
            assert gradients.keys() == expected.keys()
            for name, gradient in expected.items():
                torch.testing.assert_close(gradients[name], gradient, rtol=1e-5, atol=1e-7)


def test_accumulated_batches_are_one_batch():
    whole, parts = (Step(_task(False, 0.5)) for _ in range(2))
    whole(batch(8)).backward()
    for start in range(0, 8, 2):
        (parts(_part(batch(8), slice(start, start + 2))) / 4).backward()
    for name, gradient in _gradients(whole).items():
        torch.testing.assert_close(_gradients(parts)[name], gradient, rtol=1e-5, atol=1e-7)


def test_embeddings_of_slices_wait_frozen_without_slices():
    # A parameter without a gradient would make DDP wait for ever.
    task = MAETask(card(high_res_embedding=True), Optimisation(lr=1e-3))
    assert not any(p.requires_grad for p in task.model.high_res_embedding.parameters())
    assert dataclasses.replace(task.model.card, notes={}) == card(high_res_embedding=True)
