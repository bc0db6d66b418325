"""Fine-tuning from the command line: a run ends in a model the viewer loads, and what cannot work is refused."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

import octcube_core as oc
from octcube_core.bench import random_model
from octcube_core.checkpoints.format import save_checkpoint
from octcube_core.errors import InputError
from octcube_core.phantom import DISEASES, make_exam
from octcube_core.token_grid import TokenGrid
from tests.train.tiny_exams import exam_of, tiny_store
from train.__main__ import main
from train.data.augment import Augment
from train.data.phantoms import lesion_bits
from train.data.store import VolumeStore
from train.engine.optimiser import Optimisation
from train.evaluation.pointing import points_at, tokens_in_lesion
from train.tasks.finetune import FinetuneTask
from train.tasks.finetuning.folds import passing_signals_on, read_recipe
from train.tasks.finetuning.lesions import lesion_targets

CONFIGS = Path(__file__).parents[2] / "train" / "configs"
RECIPES = sorted(CONFIGS.glob("finetune_*.yaml"))
RECIPE = {
    "trainer": {"accelerator": "cpu", "devices": 1, "enable_progress_bar": False, "max_epochs": 1},
    "model": {
        "optimisation": {"lr": 1e-3},
        "card": {
            "name": "tiny",
            "version": "1",
            "synthetic": True,
            "architecture": {
                "embed_dim": 32,
                "depth": 1,
                "num_heads": 1,
                "cube": [3, 16, 16],
                "grid": [2, 2, 2],
                "mlp_dim": 32,
                "final_residual": True,
            },
        },
    },
    "data": {"labels": {"kind": "binary", "columns": ["A", "B"]}, "batch_size": 4, "workers": 0},
}


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store") / "exams", test=4)


@pytest.fixture
def run(store, tmp_path):
    """Run the command with a tiny recipe; gives the exit code and the path of the export."""
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    exported = tmp_path / "model.safetensors"

    def command(*arguments: str) -> int:
        fixed = [f"--config={tmp_path / 'recipe.yaml'}", f"--data.store={store}"]
        fixed += [f"--export={exported}", f"--trainer.default_root_dir={tmp_path / 'run'}"]
        return main(["finetune", *fixed, *arguments])

    command.exported = exported
    return command


def test_lesion_targets_sit_on_the_tokens_that_hold_the_lesion():
    exam = make_exam(1, diseases=("DME", "RNV"))
    size, cube = (30, 128, 128), (3, 16, 16)
    bits = torch.from_numpy(lesion_bits(exam, size))[None]
    targets = lesion_targets(bits, cube, len(DISEASES), full_share=0.02)
    grid = TokenGrid(exam.volume.shape, size, cube)
    for number, name in enumerate(DISEASES):
        hit = targets[0, :, number].reshape(grid.shape).numpy() > 0
        if name in exam.truth.masks:
            np.testing.assert_array_equal(hit, tokens_in_lesion(exam.truth.masks[name], grid))
        else:
            assert not hit.any()
    assert float(targets.max()) == 1.0


def test_lesion_targets_count_voxels():
    bits = torch.zeros(1, 3, 16, 32, dtype=torch.uint8)
    bits[0, 0, 0, :4] = 0b10  # 4 of 768 voxels of the first token, second disease
    targets = lesion_targets(bits, (3, 16, 16), 2, full_share=8 / 768)
    np.testing.assert_allclose(targets[0], [[0, 0.5], [0, 0]])


def test_augmentation_moves_lesions_with_their_eyes():
    torch.manual_seed(0)
    volume = torch.zeros(8, 6, 32, 32)
    volume[:, 2, 10:14, 20:24] = 1.0
    lesions = (volume > 0).to(torch.uint8)
    changed, moved = Augment(contrast=0.2)(volume, lesions)
    assert not torch.equal(moved, lesions)
    torch.testing.assert_close(changed > 0.5, moved > 0)
    assert changed.min() >= 0
    assert changed.max() <= 1


def test_pointing_game():
    lesion = np.zeros((2, 3, 4), bool)
    lesion[1, 2, 3] = True
    saliency = np.zeros((2, 3, 4), np.float32)
    assert not points_at(saliency, lesion)
    saliency[1, 2, 3] = 0.5
    assert points_at(saliency, lesion)
    saliency[0, 0, 0] = 0.6
    assert not points_at(saliency, lesion)


def test_a_run_ends_in_a_model_that_analyses(run, store):
    assert run() == 0
    model = oc.load_model(run.exported)
    assert model.card.synthetic
    assert model.card.trained_on == "8 exams (OCT) of exams"
    assert model.card.cross_device == "off"  # synthetic eyes are stored as they are
    analysis = oc.analyze(exam_of(VolumeStore.open(store), 0), model)
    assert [score.abbreviation for score in analysis.scores] == ["A", "B"]
    assert analysis.saliency.shape == (2, 2, 2, 2)


@pytest.mark.slow
def test_folds_are_predicted_each_by_the_model_that_did_not_see_it(run, store, capfd):
    assert run("--folds", "2", "--monitor=val/loss", "--monitor_mode=min") == 0
    table = pd.read_parquet(run.exported.with_suffix(".predictions.parquet"))
    trained = [run.exported.with_suffix(f".fold-{number}.safetensors") for number in (1, 2)]
    assert all(path.is_file() for path in trained)
    validated = table[table["fold"] > 0]
    assert sorted(validated["row"]) == sorted(set(validated["row"]))
    assert set(validated["split"]) == {"validation"}
    assert validated["predicted/A"].between(0, 1).all()
    capfd.readouterr()
    assert run("--folds", "2") == 0
    assert capfd.readouterr().out.count("is not trained again") == 2


def test_a_fold_gets_the_signals_that_ask_for_an_end(tmp_path):
    ready = tmp_path / "ready"
    child = (
        "import pathlib, signal, sys, time; signal.signal(signal.SIGUSR1, lambda *_: sys.exit(7)); "
        f"pathlib.Path({str(ready)!r}).touch(); time.sleep(60)"
    )

    def plead() -> None:
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)

    Thread(target=plead, daemon=True).start()
    assert passing_signals_on([sys.executable, "-c", child]) == 7


def test_a_run_may_start_from_a_model(tmp_path):
    start = random_model(1, 64, 1, (6, 32, 32), final_residual=True)
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, start)
    task = FinetuneTask(start.card, Optimisation(lr=1e-3), start_from=str(path))
    for name, tensor in start.state_dict().items():
        torch.testing.assert_close(task.model.state_dict()[name], tensor)
    deeper = random_model(2, 64, 1, (6, 32, 32), final_residual=True).card
    with pytest.raises(InputError, match="depth"):
        FinetuneTask(deeper, Optimisation(lr=1e-3), start_from=str(path))


def test_a_run_may_start_from_an_encoder_of_another_grid(tmp_path):
    start = random_model(1, 64, 1, (6, 32, 32), final_residual=True)
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, start)
    larger = random_model(1, 64, 1, (9, 48, 32), final_residual=True).card
    encoder = FinetuneTask(larger, Optimisation(lr=1e-3), start_from=str(path)).model.encoder
    spatial, temporal = start.encoder.positions.tables((3, 3, 2))
    torch.testing.assert_close(encoder.positions.spatial.data, spatial)
    torch.testing.assert_close(encoder.positions.temporal.data, temporal)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("--data.labels.columns=[A,C]", "no column 'C'"),
        ("--data.modalities=[OCT,IR]", "what the card's model looks at, OCT, not OCT, IR"),
        ("--data.batch_size=64", "fewer than a batch of 64"),
        ("--resume=nowhere.ckpt", "no training checkpoint nowhere.ckpt"),
        ("--model.card.architecture.outputs=8", "2 labels need 4 outputs, not 8"),
        ("--model.card.architecture.num_heads=3", "no multiple of 3 heads"),
        ("--model.card.labels=[{name: Other, abbreviation: O}]", "in their order: O; not A, B"),
        ("--model.class_weights=[1.0]", "one for each label, 2 in all"),
        ("--model.lesions={weight: 1.0}", "data.lesions: true"),
        ("--model.drop_path=1.5", "drop_path"),
        ("--folds=1", "--folds must be at least 2"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(run, capsys, wrong, sentence):
    assert run(wrong) == 2
    assert sentence in capsys.readouterr().err
    assert not run.exported.exists()


def test_errors_are_one_line(capsys, tmp_path):
    assert main(["no-such-command"]) == 2
    recipe = f"--config={CONFIGS / 'family' / 'finetune_diseases.yaml'}"
    assert main(["finetune", recipe, f"--data.store={tmp_path}", "--trainer.devices=1"]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if line.startswith("train: error:")]
    assert len(errors) == 2
    assert "no-such-command" in errors[0]
    assert "no finished store" in errors[1]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_one_that_can_be_read(path):
    config = read_recipe([f"--config={path}"])
    card = config.model.card
    assert config.export == f"{config.trainer.default_root_dir}.safetensors"
    assert card.architecture.embed_dim % card.architecture.num_heads == 0
    named = [each.abbreviation for each in (*card.labels, *card.targets)]
    labels = config.data.labels
    assert not named or named == [*labels.columns, *labels.auxiliary]
    assert config.monitor == ("val/r2" if labels.kind == "regression" else config.monitor)
