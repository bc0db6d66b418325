"""Training checkpoints and models become the viewer's file or the reference's, with the weights that were meant."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from octcube_core.checkpoints.card import Architecture, Label
from octcube_core.checkpoints.format import load_checkpoint, save_checkpoint
from octcube_core.checkpoints.upstream import load_upstream
from octcube_core.models.family import network
from tests.train.tiny_exams import tiny_store, volume_card
from train.__main__ import main
from train.data.labels import Labels
from train.data.module import StoreData
from train.engine.optimiser import Optimisation
from train.tasks.finetune import FinetuneTask
from train.tasks.finetuning.lora import Lora

REFERENCE = Architecture(
    64, 2, 1, (3, 16, 16), (2, 2, 2), 128, final_residual=False, outputs=16, head_dropout=0.5
)
EIGHT = tuple(Label(f"Disease {number}", f"D{number}") for number in range(8))


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store") / "exams")


class _Save(L.Callback):
    """Save while training goes on, as a run does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: L.Trainer, _: L.LightningModule) -> None:
        trainer.save_checkpoint(self.path)


@pytest.fixture
def trained(store, tmp_path):
    """A checkpoint of a short run, and its task."""

    def train(*callbacks: L.Callback, **options) -> tuple[Path, FinetuneTask]:
        L.seed_everything(0)
        path = tmp_path / "run.ckpt"
        labels = Labels("binary", ["A"])
        data = StoreData(str(store), labels=labels, batch_size=7, workers=0)
        task = FinetuneTask(volume_card(), Optimisation(lr=1e-2), **options)
        task.check(data)
        trainer = L.Trainer(
            accelerator="cpu",
            max_epochs=3,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[*callbacks, _Save(path)],
        )
        trainer.fit(task, data)
        return path, task

    return train


def _export(source: Path, out: Path, *arguments: str) -> int:
    return main(["export", str(source), "--out", str(out), *arguments])


def _same(one: torch.nn.Module, other: torch.nn.Module, **tolerance: float) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    return all(
        torch.allclose(ours[name].float(), theirs[name].float(), **tolerance) for name in ours
    )


def test_a_training_checkpoint_becomes_the_model_that_was_trained(trained, tmp_path):
    source, task = trained()
    assert _export(source, tmp_path / "new" / "model.safetensors") == 0
    model = load_checkpoint(tmp_path / "new" / "model.safetensors")
    assert model.card == task.model.card
    assert [label.abbreviation for label in model.card.labels] == ["A"]
    assert _same(model, task.model, rtol=0, atol=0)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["model.safetensors"]


def test_averaged_weights_are_exported_unless_the_last_are_asked_for(trained, tmp_path):
    source, _ = trained(EMAWeightAveraging(decay=0.5))
    averaged, last = tmp_path / "averaged.safetensors", tmp_path / "last.safetensors"
    assert _export(source, averaged) == 0
    assert _export(source, last, "--last") == 0
    content = torch.load(source, weights_only=True)
    for path, key in ((averaged, "state_dict"), (last, "current_model_state")):
        weights = load_checkpoint(path).state_dict()
        for name, tensor in weights.items():
            assert torch.equal(tensor, content[key][f"model.{name}"])
    assert not _same(load_checkpoint(averaged), load_checkpoint(last))


def test_adapters_are_merged_as_the_task_merges_them(trained, tmp_path):
    source, task = trained(lora=Lora(rank=2, alpha=6.0))
    assert _export(source, tmp_path / "model.safetensors") == 0
    model = load_checkpoint(tmp_path / "model.safetensors")
    assert _same(model, task.exported(), atol=1e-6)
    assert not _same(model, FinetuneTask(model.card, Optimisation(lr=1.0)).model, atol=1e-6)


def test_precision_and_the_way_through_the_references_layout(tmp_path, capsys):
    torch.manual_seed(1)
    card = replace(volume_card(labels=EIGHT), architecture=REFERENCE)
    model = network(card)
    ours, theirs = tmp_path / "model.safetensors", tmp_path / "model.pth"
    save_checkpoint(ours, model)
    assert _export(ours, tmp_path / "half.safetensors", "--precision", "bf16") == 0
    half = load_checkpoint(tmp_path / "half.safetensors", dtype=torch.bfloat16)
    assert _same(half, model.bfloat16(), rtol=0, atol=0)
    assert (tmp_path / "half.safetensors").stat().st_size < 0.6 * ours.stat().st_size
    assert _export(ours, theirs, "--layout", "reference") == 0
    back = load_upstream(theirs, input_shape=card.architecture.input_shape)
    assert _same(back, load_checkpoint(ours), rtol=0, atol=0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "half.safetensors",
        "model.pth",
        "model.safetensors",
    ]


class _Code:
    def __reduce__(self):
        return print, ("ran",)


@pytest.mark.parametrize(
    ("content", "arguments", "sentence"),
    [
        ({"state_dict": {"w": torch.zeros(1)}}, [], "holds no model card"),
        ({"weights": {}}, [], "no training checkpoint"),
        ({"state_dict": {}, "hidden": _Code()}, [], "was not loaded, because that could run"),
    ],
)
def test_other_files_are_refused_in_one_sentence(content, arguments, sentence, tmp_path, capsys):
    source = tmp_path / "run.ckpt"
    torch.save(content, source)
    assert _export(source, tmp_path / "model.safetensors", *arguments) == 2
    shown = capsys.readouterr()
    assert sentence in shown.err
    assert "ran" not in shown.out
    assert not (tmp_path / "model.safetensors").exists()


def test_what_cannot_be_converted_is_said(trained, tmp_path, capsys):
    source, _ = trained()
    for out, arguments, sentence in (
        ("model.pth", ["--layout", "reference"], "attention heads"),
        ("model.pth", [], "its name belies"),
        ("model.safetensors", ["--layout", "reference"], "its name belies"),
        ("model.safetensors", ["--last"], "no averaged weights"),
    ):
        assert _export(source, tmp_path / out, *arguments) == 2
        assert sentence in capsys.readouterr().err
    assert _export(tmp_path / "nowhere.ckpt", tmp_path / "model.safetensors") == 2
    assert [path.name for path in tmp_path.iterdir()] == ["run.ckpt"]
