"""``python -m train phantoms``: cohorts as stores, resumed after a kill, never a benchmark eye among them."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from octcube_core.phantom import DISEASES, make_exam
from octcube_core.phantom.systemic import CONDITIONS
from train.__main__ import main
from train.data.only_run import lock_out_others
from train.data.phantom_rows import BENCHMARK_EYES, Request, jobs_of
from train.data.phantoms import split_patients
from train.data.store import VolumeStore

SMALL = ("--size", "6", "32", "32", "--image-size", "24", "32")


def _make(folder: Path, *options: str) -> VolumeStore:
    assert main(["phantoms", "--out", str(folder), *SMALL, "--workers", "2", *options]) == 0
    return VolumeStore.open(folder)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return _make(tmp_path_factory.mktemp("phantoms") / "cohort", "--patients", "5")


def test_a_cohort_has_every_label_image_and_mask(cohort):
    table = cohort.manifest
    assert cohort.modalities == ("OCT", "FAF", "IR")
    assert cohort.image_shapes["IR"] == (24, 32)
    conditions = [condition.name for condition in CONDITIONS]
    known = table[[*DISEASES, *conditions, "ga_area", "bcva", "years"]]
    assert not known.isna().any().any()
    assert table["patient"].nunique() == 5
    assert table["eye"].nunique() == 10
    for row, name in ((row, name) for row in range(len(table)) for name in ("IR", "FAF")):
        assert cohort.image(row, name).any() == (name in table["modalities"][row])
    for row in range(len(table)):
        bits = int(np.bitwise_or.reduce(cohort.lesions(row), axis=None))
        expected = sum(1 << k for k, name in enumerate(DISEASES) if table[name][row])
        assert bits & ~expected == 0


def test_a_split_never_divides_a_patient():
    patients = pd.Series([f"p{n // 3}" for n in range(300)])
    split = split_patients(patients, 1, 0.2)
    assert split.groupby(patients).nunique().max() == 1
    assert split.value_counts().to_dict() == {"train": 216, "test": 60, "validation": 24}


def test_unseen_eyes_are_in_no_training_store(tmp_path):
    seen, unseen = (
        {job.patient for job in jobs_of(Request("eyes", 20, True, (6, 32, 32), purpose=purpose))}
        for purpose in (Request("eyes", 1, True, (6, 32, 32)).purpose, BENCHMARK_EYES)
    )
    assert not seen & unseen
    store = _make(tmp_path / "unseen", "--n", "3", "--unseen", "--seed", "4")
    assert set(store.manifest["split"]) == {"test"}
    exam = make_exam((BENCHMARK_EYES, 4, 2))
    assert store.manifest.iloc[2][list(DISEASES)].tolist() == exam.truth.labels.tolist()


@pytest.mark.parametrize(
    ("kind", "columns"),
    [
        ("ga", ["ga_area", "ga_growth", "bcva"]),
        ("ct", ["nodule"]),
        ("ultrasound", ["edv_ml", "esv_ml", "ef"]),
    ],
)
def test_other_kinds_have_their_labels(kind, columns, tmp_path):
    store = _make(tmp_path / kind, "--n", "3", "--kind", kind)
    assert not store.manifest[columns].isna().any().any()
    assert store.manifest["patient"].nunique() == 3
    assert all(store.read(row).any() for row in range(3))


def _files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_two_runs_do_not_make_one_store(tmp_path, capsys):
    first = lock_out_others(tmp_path / ".eyes.lock", tmp_path / "eyes")
    command = ["phantoms", "--out", str(tmp_path / "eyes"), *SMALL, "--n", "2"]
    assert main(command) == 2
    assert "Another process is making" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [".eyes.lock"]
    os.close(first)
    (tmp_path / "eyes").mkdir()
    assert main(command) == 2
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["eyes"]


def _children(parent: int) -> list[str]:
    """Processes of a process, where the system says which."""
    return [
        stat.parent.name
        for stat in Path("/proc").glob("[0-9]*/stat")
        if stat.read_text().rsplit(")")[-1].split()[1] == str(parent)
    ]


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_with_the_same_store(tmp_path):
    command = ["phantoms", "--n", "40", "--size", "6", "32", "32", "--workers", "1"]
    killed = tmp_path / "killed"
    arguments = [sys.executable, "-m", "train", *command, "--out", str(killed)]
    process = subprocess.Popen(arguments)
    unfinished = tmp_path / ".killed.unfinished"
    deadline = time.monotonic() + 120
    while not list(unfinished.glob("rows-*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    workers = _children(process.pid)
    process.kill()
    process.wait()
    while any(Path("/proc", worker).exists() for worker in workers):
        assert time.monotonic() < deadline, "its processes live on"
        time.sleep(0.05)
    made = list(unfinished.glob("rows-*.json"))
    assert len(made) == 1
    assert not killed.exists()
    first = made[0].stat().st_mtime_ns
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    assert main(["phantoms", "--n", "41", "--size", "6", "32", "32", "--out", str(killed)]) == 2
    assert made[0].stat().st_mtime_ns == first
    assert main([*command, "--out", str(killed)]) == 0
    assert _files(killed) == _files(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["killed", "whole"]
