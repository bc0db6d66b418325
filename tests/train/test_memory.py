"""Activation checkpointing changes memory alone, and the memory of a fine-tuning is what its parts say."""

from __future__ import annotations

import json

import lightning as L
import pytest
import torch

from octcube_core.models.random_weights import random_card
from train.__main__ import main
from train.engine.optimiser import Optimisation
from train.evaluation import memory
from train.evaluation.memory import fine_tuning_memory
from train.tasks.finetune import FinetuneTask
from train.tasks.finetuning.lesions import LesionTargets

# Steps are taken without a Trainer, of which Lightning warns.
pytestmark = pytest.mark.filterwarnings("ignore:You are trying to `self.log")

SHAPE = (6, 32, 32)
TINY = {"depth": 3, "embed_dim": 64, "num_heads": 2, "input_shape": SHAPE}


def _task(checkpointing: bool) -> FinetuneTask:
    torch.manual_seed(0)
    card = random_card(3, 64, 2, SHAPE, final_residual=True)
    task = FinetuneTask(
        card,
        Optimisation(lr=1e-3),
        lesions=LesionTargets(),
        activation_checkpointing=checkpointing,
    )
    return task.train()


def _batch(count: int = 2) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(1)
    shape = (count, *SHAPE)
    return {
        "volume": torch.randint(0, 256, shape, dtype=torch.uint8, generator=random),
        "lesions": torch.randint(0, 256, shape, dtype=torch.uint8, generator=random),
        "labels": torch.randint(0, 2, (count, 8), generator=random).float(),
        "present": torch.ones(count, 1, dtype=torch.bool),
    }


def _loss_and_kept_bytes(task: FinetuneTask) -> tuple[torch.Tensor, int]:
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(2)  # the head's dropout
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = task.training_step(_batch(), 0)
    weights = {p.untyped_storage().data_ptr() for p in task.parameters()}
    return loss, sum(size for pointer, size in kept.items() if pointer not in weights)


def test_checkpointing_gives_the_same_loss_and_gradients_from_less_memory() -> None:
    plain, checkpointed = _task(False), _task(True)
    loss, kept = _loss_and_kept_bytes(plain)
    loss_again, kept_less = _loss_and_kept_bytes(checkpointed)
    loss.backward()
    loss_again.backward()
    torch.testing.assert_close(loss_again, loss, rtol=0, atol=1e-6)
    gradients = {name: p.grad for name, p in plain.named_parameters() if p.requires_grad}
    assert all(gradient is not None for gradient in gradients.values())
    for name, parameter in checkpointed.named_parameters():
        if parameter.requires_grad:
            torch.testing.assert_close(parameter.grad, gradients[name], rtol=0, atol=1e-6)
    assert kept_less < kept / 3


class _Batches(L.LightningDataModule):
    batch_size = 2

    def train_dataloader(self) -> torch.utils.data.DataLoader[dict[str, torch.Tensor]]:
        rows = [{name: value[row] for name, value in _batch(4).items()} for row in range(4)]
        return torch.utils.data.DataLoader(rows, batch_size=self.batch_size)


def test_gradients_do_not_outlive_their_step(tmp_path) -> None:
    task = _task(False)
    before = task.model.head.linear.weight.detach().clone()
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=2,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    seen = []
    task.on_train_batch_start = lambda *_: seen.append([p.grad for p in task.parameters()])
    trainer.fit(task, _Batches())
    assert not torch.equal(task.model.head.linear.weight, before)
    assert len(seen) == 2
    assert all(gradient is None for gradients in seen for gradient in gradients)


def test_the_estimate_holds_all_that_adamw_needs_and_checkpointing_lowers_it() -> None:
    weights = sum(parameter.numel() for parameter in _task(False).parameters())
    plain = fine_tuning_memory(checkpointing=False, estimate=True, **TINY)
    checkpointed = fine_tuning_memory(checkpointing=True, estimate=True, **TINY)
    least = 12 * weights / memory.GIGABYTE  # parameters and two moments, in fp32
    assert least < checkpointed["peak_gb"] <= plain["peak_gb"] < 10 * least
    assert sum(plain["parts_gb"].values()) == pytest.approx(plain["peak_gb"])
    assert plain["measured"] is False
    assert "not measured" in plain["device"]


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_vit_large_fits(checkpointing: bool) -> None:
    # The peak grows with the depth by the same amount for every block.
    two, four = (
        fine_tuning_memory(checkpointing=checkpointing, estimate=True, depth=depth)
        for depth in (2, 4)
    )
    peak = four["peak_gb"] + (four["peak_gb"] - two["peak_gb"]) / 2 * 20
    assert peak <= four["allowed_gb"]


def test_the_command_prints_json(monkeypatch, capsys) -> None:
    tiny = fine_tuning_memory(checkpointing=True, estimate=True, **TINY)
    asked = []

    def measured(**arguments: object) -> dict[str, object]:
        asked.append(arguments)
        return tiny

    monkeypatch.setattr(memory, "fine_tuning_memory", measured)
    assert main(["memory", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == [tiny, tiny]
    assert [arguments["checkpointing"] for arguments in asked] == [False, True]
    assert main(["memory", "--checkpointing"]) == 0
    assert "estimated, not measured" in " ".join(capsys.readouterr().out.split())
    assert [arguments["checkpointing"] for arguments in asked] == [False, True, True]
