"""The evaluate command: figures that scikit-learn gives from its predictions, in files that hold no identity."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from sklearn.metrics import mean_absolute_error, roc_auc_score

import octcube_core as oc
from octcube_core.checkpoints.card import Label, ModelCard, Target
from octcube_core.checkpoints.format import load_checkpoint, save_checkpoint
from octcube_core.models.family import network
from tests.train.tiny_exams import exam_of, image_card, joint_card, tiny_store, volume_card
from train.__main__ import main
from train.data.store import VolumeStore
from train.tasks.finetuning.labelled_card import with_outputs

DISEASES = (Label("First disease", "A", threshold=0.4), Label("Second disease", "B"))
GRADES = tuple(Label(name, name) for name in ("healthy", "mild", "severe"))
TARGETS = (Target("Growth", "GROWTH", "mm2", mean=0.5, scale=0.3),)
QUICK = ["--bootstrap.resamples=50", "--workers=0", "--device=cpu", "--precision=fp32"]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("store") / "exams"
    return tiny_store(folder, training=0, validation=12, test=16)


@pytest.fixture
def model(tmp_path):
    def make(card: ModelCard, seed: int = 0) -> str:
        torch.manual_seed(seed)
        path = tmp_path / f"model{seed}.safetensors"
        save_checkpoint(path, network(with_outputs(card) if card.outputs else card))
        return str(path)

    return make


def _evaluate(store: Path, out: Path, *arguments: str) -> tuple[dict, pd.DataFrame]:
    assert main(["evaluate", "--store", str(store), "--out", str(out), *QUICK, *arguments]) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "metrics.json",
        "metrics.parquet",
        "predictions.parquet",
    ]
    figures = json.loads((out / "metrics.json").read_text())
    return figures, pd.read_parquet(out / "predictions.parquet")


def test_diseases(store, model, tmp_path):
    path = model(volume_card(labels=DISEASES))
    figures, predictions = _evaluate(store, tmp_path / "out", "--model", path)
    assert figures["split"] == "test"
    assert (figures["exams"], figures["patients"]) == (16, 16)
    truth, score = predictions["truth/A"], predictions["predicted/A"]
    found = figures["targets"]["A"]
    assert found["auroc"]["value"] == pytest.approx(roc_auc_score(truth, score))
    assert found["auroc"]["low"] <= found["auroc"]["value"] <= found["auroc"]["high"]
    assert found["sensitivity"]["value"] == (score[truth == 1] >= 0.4).mean()
    both = [figures["targets"][name]["auroc"]["value"] for name in "AB"]
    assert figures["targets"]["mean"]["auroc"]["value"] == pytest.approx(np.mean(both))
    table = pd.read_parquet(tmp_path / "out" / "metrics.parquet").set_index(["target", "metric"])
    assert table.loc[("A", "auroc"), "value"] == found["auroc"]["value"]
    manifest = VolumeStore.open(store).manifest
    np.testing.assert_array_equal(manifest.loc[predictions["row"], "eye"], predictions["eye"])


def test_predictions_are_what_the_viewer_says(store, model, tmp_path):
    path = model(volume_card(labels=DISEASES))
    _, predictions = _evaluate(store, tmp_path / "out", "--model", path)
    opened = VolumeStore.open(store)
    loaded = oc.load_model(path, device="cpu", precision="fp32")
    for row in (0, 7):
        seen = oc.analyze(exam_of(opened, int(predictions["row"][row])), loaded)
        said = [score.probability for score in seen.scores]
        np.testing.assert_allclose(
            said, predictions.loc[row, ["predicted/A", "predicted/B"]].astype(float), atol=2e-6
        )


def test_classes(store, model, tmp_path):
    path = model(volume_card(labels=GRADES, exclusive=True))
    figures, predictions = _evaluate(
        store,
        tmp_path / "out",
        "--model",
        path,
        "--labels.kind=multiclass",
        "--labels.columns=[GRADE]",
    )
    scores = predictions[[f"predicted/{label.name}" for label in GRADES]].to_numpy()
    np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-6)
    right = (scores.argmax(axis=1) == predictions["truth/GRADE"]).mean()
    assert figures["targets"]["all classes"]["accuracy"]["value"] == pytest.approx(right)
    assert {"healthy", "mild", "severe", "mean"} < set(figures["targets"])


@pytest.mark.parametrize(
    "card",
    [
        volume_card(targets=TARGETS),
        image_card("IR", targets=TARGETS),
        joint_card("FAF", "IR", targets=TARGETS),
    ],
    ids=["volumes", "images", "several modalities"],
)
def test_values(card, store, model, tmp_path):
    figures, predictions = _evaluate(store, tmp_path / "out", "--model", model(card))
    error = mean_absolute_error(predictions["truth/GROWTH"], predictions["predicted/GROWTH"])
    assert figures["kind"] == "regression"
    assert figures["targets"]["GROWTH"]["mae"]["value"] == pytest.approx(error)


def test_several_models_are_averaged(store, model, tmp_path):
    card = volume_card(labels=DISEASES)
    paths = [model(card, seed) for seed in (0, 1)]
    alone = [
        _evaluate(store, tmp_path / f"out{n}", "--model", path)[1]["predicted/A"]
        for n, path in enumerate(paths)
    ]
    _, together = _evaluate(store, tmp_path / "both", "--model", *paths)
    np.testing.assert_allclose(together["predicted/A"], (alone[0] + alone[1]) / 2)


def test_an_aligned_model_without_a_head_is_judged_by_retrieval(store, model, tmp_path):
    joint = joint_card("FAF", "IR")
    card = replace(joint, alignment=replace(joint.alignment, regression_hidden=0))
    figures, _ = _evaluate(store, tmp_path / "out", "--model", model(card), "--split=validation")
    found = figures["targets"]["OCT to IR"]
    assert found["recall@10"]["candidates"] == 12
    assert figures["targets"]["OCT to FAF"]["recall@1"]["candidates"] == 11  # one exam lacks FAF
    assert 0 <= found["recall@1"]["value"] <= found["recall@10"]["value"] <= 1
    few, _ = _evaluate(
        store, tmp_path / "few", "--model", model(card), "--split=validation", "--candidates=5"
    )
    assert few["targets"]["IR to FAF"]["recall@5"]["value"] == 1


def test_a_figure_that_is_not_defined_is_null_with_its_reason(store, model, tmp_path):
    labels = pd.DataFrame({"eye": [f"eye{n}" for n in range(28)], "A": 0.0, "B": [1.0, 0.0] * 14})
    labels.to_csv(tmp_path / "labels.csv", index=False)
    recipe = {
        "data": {
            "labels": {
                "kind": "binary",
                "columns": ["A", "B"],
                "file": str(tmp_path / "labels.csv"),
                "key": ["eye"],
            }
        }
    }
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(recipe))
    path = model(volume_card(labels=DISEASES))
    figures, predictions = _evaluate(
        store, tmp_path / "out", "--model", path, "--config", str(tmp_path / "config.yaml")
    )
    assert predictions["truth/B"].mean() == 0.5
    auroc = figures["targets"]["A"]["auroc"]
    assert auroc == {"value": None, "low": None, "high": None, "reason": "no positive exam"}
    assert figures["targets"]["mean"]["auroc"]["reason"].startswith("without A")


def test_splits_of_a_recipe_decide_which_exams_are_judged(store, model, tmp_path):
    path = model(volume_card(labels=DISEASES))
    drawn = ["--splits.test_share=0.25", "--splits.validation_share=0.25", "--splits.seed=3"]
    figures, _ = _evaluate(store, tmp_path / "out", "--model", path, *drawn)
    assert figures["exams"] == 7


def test_calibration_writes_a_new_model_that_says_how(store, model, tmp_path):
    path = model(volume_card(labels=DISEASES))
    out = tmp_path / "calibrated.safetensors"
    arguments = ["--model", path, "--store", str(store), "--calibrate", *QUICK]
    assert main(["evaluate", *arguments, "--out", str(out)]) == 0
    before, after = load_checkpoint(path), load_checkpoint(out)
    assert after.card.temperature != before.card.temperature == 1
    assert after.card.notes["calibration"]["exams"] == 12
    assert after.card.labels[0].threshold != 0.4
    for name, tensor in before.state_dict().items():
        assert torch.equal(tensor, after.state_dict()[name])
    assert not list(tmp_path.glob(".*"))
    assert main(["evaluate", *arguments, "--out", path]) == 2
    assert main(["evaluate", *arguments, "--out", str(out), "--saliency", "layercam:norm1"]) == 0
    named = load_checkpoint(out).card
    assert (named.saliency, named.saliency_layer) == ("layercam", "norm1")
    assert main(["evaluate", *arguments, "--out", str(out), "--saliency", "lime:norm1"]) == 2


@pytest.mark.parametrize(
    ("card", "arguments", "sentence"),
    [
        (volume_card(labels=DISEASES), ["--split=train"], "has no exam with a label"),
        (volume_card(labels=DISEASES), ["--saliency=gradcam:norm1"], "belongs to --calibrate"),
        (volume_card(labels=DISEASES), ["--labels.kind=regression", "--labels.columns=[A]"], "is a binary model"),
        (volume_card(labels=DISEASES), ["--labels.kind=some", "--labels.columns=[A]"], "labels"),
        (volume_card(labels=GRADES, exclusive=True), [], "which column"),
        (volume_card(labels=(Label("?", "C"),)), [], "no column 'C'"),
        (image_card("CFP", labels=DISEASES), [], "sees CFP, but the store has OCT, FAF, IR"),
        (volume_card(), [], "no head"),
        (volume_card(labels=DISEASES), ["--config=nowhere.yaml"], "cannot be read"),
        (volume_card(labels=DISEASES), ["--sensitivity=0.9"], "belong to --calibrate"),
        (volume_card(labels=DISEASES), ["--calibrate"], "must be called .safetensors"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said_in_one_sentence(
    card, arguments, sentence, store, model, tmp_path, capsys
):
    torch.manual_seed(0)
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, network(with_outputs(card) if card.outputs else card))
    asked = ["--model", str(path), "--store", str(store), "--out", str(tmp_path / "out"), *QUICK]
    assert main(["evaluate", *asked, *arguments]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()
