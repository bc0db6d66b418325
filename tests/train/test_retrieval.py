"""evaluate retrieval: figures that loops over the written embeddings give too, within a cohort and across devices."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from octcube_core.checkpoints.format import load_checkpoint, save_checkpoint
from octcube_core.models.family import network
from octcube_core.phantom import DISEASES
from tests.train.tiny_exams import joint_card, tiny_store, volume_card
from train.__main__ import main
from train.data.salt import SALT
from train.data.store import (
    MANIFEST,
    VolumeStore,
    write_manifest,
)

EXAMS = 24
QUICK = ["--bootstrap.resamples=20", "--workers=0", "--device=cpu", "--precision=fp32"]
SIDES = ("OD", "OS")
DEVICES = ["--query_device=one", "--index_device=other"]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Path:
    """Six patients' eyes, most at one visit on two devices; one eye of unknown side, one disease unknown of some."""
    folder = tiny_store(tmp_path_factory.mktemp("store") / "eyes", 0, 0, EXAMS)
    number = np.arange(EXAMS)
    table = pd.read_parquet(folder / MANIFEST).assign(
        patient=[f"p{n // 4}" for n in number],
        laterality=np.where(number % 4 < 2, "OD", "OS"),
        device=np.where(number % 2, "other", "one"),
        visit=1,
    )
    table.loc[[4, 5], "laterality"] = None
    table.loc[9, "visit"] = 2
    random = np.random.default_rng(0)
    for name in DISEASES:
        table[name] = random.integers(0, 2, EXAMS).astype(float)
    table.loc[[3, 8, 13], DISEASES[1]] = np.nan
    table.loc[7, list(DISEASES)] = np.nan
    write_manifest(folder, table)
    (folder / SALT).write_text("a salt")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    joint = joint_card("FAF", "IR")
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "aligned.safetensors"
    alignment = replace(joint.alignment, regression_hidden=0)
    save_checkpoint(path, network(replace(joint, alignment=alignment)))
    return str(path)


def _evaluate(*arguments: object) -> tuple[dict, pd.DataFrame]:
    """Figures and embeddings of ``evaluate retrieval``."""
    words = [str(argument) for argument in arguments]
    out = Path(words[words.index("--out") + 1])
    assert main(["evaluate", "retrieval", *words, *QUICK]) == 0
    return json.loads((out / "metrics.json").read_text()), pd.read_parquet(
        out / "predictions.parquet"
    )


def _by_hand(queries, candidates, asked, found, is_pair) -> dict[str, float]:
    """Figures of one pair of modalities, exam by exam; ``queries`` are lists of (manifest row, embeddings)."""
    ranks, sides, agreement = [], {1: [], 5: [], 10: []}, {}
    queries = [each for each in queries if each[1][asked] is not None]
    candidates = [each for each in candidates if each[1][found] is not None]
    for query, embedding in queries:
        scored = [
            (float(np.dot(embedding[asked].astype(float), other[found].astype(float))), row)
            for row, other in candidates
        ]
        scored.sort(key=lambda each: -each[0])
        places = [place for place, (_, row) in enumerate(scored, 1) if is_pair(query, row)]
        ranks += places[:1]
        others = [
            row for _, row in scored if not is_pair(query, row) and row["laterality"] in SIDES
        ]
        for k in sides:
            if query["laterality"] in SIDES and len(others) >= k:
                same = [row["laterality"] == query["laterality"] for row in others[:k]]
                sides[k].append(sum(same) / k)
        strangers = [
            row
            for _, row in scored
            if row["patient"] != query["patient"] and any(row[name] >= 0 for name in DISEASES)
        ]
        for name, k in product(DISEASES, (1, 5, 10)):
            near = [row[name] for row in strangers[:k] if row[name] >= 0]
            if query[name] == 1 and len(strangers) >= k and near:
                agreement.setdefault((name, k), []).append(sum(near) / len(near))
    figures = {f"laterality_accuracy@{k}": np.mean(each) for k, each in sides.items() if each}
    figures |= {f"{name}@{k}": np.mean(each) for (name, k), each in agreement.items()}
    if ranks:
        figures["mean_rank"] = np.mean(ranks)
        figures |= {f"recall@{k}": np.mean([rank <= k for rank in ranks]) for k in (1, 5, 10)}
    return figures


