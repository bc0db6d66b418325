"""COEP: what the task computes, trains and leaves alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.parallel import DistributedDataParallel

from octcube_core.checkpoints.card import Pooling
from tests.train import two_processes
from tests.train.tiny_coep import CARD, make_task
from train.data.augment_pairs import PairAugment
from train.data.to_device import images_to_input
from train.tasks.cached_features import micro_batches
from train.tasks.coep import COEPTask
from train.tasks.contrastive import Contrast

EXAMS = 8


def batch():
    torch.manual_seed(2)
    return {
        "row": torch.arange(EXAMS),
        "patient": torch.arange(EXAMS) // 2,
        "side": torch.tensor([0, 1, 0, 1, 1, 0, -1, -1]),
        # The second half of each process's share has no FAF at all.
        "present": torch.tensor(
            [[1, 1, 1], [1, 1, 0], [1, 0, 1], [1, 0, 1], [0, 1, 1], [1, 1, 1], [1, 0, 1], [1, 0, 1]]
        ).bool(),
        "volume": torch.randint(0, 256, (EXAMS, 6, 16, 16), dtype=torch.uint8),
        "images": {
            name: torch.randint(0, 256, (EXAMS, 16, 16), dtype=torch.uint8)
            for name in ("FAF", "IR")
        },
    }


def gradients(task):
    return {
        name: weight.grad.clone()
        for name, weight in task.named_parameters()
        if weight.requires_grad
    }


class Step(torch.nn.Module):
    """A training step as a forward pass, as Lightning wraps it for DDP."""

    def __init__(self, task):
        super().__init__()
        self.task = task

    def forward(self, given):
        return self.task.training_step(given, 0)


OPTIONS = {
    "micro_batch": 2,
    "frozen_blocks": 1,
    "contrast": Contrast(same_patient="ignore", same_side=0.3),
    "activation_checkpointing": True,
}
POOLED = replace(CARD, alignment=replace(CARD.alignment, pooling=Pooling((2, 2), 3)))


def _share(given, card):
    rank = torch.distributed.get_rank()
    task = make_task(card, **OPTIONS)
    step = DistributedDataParallel(Step(task))
    loss = None
    for _ in range(2):
        task.zero_grad()
        loss = step(micro_batches(given, EXAMS // 2)[rank])
        loss.backward()
    return loss.detach(), gradients(task), dict(task.model.named_buffers())


@pytest.mark.parametrize("card", [CARD, POOLED], ids=["mean", "cosines"])
def test_two_processes_of_two_micro_batches_train_as_one_with_everything(card):
    whole = make_task(card, **OPTIONS | {"micro_batch": None})
    expected = whole.training_step(batch(), 0)
    expected.backward()
    wanted = gradients(whole)
    assert all(gradient.abs().sum() > 0 for gradient in wanted.values())
    for loss, found, buffers in two_processes.run(_share, batch(), card):
        torch.testing.assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-5)
        assert found.keys() == wanted.keys()
        for name, gradient in wanted.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6, msg=name)
        for name, buffer in whole.model.named_buffers():
            torch.testing.assert_close(buffers[name], buffer, msg=name)


def test_a_pooling_starts_standardised_by_the_first_batch_and_then_stays(monkeypatch):
    task, given = make_task(POOLED), batch()
    task.training_step(given, 0)
    pooling = task.model.enface_tower.pooling
    faf = images_to_input(given["images"]["FAF"][given["present"][:, 1]], (16, 16))
    encoder = task.model.enface_tower.encoder
    features = encoder.pooled(faf, pooling=lambda tokens: pooling.features(tokens, (1, 2, 2)))
    torch.testing.assert_close(pooling.center[0], features.mean(dim=0))
    torch.testing.assert_close(pooling.scale[0], features.std(dim=0))
    before = pooling.center.clone()
    assert not torch.equal(before[0], before[1])
    monkeypatch.setattr(COEPTask, "global_step", 1)
    task.training_step({**given, "present": given["present"].flip(0)}, 1)
    assert torch.equal(pooling.center, before)


def test_augmentation_and_drop_path_are_the_same_when_a_micro_batch_runs_again():
    seen, task = [], make_task(augment=PairAugment(), micro_batch=3, kept_tokens=0.5)
    task.model.oct_tower.encoder.set_drop_path(0.5)
    embed = task.embed

    def recorded(part):
        features = embed(part)
        seen.append((part["row"].tolist(), features.detach()))
        return features

    task.embed = recorded
    task.training_step(batch(), 0)
    (_, first), (_, second), (_, last), *again = seen
    assert [rows for rows, _ in again] == [[0, 1, 2], [3, 4, 5]]
    torch.testing.assert_close(again[0][1], first, rtol=0, atol=0)
    torch.testing.assert_close(again[1][1], second, rtol=0, atol=0)
    assert len(last) == 2


def test_bf16_autocast_changes_digits_only():
    exact, rounded = make_task(micro_batch=3), make_task(micro_batch=3)
    exact.training_step(batch(), 0).backward()
    with torch.autocast("cpu", torch.bfloat16):
        loss = rounded.training_step(batch(), 0)
    loss.backward()
    assert loss.dtype == torch.float32
    for (name, wanted), found in zip(
        gradients(exact).items(), gradients(rounded).values(), strict=True
    ):
        assert (found - wanted).norm() < 0.1 * wanted.norm() + 1e-6, name


def test_an_exam_without_a_modality_has_no_features_of_it():
    given = batch()
    features = make_task().embed(given)
    assert features.shape == (EXAMS, 3, 6)
    np.testing.assert_allclose(features.detach().norm(dim=-1), given["present"].float(), atol=1e-5)


def test_frozen_blocks_keep_no_graph():
    task = make_task(frozen_blocks=2)
    encoder = task.model.oct_tower.encoder
    needed = []
    for block in encoder.blocks:
        block.register_forward_hook(lambda _, __, out: needed.append(out.requires_grad))
    encoder.trunk(torch.rand(1, 1, 6, 16, 16))
    assert needed == [False, False]
    trained = {name for name, weight in task.model.named_parameters() if weight.requires_grad}
    tower = {name for name in trained if name.startswith("oct_tower.encoder.")}
    assert tower
    assert all("blocks.2." in name or name.endswith(("norm.weight", "norm.bias")) for name in tower)
    assert "enface_tower.encoder.embedding.weight" in trained


def test_siglip_starts_as_published_and_learns_its_bias():
    task = make_task(contrast=Contrast("siglip"))
    torch.testing.assert_close(task.model.logit_scales, torch.full((3,), 10.0))
    assert [bias.item() for bias in task.biases] == [-10.0] * 3
    task.training_step(batch(), 0).backward()
    assert all(bias.grad != 0 for bias in task.biases)
