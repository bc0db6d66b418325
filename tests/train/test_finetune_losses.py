"""Losses leave out what is unknown, and average over processes and accumulated batches to those of the joint batch."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.nn.parallel import DistributedDataParallel

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from tests.train import two_processes
from tests.train.tiny_exams import joint_card, tiny_store, volume_card
from train.data.labels import Labels
from train.data.module import StoreData
from train.engine.optimiser import Optimisation
from train.tasks.finetune import FinetuneTask
from train.tasks.finetuning.losses import LabelLoss, RegressionLoss, TrainingLabels, answer_weights

NAN = float("nan")


def test_the_loss_of_labels_is_the_mean_cross_entropy_of_the_known_ones() -> None:
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[1.0, NAN], [0.0, 1.0], [NAN, 0.0]])
    training = TrainingLabels(labels.numpy())
    pairs = torch.stack([logits[0, :2], logits[1, :2], logits[1, 2:], logits[2, 2:]])
    wanted = F.cross_entropy(pairs, torch.tensor([1, 0, 1, 0]), label_smoothing=0.1)
    found = LabelLoss(2, exclusive=False, smoothing=0.1, training=training)(logits, labels)
    torch.testing.assert_close(found, wanted)


def test_the_loss_of_classes_is_the_weighted_cross_entropy() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0.0], [2.0], [2.0], [1.0]])
    loss = LabelLoss(3, True, weights="balanced", training=TrainingLabels(labels.numpy()))
    wanted = F.cross_entropy(
        logits, labels[:, 0].long(), weight=torch.tensor([4 / 3, 4 / 3, 2 / 3])
    )
    torch.testing.assert_close(loss(logits, labels), wanted)


def test_unknown_labels_have_no_gradient() -> None:
    logits = torch.zeros(2, 4, requires_grad=True)
    LabelLoss(2, exclusive=False)(logits, torch.tensor([[1.0, NAN], [0.0, 1.0]])).backward()
    assert (logits.grad[0, 2:] == 0).all()
    assert (logits.grad[1] != 0).all()
    outputs = torch.zeros(2, 2, requires_grad=True)
    loss = RegressionLoss("l1+l2", [1.0, 0.0], [2.0, 1.0], [1.0, 0.1])
    loss(outputs, torch.tensor([[NAN, 2.0], [3.0, NAN]])).backward()
    assert (outputs.grad == 0).tolist() == [[True, False], [False, True]]


@pytest.mark.parametrize(("kind", "wanted"), [("l1", 3.0), ("l2", 9.0), ("l1+l2", 12.0)])
def test_the_loss_of_values_is_of_standardised_ones(kind, wanted) -> None:
    loss = RegressionLoss(kind, [10.0], [2.0], [1.0])
    assert float(loss(torch.zeros(1, 1), torch.tensor([[16.0]]))) == wanted
    weighted = RegressionLoss(kind, [10.0, 10.0], [2.0, 2.0], [1.0, 0.1])
    both = weighted(torch.zeros(1, 2), torch.tensor([[16.0, 16.0]]))
    assert float(both) == pytest.approx(1.1 * wanted)


def test_class_weights_are_checked() -> None:
    with pytest.raises(InputError, match="one for each label, 3 in all"):
        answer_weights(3, False, [1.0, 2.0], None)
    assert answer_weights(2, False, [3.0, 4.0], None).tolist() == [[1.0, 3.0], [1.0, 4.0]]


def _task_and_data(store: str, card: ModelCard, labels: Labels, modalities: list[str]) -> tuple:
    torch.manual_seed(0)
    data = StoreData(store, modalities, labels, batch_size=8, workers=0)
    task = FinetuneTask(card, Optimisation(lr=1e-3), class_weights="balanced")
    task.check(data)
    task.log = lambda *_args, **_options: None
    return task, data


CASES = {
    "labels, some unknown": (volume_card(), Labels("binary", ["A", "B"]), ["OCT"]),
    "values, some modalities missing": (
        joint_card("FAF", "IR"),
        Labels("regression", ["GROWTH"], auxiliary={"AREA": 0.1}),
        ["OCT", "FAF", "IR"],
    ),
}


class _Step(torch.nn.Module):
    def __init__(self, task: FinetuneTask) -> None:
        super().__init__()
        self.task = task

    def forward(self, batch: dict) -> torch.Tensor:
        return self.task.training_step(batch, 0)


def _gradients(store: str, case: str) -> dict[str, torch.Tensor]:
    """Of eight exams, of which each process has its share, averaged by DDP."""
    task, data = _task_and_data(store, *CASES[case])
    batch, step = data.training.__getitems__(range(8)), _Step(task)
    if dist.is_initialized():
        rank, world = dist.get_rank(), dist.get_world_size()
        batch = _part(batch, range(rank * 8 // world, (rank + 1) * 8 // world))
        step = DistributedDataParallel(step)
    step(batch).backward()
    return {name: p.grad for name, p in task.named_parameters() if p.grad is not None}


def _all_gradients(store: str) -> dict[str, dict[str, torch.Tensor]]:
    return {case: _gradients(store, case) for case in CASES}


def _part(batch: dict, items: range) -> dict:
    return {
        name: _part(value, items) if isinstance(value, dict) else value[items.start : items.stop]
        for name, value in batch.items()
    }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tiny_store(tmp_path_factory.mktemp("store") / "exams"))


def test_two_processes_have_the_gradients_of_one_with_the_joint_batch(store) -> None:
    joint = _all_gradients(store)
    for found in two_processes.run(_all_gradients, store):
        for case, gradients in found.items():
            assert set(gradients) == set(joint[case])
            for name, gradient in gradients.items():
                torch.testing.assert_close(gradient, joint[case][name], rtol=0, atol=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_accumulated_batches_have_the_gradients_of_the_joint_one(case, store) -> None:
    joint = _gradients(store, case)
    task, data = _task_and_data(store, *CASES[case])
    batch = data.training.__getitems__(range(8))
    for number in range(4):
        part = _part(batch, range(2 * number, 2 * number + 2))
        (task.training_step(part, number) / 4).backward()
    for name, parameter in task.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, joint[name], rtol=0, atol=1e-5)