def _check(targets: dict, name: str, expected: dict[str, float]) -> None:
    said = {metric: each["value"] for metric, each in targets[name].items()}
    said |= {
        f"{label}@{k}": targets[f"{name}, {label}"][f"label_agreement@{k}"]["value"]
        for label in DISEASES
        for k in (1, 5, 10)
    }
    said = {metric: value for metric, value in said.items() if value is not None}
    assert said == pytest.approx(expected)


def _exams(store: Path, embeddings: pd.DataFrame) -> list[tuple[dict, dict]]:
    manifest = VolumeStore.open(store).manifest
    return [
        (manifest.iloc[each["row"]].to_dict() | {"row": each["row"]}, each)
        for each in embeddings.to_dict("records")
    ]


def test_within_a_cohort_the_figures_are_those_of_a_loop(store, model, tmp_path):
    found, embeddings = _evaluate("--model", model, "--store", store, "--out", tmp_path / "out")
    exams = _exams(store, embeddings)
    for asked, other in permutations(("OCT", "FAF", "IR"), 2):
        both = [each for each in exams if each[1][asked] is not None and each[1][other] is not None]
        expected = _by_hand(both, both, asked, other, lambda a, b: a["row"] == b["row"])
        _check(found["targets"], f"{asked} to {other}", expected)
    recall = found["targets"]["OCT to FAF"]["recall@5"]
    assert (recall["queries"], recall["candidates"]) == (EXAMS - 1, EXAMS - 1)
    assert recall["low"] <= recall["value"] <= recall["high"]
    assert "OCT to OCT" not in found["targets"]


def test_without_the_word_an_aligned_model_gets_the_same_figures(store, model, tmp_path):
    asked = ["--model", model, "--store", str(store), "--candidates", "12"]
    found, _ = _evaluate(*asked, "--out", tmp_path / "out")
    plain = ["evaluate", *asked, *QUICK, "--out", str(tmp_path / "plain")]
    assert main(plain) == 0
    assert json.loads((tmp_path / "plain" / "metrics.json").read_text()) == found
    assert found["targets"]["OCT to IR"]["mean_rank"]["candidates"] == 12


def test_across_devices_a_pair_is_the_same_eye_at_the_same_visit(store, model, tmp_path):
    found, embeddings = _evaluate(
        "--model", model, "--store", store, *DEVICES, "--out", tmp_path / "out"
    )
    cohorts = embeddings.groupby("cohort")
    queries, index = (_exams(store, cohorts.get_group(name)) for name in ("query", "index"))
    assert {row["device"] for row, _ in queries} == {"one"}
    assert {row["device"] for row, _ in index} == {"other"}

    def is_pair(a, b):
        return a["laterality"] in SIDES and all(
            a[name] == b[name] for name in ("patient", "laterality", "visit")
        )

    for asked, other in product(("OCT", "FAF", "IR"), repeat=2):
        expected = _by_hand(queries, index, asked, other, is_pair)
        _check(found["targets"], f"{asked} to {other}", expected)
    figures = found["targets"]["OCT to OCT"]
    # Of twelve eyes one has no known side and one was seen on another day.
    assert figures["recall@1"]["queries"] == 10
    assert figures["laterality_accuracy@1"]["queries"] == 11
    assert found["index"] == {"store": "eyes", "device": "other", "exams": 12, "patients": 6}


def test_label_agreement_stands_beside_what_chance_gives(store, model, tmp_path):
    labels = pd.DataFrame({"eye": [f"eye{n}" for n in range(EXAMS)], "TORN": [1, 0, 0, 0] * 6})
    labels.to_csv(tmp_path / "labels.csv", index=False)
    found, _ = _evaluate(
        *("--model", model, "--store", store, "--out", tmp_path / "out"),
        *("--labels.kind=binary", "--labels.columns=[TORN]", "--labels.key=[eye]"),
        f"--labels.file={tmp_path / 'labels.csv'}",
    )
    # A label of one exam of each patient: five of the twenty exams of other patients have it.
    figures = found["targets"]["OCT to IR, TORN"]
    assert {each["chance"] for each in figures.values()} == {0.25}
    assert figures["label_agreement@1"]["queries"] == 6
    assert not any(DISEASES[0] in target for target in found["targets"])


