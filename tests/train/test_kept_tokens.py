"""Training on a random part of the tokens (PatchDropout): what it sees, what it learns, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from octcube_core.checkpoints.card import ModelCard, SliceHead
from octcube_core.errors import InputError
from octcube_core.models.octcube import OCTCubeEncoder
from tests.train.tiny_exams import image_card, joint_card, tiny_store, volume_card
from train.data.labels import Labels
from train.data.module import StoreData
from train.engine.optimiser import Optimisation
from train.tasks.finetune import FinetuneTask
from train.tasks.finetuning.inputs import model_inputs, model_outputs
from train.tasks.finetuning.lesions import LesionTargets, lesion_targets

CASES = {
    "volumes": (volume_card(), ["OCT"], 4),
    "images": (image_card("IR"), ["IR"], 2),
    "both": (joint_card("IR"), ["OCT", "IR"], 4),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store") / "exams")


def task_and_batch(
    store: Path, card: ModelCard, modalities: list[str], **options: Any
) -> tuple[FinetuneTask, dict[str, Any]]:
    torch.manual_seed(0)
    lesions = "lesions" in options
    labels = Labels("binary", ["A", "B"])
    data = StoreData(str(store), modalities, labels, batch_size=7, workers=0, lesions=lesions)
    task = FinetuneTask(card, Optimisation(lr=1e-3), **options)
    task.check(data)
    task.log = lambda *_, **__: None
    return task, next(iter(data.train_dataloader()))


def seen_by(task: FinetuneTask) -> list[torch.Tensor]:
    """Tokens before the first block of the first encoder, of every pass from now on."""
    encoder = next(part for part in task.modules() if isinstance(part, OCTCubeEncoder))
    seen: list[torch.Tensor] = []
    encoder.blocks[0].norm1.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    return seen


@pytest.mark.parametrize("case", CASES)
def test_training_runs_on_other_tokens_each_time_and_validation_on_all(case, store):
    card, modalities, half = CASES[case]
    task, batch = task_and_batch(store, card, modalities, kept_tokens=0.5)
    seen = seen_by(task)
    for _ in range(2):
        task.train().training_step(batch, 0).backward()
    task.eval().validation_step(batch, 0)
    first, second, whole = (tokens[:, 1:] for tokens in seen)
    assert (first.shape[1], second.shape[1], whole.shape[1]) == (half, half, 2 * half)
    of_all = torch.cdist(first, whole).min(dim=2)
    assert of_all.values.max() < 1e-2  # tokens with the positions that they have in the whole
    places, others = of_all.indices, torch.cdist(second, whole).min(dim=2).indices
    assert all(len(set(row)) == half for row in places.tolist())
    assert len({frozenset(row) for row in places.tolist()}) > 1
    assert [set(row) for row in places.tolist()] != [set(row) for row in others.tolist()]


def test_all_tokens_are_the_model_as_it_is_and_draw_nothing(store):
    task, batch = task_and_batch(store, volume_card(), ["OCT"], kept_tokens=1.0)
    before = torch.get_rng_state()
    loss = task.train().training_step(batch, 0)
    assert torch.equal(torch.get_rng_state(), before)
    inputs = model_inputs(task.model.card, batch)
    outputs = model_outputs(task.model, inputs, batch["present"], ["OCT"])
    assert torch.equal(loss, task.loss(outputs, batch["labels"]))


def test_lesion_masks_are_learnt_from_the_tokens_that_are_kept(store):
    options = {"lesions": LesionTargets(2.0, [1.0]), "kept_tokens": 0.5, "drop_path": 0.1}
    task, batch = task_and_batch(store, volume_card(), ["OCT"], **options)
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(80):
        loss = task.train().training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    task.eval()
    tokens = task.model.encoder(model_inputs(task.model.card, batch)["OCT"])[:, 1:]
    wanted = lesion_targets(batch["lesions"], (3, 16, 16), 2, 0.02) > 0.5
    assert wanted.any()
    assert ((task.lesion_loss.head(tokens) > 0) == wanted).float().mean() > 0.97


@pytest.mark.parametrize(
    ("card", "share", "sentence"),
    [
        (volume_card(), 0.0, "above 0 and at most 1"),
        (volume_card(), 1.5, "above 0 and at most 1"),
        (volume_card(slice_head=SliceHead()), 0.5, "leave out kept_tokens"),
    ],
)
def test_what_cannot_be_is_refused(card, share, sentence):
    with pytest.raises(InputError, match=sentence):
        FinetuneTask(card, Optimisation(lr=1.0), kept_tokens=share)
