"""The family: stages run once, in order, go on after a failure, and the proof says what does not hold."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from octcube_core.checkpoints.released import PACKAGED
from octcube_core.errors import InputError, OCTCubeError
from train.__main__ import COMMANDS
from train.__main__ import main as train
from train.family import prove as proof
from train.family import ship as shipping
from train.family.plan import SEEDS, plan
from train.family.run import DONE, STARTED, minutes, run
from train.family.stages import CONFIGS, Stage

EYES = Stage(
    "make-eyes",
    ("phantoms", "--out={family}/eyes", "--n=1", "--size", "6", "64", "32", "--workers=1"),
    "eyes",
)


@pytest.mark.parametrize("small", [False, True])
def test_every_stage_builds_on_earlier_ones_and_on_what_exists(small):
    seen: set[str] = set()
    for stage in plan(small=small):
        assert stage.name not in seen
        assert set(stage.needs) <= seen, stage.name
        assert stage.arguments[0] in COMMANDS
        assert stage.config is None or (CONFIGS / stage.config).is_file()
        seen.add(stage.name)


def test_inputs_of_a_stage_are_products_of_the_stages_that_it_needs():
    products: dict[str, str] = {}
    for stage in plan():
        made = {products[name] for name in stage.needs}
        for part in stage.command(Path("F")):
            for value in part.split("=", 1)[1:]:
                if value.startswith("F/") and value.removeprefix("F/") not in (
                    stage.name,
                    stage.product,
                ):
                    assert value.removeprefix("F/") in made, (stage.name, value)
        products[stage.name] = stage.product


def test_a_change_reaches_every_later_stage_that_builds_on_it():
    first, second = Stage("a", ("x",), "a"), Stage("b", ("y",), "b", needs=("a",))
    before = {"a": first.fingerprint({})}
    after = {"a": replace(first, arguments=("x", "z")).fingerprint({})}
    assert before != after
    assert second.fingerprint(before) != second.fingerprint(after)


@pytest.mark.slow
def test_a_stage_runs_once_and_again_when_its_settings_change(tmp_path, capsys):
    run([EYES], tmp_path)
    manifest = tmp_path / "eyes" / "manifest.parquet"
    made = manifest.stat().st_mtime_ns
    assert minutes(tmp_path)["make-eyes"] > 0
    run([EYES], tmp_path)
    assert manifest.stat().st_mtime_ns == made
    assert "done before" in capsys.readouterr().out
    run([replace(EYES, arguments=(*EYES.arguments, "--seed=3"))], tmp_path)
    assert manifest.stat().st_mtime_ns != made


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_a_stage_ends_with_its_family_and_nobody_else_runs_it_meanwhile(tmp_path):
    command = [sys.executable, "-m", "train", "family", "--small", f"--out={tmp_path}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as family:
        try:
            while not (tmp_path / "make-eyes" / STARTED).is_file():
                assert family.poll() is None
                time.sleep(0.05)
            with pytest.raises(InputError, match="Another process is making"):
                run([EYES], tmp_path)
            family.terminate()
            assert family.wait(60) == 128 + signal.SIGTERM
        finally:
            family.kill()
    run([], tmp_path)  # the stage, too, would have the lock


def test_a_stage_that_fails_ends_the_family_in_one_sentence(tmp_path):
    stage = Stage("wrong", ("phantoms", "--out={family}/eyes", "--n=0"), "eyes")
    with pytest.raises(OCTCubeError, match=r"^The stage wrong ended with exit code 2; run .*\.$"):
        run([stage], tmp_path)
    assert (tmp_path / "wrong" / STARTED).is_file()
    assert not (tmp_path / "wrong" / DONE).exists()


def test_a_stage_without_its_product_is_not_done(tmp_path):
    with pytest.raises(OCTCubeError, match="without making nothing"):
        run([Stage("idle", ("--help",), "nothing")], tmp_path)


def test_an_unknown_last_stage_is_refused(tmp_path, capsys):
    assert train(["family", "--out", str(tmp_path / "f"), "--until", "mea"]) == 2
    assert "known are make-eyes" in capsys.readouterr().err


def _figures(folder: Path, rows: list[tuple[str, str, float]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.DataFrame(rows, columns=["target", "metric", "value"])
    table.assign(low=table["value"] - 0.01, high=table["value"] + 0.01).to_parquet(
        folder / "metrics.parquet"
    )


def _scores(folder: Path, spread: float) -> None:
    """Predictions of five diseases in 300 exams, the more noise the greater ``spread``."""
    drawing = np.random.default_rng(0)
    exams = {"row": range(300), "eye": [f"e{n}" for n in range(300)], "patient": range(300)}
    table = pd.DataFrame(exams).astype({"patient": str})
    for name in "ABCDE":
        truth = drawing.integers(0, 2, 300).astype(float)
        table[f"truth/{name}"] = truth
        table[f"predicted/{name}"] = truth + spread * drawing.standard_normal(300)
    table.to_parquet(folder / "predictions.parquet")


@pytest.fixture
def family(tmp_path):
    """What the stages of a good family leave."""
    for name, values, spread in (
        ("demo", (0.97, 0.95, 0.99), 0.2),
        ("center", (0.7, 0.6, 0.8), 2.0),
    ):
        folder = tmp_path / "tests" / name
        _figures(folder, [(t, "auroc", v) for t, v in zip(("mean", "A", "B"), values, strict=True)])
        _scores(folder, spread)
    for seed in SEEDS:
        for start, value in (("mae", 0.90 + 0.01 * seed), ("scratch", 0.85 + 0.005 * seed)):
            _figures(tmp_path / "tests" / f"few-{start}-{seed}", [("mean", "auroc", value)])
    pairs = [("OCT to IR", 0.95), ("IR to OCT", 0.93)]
    recalls = [(pair, "recall@1", value) for pair, value in pairs]
    sides = [(pair, "laterality_accuracy@1", 0.99) for pair, _ in pairs]
    _figures(tmp_path / "tests" / "coep", recalls + sides)
    _figures(tmp_path / "tests" / "ga", [("ga_growth", "r2", 0.62)])
    _figures(tmp_path / "tests" / "ga-faf", [("ga_growth", "r2", 0.48)])
    for name in proof.PRODUCTS:
        (tmp_path / f"{name}.safetensors").write_bytes(bytes(1_000_000))
    (tmp_path / "mae").mkdir()
    (tmp_path / "mae" / DONE).write_text(json.dumps({"fingerprint": "", "seconds": 600}))
    return tmp_path


def test_the_proof_of_a_good_family_holds(family):
    assert train(["prove", "--family", str(family)]) == 0
    claims = json.loads((family / "proof.json").read_text())
    assert all(claim["holds"] for claim in claims)
    values = {claim["name"]: claim["value"] for claim in claims}
    assert values["AUROC gained by pre-training, 20 % of labels"] == pytest.approx(0.06)
    assert values["lowest AUROC of a disease"] == 0.95
    assert values["minutes in all"] == 10
    assert values["megabytes of all products"] == 5


@pytest.mark.parametrize(
    ("name", "rows", "claim"),
    [
        ("demo", [("mean", "auroc", 0.96), ("A", "auroc", 0.89)], "lowest AUROC of a disease"),
        ("ga-faf", [("ga_growth", "r2", 0.70)], "R² that OCT and IR add to FAF"),
        ("few-mae-3", [("mean", "auroc", 0.50)], "p of its paired t-test, five seeds"),
    ],
)
def test_the_proof_says_what_does_not_hold(family, name, rows, claim):
    metrics = family / "tests" / name / "metrics.parquet"
    metrics.unlink()
    frame = pd.DataFrame(rows, columns=["target", "metric", "value"])
    frame.assign(low=0.0, high=1.0).to_parquet(metrics)
    assert claim in [found.name for found in proof.prove(family) if not found.holds]


def test_a_model_that_was_not_evaluated_is_named(family):
    (family / "tests" / "ga" / "metrics.parquet").unlink()
    with pytest.raises(InputError, match="ga was not evaluated"):
        proof.prove(family)


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """Places for the models in the package, apart from the real ones."""
    folder = tmp_path / "package"
    folder.mkdir()
    places = {name: folder / f"{name}.safetensors" for name in PACKAGED}
    monkeypatch.setattr(shipping, "PACKAGED", places)
    monkeypatch.setattr(shipping, "RECORD", folder / "shipped.json")
    return places


def test_products_that_hold_what_they_should_take_the_place_of_the_shipped_models(family, packaged):
    assert set(shipping.PRODUCTS.values()) == set(PACKAGED)
    with pytest.raises(InputError, match=r"has no proof\.json"):
        shipping.ship(family)
    train(["prove", "--family", str(family)])
    shipping.ship(family)
    assert {path.stat().st_size for path in packaged.values()} == {1_000_000}
    record = shipping.shipped()
    assert record["sha256"] == shipping.fingerprints()
    assert record["center_slice"]["exams"] == 300
    assert record["claims"] == json.loads((family / "proof.json").read_text())


def test_products_that_fall_short_do_not_ship(family, packaged):
    _figures(family / "tests" / "ga", [("ga_growth", "r2", 0.40)])
    train(["prove", "--family", str(family)])
    with pytest.raises(InputError, match="fall short of: GA growth, R² of OCT, FAF and IR"):
        shipping.ship(family)
    assert not any(path.exists() for path in packaged.values())