def test_without_any_pair_recall_is_left_out_and_the_reason_said(store, model, tmp_path, capsys):
    foreign = tmp_path / "foreign"
    shutil.copytree(store, foreign)
    manifest = pd.read_parquet(foreign / MANIFEST)
    write_manifest(foreign, manifest.assign(patient="x" + manifest["patient"]))
    (foreign / SALT).write_text("another salt")
    asked = ["--model", model, "--store", store, "--index_store", foreign]
    found, _ = _evaluate(*asked, "--query_device=one", "--out", tmp_path / "out")
    assert set(found["targets"]["OCT to OCT"]) == {f"laterality_accuracy@{k}" for k in (1, 5, 10)}
    assert found["targets"]["OCT to OCT"]["laterality_accuracy@5"]["candidates"] == EXAMS
    assert "left out: no eye that queries is in the index" in found["note"]
    assert found["note"].endswith("as the two stores hash patients with different salts.")
    assert found["note"] in capsys.readouterr().err


def test_another_store_can_be_the_index(store, model, tmp_path):
    """The exams of the other device, moved to a store of their own, are found as well as before."""
    alone = tmp_path / "alone"
    shutil.copytree(store, alone)
    manifest = pd.read_parquet(alone / MANIFEST)
    write_manifest(
        alone, manifest.assign(split=np.where(manifest["device"] == "other", "test", "train"))
    )
    asked = ["--model", model, "--store", store, "--query_device=one"]
    apart, _ = _evaluate(*asked, "--index_store", alone, "--out", tmp_path / "apart")
    within, _ = _evaluate(*asked, "--index_device=other", "--out", tmp_path / "within")
    assert apart["targets"] == within["targets"]
    assert apart["index"]["store"] == "alone"


def test_results_that_are_not_finite_are_no_missing_images(store, model, tmp_path, capsys):
    broken = load_checkpoint(model)
    with torch.no_grad():
        broken.oct_tower.head.bias.fill_(torch.inf)
    save_checkpoint(tmp_path / "broken.safetensors", broken)
    asked = ["--model", str(tmp_path / "broken.safetensors"), "--store", str(store), *QUICK]
    assert main(["evaluate", "retrieval", *asked, "--out", str(tmp_path / "out")]) == 2
    assert "are not finite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--query_device=one"], "give both --query_device and --index_device"),
        (["--query_device=one", "--index_device=one"], "are the same"),
        (["--query_device=one", "--index_device=third"], "devices of the store are one, other"),
        (["--index_store=nowhere"], "holds no finished store"),
        (["--index_store={store}"], "is the store itself"),
        (["--index_store={store}", "--splits.seed=3"], "leave out --splits"),
        (["--labels.kind=regression", "--labels.columns=[GROWTH]"], "are of kind binary, not regression"),
        (["--split=train"], "Fewer than two exams"),
        (["--candidates=1"], "--candidates is at least 2"),
        (["--calibrate"], "no probabilities to calibrate"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_said_in_one_sentence(
    arguments, sentence, store, model, tmp_path, capsys
):
    words = [word.format(store=store) for word in arguments]
    out = tmp_path / "out.safetensors"
    asked = ["--model", model, "--store", str(store), "--out", str(out), *QUICK]
    assert main(["evaluate", "retrieval", *asked, *words]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert "Traceback" not in error
    assert not out.exists()


def test_other_models_and_the_missing_word_are_refused(store, model, tmp_path, capsys):
    path = tmp_path / "volumes.safetensors"
    save_checkpoint(path, network(volume_card()))
    asked = ["--store", str(store), "--out", str(tmp_path / "out"), *QUICK]
    assert main(["evaluate", "retrieval", "--model", str(path), *asked]) == 2
    assert "is not aligned" in capsys.readouterr().err
    assert main(["evaluate", "--model", model, *asked, *DEVICES]) == 2
    assert "belong to evaluate retrieval" in capsys.readouterr().err
    assert main(["evaluate", "recall", "--model", model, *asked]) == 2
    assert "recall" in capsys.readouterr().err
