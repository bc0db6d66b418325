"""Every kind of task learns eight tiny exams by heart, and ends in a model that says in ``analyze`` what it said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import octcube_core as oc
from octcube_core.checkpoints.card import ModelCard, SliceHead
from octcube_core.checkpoints.format import save_checkpoint
from octcube_core.errors import InputError
from tests.train.tiny_exams import exam_of, image_card, joint_card, tiny_store, volume_card
from train.data.augment import Augment
from train.data.labels import Labels
from train.data.module import StoreData
from train.engine.optimiser import Optimisation
from train.evaluation.predictions import predict, said
from train.tasks.finetune import FinetuneTask
from train.tasks.finetuning.inputs import model_inputs, model_outputs
from train.tasks.finetuning.lesions import LesionTargets
from train.tasks.finetuning.lora import Lora

SMALL_HEAD = SliceHead(embed_dim=24, depth=2, num_heads=5, head_dim=8, mlp_dim=32)
BINARY = Labels("binary", ["A", "B"])
CLASSES = Labels("multiclass", ["GRADE"], classes=["healthy", "mild", "severe"])
VALUES = Labels("regression", ["GROWTH"], auxiliary={"AREA": 0.2})
CASES = {
    "one binary label": (volume_card(), Labels("binary", ["A"]), ["OCT"]),
    "several binary labels": (volume_card(), BINARY, ["OCT"]),
    "classes": (volume_card(), CLASSES, ["OCT"]),
    "values": (volume_card(), VALUES, ["OCT"]),
    "values by slices": (volume_card(slice_head=SMALL_HEAD), VALUES, ["OCT"]),
    "labels of an image": (image_card("FAF"), BINARY, ["FAF"]),
    "values of an image": (image_card("IR"), VALUES, ["IR"]),
    "labels of several modalities": (joint_card("FAF", "IR"), BINARY, ["OCT", "FAF", "IR"]),
    "values of two modalities": (joint_card("IR"), VALUES, ["OCT", "IR"]),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("store") / "exams")


def _fit(
    store: Path, card: ModelCard, labels: Labels, modalities: list[str], steps: int = 90, **options
) -> tuple[FinetuneTask, StoreData, list[dict[str, float]]]:
    """Train on all training exams at once; loss and metrics on them before and after."""
    torch.manual_seed(3)
    lesions = options.get("lesions") is not None
    data = StoreData(str(store), modalities, replace(labels), None, 7, 0, lesions)
    task = FinetuneTask(card, Optimisation(lr=1.0), **options)
    task.check(data)
    logged: dict[str, float] = {}
    task.log = lambda name, value, **_: logged.__setitem__(name, float(value))
    batch = next(iter(data.train_dataloader()))
    optimizer = torch.optim.AdamW([p for p in task.parameters() if p.requires_grad], lr=3e-3)
    history = [_judged(task, batch, logged)]
    for _ in range(steps):
        loss = task.train().training_step(batch, 0)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return task, data, [*history, _judged(task, batch, logged)]


def _judged(task: FinetuneTask, batch: dict, logged: dict[str, float]) -> dict[str, float]:
    with torch.no_grad():
        task.eval().validation_step(batch, 0)
    task.on_validation_epoch_end()
    return dict(logged)


def _predicted(task: FinetuneTask, data: StoreData, model=None) -> dict[int, dict[str, float]]:
    model = model or task.exported()
    card, rows = model.card, data.training.rows
    outputs = predict(model, data.opened, rows, batch_size=3, workers=0)
    names = [each.abbreviation for each in (*card.labels, *card.targets)]
    values = said(outputs, card).tolist()
    return {
        int(row): dict(zip(names, each, strict=True))
        for row, each in zip(rows, values, strict=True)
    }


@pytest.mark.parametrize("case", CASES)
def test_a_task_learns_and_its_model_says_the_same_in_analyze(case, store, tmp_path) -> None:
    card, labels, modalities = CASES[case]
    task, data, (before, after) = _fit(store, card, labels, modalities)
    metric = "val/r2" if labels.kind == "regression" else "val/auroc"
    assert after["val/loss"] < 0.8 * before["val/loss"]
    assert after[metric] >= before[metric]
    assert after[metric] > 0.7
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, task.exported())
    model = oc.load_model(path, device="cpu", precision="fp32")
    predicted = _predicted(task, data, model)
    for row in {3, 2} & set(predicted):  # exam 2 lacks FAF
        analysis = oc.analyze(exam_of(data.opened, row), model, saliency="layercam")
        found = {score.abbreviation: score.probability for score in analysis.scores}
        found |= {each.abbreviation: each.value for each in analysis.measurements}
        for name, value in predicted[row].items():
            assert found[name] == pytest.approx(value, abs=1e-5 * max(1, abs(value)))
        _check_maps(analysis, modalities)


def _check_maps(analysis: oc.Analysis, modalities: list[str]) -> None:
    """A map for everything that is said, of every modality that was there, on its grid."""
    count = len(analysis.targets)
    assert analysis.saliency.shape == (count, *((2, 2, 2) if "OCT" in modalities else (1, 1, 1)))
    assert all(found.maps.shape == (count, 2, 2) for found in analysis.enface.values())
    assert set(analysis.embeddings) == {"OCT", *analysis.enface} & set(modalities)
    maps = [analysis.saliency, *(found.maps for found in analysis.enface.values())]
    assert all(np.isfinite(each).all() for each in maps)


@pytest.mark.parametrize(
    ("case", "outputs"),
    [
        ("classes", [0, 1, 2]),
        ("values by slices", [0, 1]),
        ("labels of an image", [1, 3]),
        ("values of two modalities", [0, 1]),
    ],
)
def test_a_map_is_that_of_the_output_that_it_explains(case, outputs, store) -> None:
    card, labels, modalities = CASES[case]
    task, data, _ = _fit(store, card, labels, modalities, steps=3)
    model = task.exported().eval()
    exam = exam_of(data.opened, 0)
    analysis = oc.analyze(exam, model, saliency="hirescam", layer="norm2")
    batch = data.training.__getitems__([list(data.training.rows).index(0)])
    inputs = model_inputs(model.card, batch)
    encoder = model.oct_tower.encoder if "two" in case else model.encoder
    normed: list[torch.Tensor] = []
    encoder.last_block.norm2.register_forward_hook(lambda *call: normed.append(call[2]))
    said_of_all = model_outputs(model, inputs, batch["present"], modalities)
    found = analysis.saliency * analysis.saliency_peak[:, None, None, None]
    if modalities == ["FAF"]:
        found = analysis.enface["FAF"].maps * analysis.enface["FAF"].peaks[:, None, None]
    for place, number in enumerate(outputs, start=len(found) - len(outputs)):
        gradient = torch.autograd.grad(said_of_all[0, number], normed[0], retain_graph=True)[0]
        wanted = (gradient * normed[0]).sum(-1).relu().detach().reshape(found.shape[1:])
        np.testing.assert_allclose(found[place], wanted, atol=1e-6)


def test_classes_exclude_each_other(store, tmp_path) -> None:
    task, data, _ = _fit(store, volume_card(), CLASSES, ["OCT"], steps=4)
    analysis = oc.analyze(exam_of(data.opened, 0), task.exported())
    assert [score.abbreviation for score in analysis.scores] == ["healthy", "mild", "severe"]
    assert sum(score.probability for score in analysis.scores) == pytest.approx(1)
    assert analysis.normal_probability is None


def test_values_come_in_their_units(store) -> None:
    task, data, _ = _fit(store, volume_card(), VALUES, ["OCT"], steps=4)
    targets = task.exported().card.targets
    known = data.label_table.loc[data.training.rows]
    assert [target.mean for target in targets] == pytest.approx(known.mean().tolist(), abs=1e-5)
    areas = [values["AREA"] for values in _predicted(task, data).values()]
    assert 8 < np.mean(areas) < 15


def test_drop_path_leaves_out_whole_exams_also_before_a_head_of_slices(store) -> None:
    card, labels, modalities = CASES["values by slices"]
    task, data, _ = _fit(store, card, labels, modalities, steps=0, drop_path=0.5)
    batch = next(iter(data.train_dataloader()))
    encoder, volume = task.model.encoder, model_inputs(task.model.card, batch)["OCT"]
    attended = encoder.train().attend(encoder.trunk(volume))
    without = attended[:, 1:].unflatten(1, (2, 4)).mean(dim=2)
    left_out = (encoder.pool(attended, layers=2) - without).abs().amax(dim=2) < 1e-6
    assert left_out.any()
    assert not left_out.all()
    assert torch.equal(left_out[:, 0], left_out[:, 1])


def test_a_linear_probe_leaves_the_encoder_as_it_was(store) -> None:
    options = {"freeze_encoder": True, "drop_path": 0.5}
    fresh, _, _ = _fit(store, volume_card(), BINARY, ["OCT"], steps=0, **options)
    task, _, (before, after) = _fit(store, volume_card(), BINARY, ["OCT"], **options)
    for name, weight in task.model.encoder.state_dict().items():
        assert torch.equal(weight, fresh.model.encoder.state_dict()[name])
    assert after["val/loss"] < before["val/loss"]
    assert not task.train().model.encoder.training  # features as they are in use


def test_lora_is_merged_into_plain_weights(store) -> None:
    task, _, (before, after) = _fit(
        store, volume_card(), BINARY, ["OCT"], lora=Lora(rank=2, alpha=4.0)
    )
    trained = {name for name, p in task.model.encoder.named_parameters() if p.requires_grad}
    assert trained
    assert all("lora_" in name for name in trained)
    assert after["val/loss"] < before["val/loss"]
    merged = task.exported()
    plain = FinetuneTask(
        replace(volume_card(), labels=merged.card.labels), Optimisation(lr=1e-3)
    ).model
    assert set(merged.state_dict()) == set(plain.state_dict())
    volume = torch.rand(2, 1, 6, 32, 32)
    torch.testing.assert_close(merged.eval()(volume), task.eval().model(volume), rtol=0, atol=1e-5)


def test_lesion_masks_are_learnt_beside_the_labels(store) -> None:
    options = {"lesions": LesionTargets(2.0, [3.0])}
    task, _, (_, after) = _fit(store, volume_card(), BINARY, ["OCT"], **options)
    assert after["train/lesion_loss"] < 0.3
    assert not [name for name in task.exported().state_dict() if "lesion" in name]


def test_changes_of_volumes_are_not_taken_for_changes_of_images():
    with pytest.raises(InputError, match="for images give"):
        FinetuneTask(image_card(), Optimisation(lr=1.0), augment=Augment())
