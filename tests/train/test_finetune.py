"""Fine-tuning: targets and augmentation agree with the eyes, and a run ends in a model the viewer loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import octcube_core as oc
from octcube_core.bench import random_model
from octcube_core.checkpoints.format import save_checkpoint
from octcube_core.errors import InputError
from octcube_core.phantom import DISEASES, make_exam
from octcube_core.token_grid import TokenGrid
from train.__main__ import main
from train.data.augment import Augment
from train.data.phantoms import lesion_bits
from train.evaluation.pointing import points_at, tokens_in_lesion
from train.tasks.finetune import FinetuneTask, lesion_targets

CONFIG = Path(__file__).parents[2] / "train" / "configs" / "demo.yaml"
SHRUNK = [
    "--model.card.architecture.embed_dim=64",
    "--model.card.architecture.depth=2",
    "--model.card.architecture.num_heads=1",
    "--model.card.architecture.mlp_dim=64",
    "--model.card.architecture.grid=[4,4,4]",
    "--trainer.max_epochs=1",
    "--trainer.devices=1",
    "--trainer.strategy=auto",
    "--trainer.enable_progress_bar=false",
    "--trainer.callbacks=[]",
    "--data.batch_size=8",
]


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


@pytest.mark.slow
def test_a_run_ends_in_a_model_that_analyses(small_store, tmp_path):
    exported = tmp_path / "model.safetensors"
    arguments = ["finetune", f"--config={CONFIG}", f"--data.store={small_store}", *SHRUNK]
    arguments += [f"--export={exported}", f"--trainer.default_root_dir={tmp_path}"]
    assert main(arguments) == 0
    model = oc.load_model(exported)
    assert model.card.synthetic
    exam = make_exam(9)
    analysis = oc.analyze(exam, model)
    assert [score.abbreviation for score in analysis.scores] == list(DISEASES)
    assert analysis.saliency.shape == (8, 4, 4, 4)


def test_a_run_may_start_from_a_model(tmp_path):
    start = random_model(1, 64, 1, (6, 32, 32), final_residual=True)
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, start)
    task = FinetuneTask(start.card, start_from=str(path))
    for name, tensor in start.state_dict().items():
        torch.testing.assert_close(task.model.state_dict()[name], tensor)
    deeper = random_model(2, 64, 1, (6, 32, 32), final_residual=True).card
    with pytest.raises(InputError, match="architecture"):
        FinetuneTask(deeper, start_from=str(path))


def test_a_run_may_start_from_an_encoder_of_another_grid(tmp_path):
    start = random_model(1, 64, 1, (6, 32, 32), final_residual=True)
    path = tmp_path / "start.safetensors"
    save_checkpoint(path, start)
    larger = random_model(1, 64, 1, (9, 48, 32), final_residual=True).card
    encoder = FinetuneTask(larger, start_from=str(path)).model.encoder
    spatial, temporal = start.encoder.positions.tables((3, 3, 2))
    torch.testing.assert_close(encoder.positions.spatial.data, spatial)
    torch.testing.assert_close(encoder.positions.temporal.data, temporal)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ("--data.labels=[AMD,DME,POAG,ERM/MH,DR,PVD,CRAO/CRVO,RNV]", "DME, AMD, POAG"),
        ("--data.batch_size=64", "fewer than a batch of 64"),
        ("--resume=nowhere.ckpt", "no training checkpoint nowhere.ckpt"),
        ("--model.card.architecture.grid=[4,2,4]", r"(12, 64, 64)"),
        ("--model.card.architecture.outputs=8", "need 16 outputs"),
        ("--model.lesion_gain=[1,2,3]", "lesion_gain"),
    ],
)
def test_a_recipe_that_cannot_work_is_refused(small_store, tmp_path, capsys, wrong, sentence):
    exported = tmp_path / "model.safetensors"
    arguments = ["finetune", f"--config={CONFIG}", f"--data.store={small_store}", *SHRUNK]
    assert main([*arguments, f"--export={exported}", wrong]) == 2
    assert sentence in capsys.readouterr().err
    assert not exported.exists()


def test_errors_are_one_line(capsys, tmp_path):
    assert main(["no-such-command"]) == 2
    assert main(["finetune", f"--config={CONFIG}", f"--data.store={tmp_path}", *SHRUNK]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    errors = [line for line in lines if line.startswith("train: error:")]
    assert len(errors) == 2
    assert "no-such-command" in errors[0]
    assert "no finished store" in errors[1]
