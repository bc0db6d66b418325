"""The benchmark, and what the shipped demo model must be able to do on eyes it never saw."""

from __future__ import annotations

import json

import numpy as np
import pytest

from octcube_core.phantom import DISEASES, make_exam
from train.__main__ import main
from train.data.phantoms import BENCHMARK_EYES, TRAINING_EYES


def test_no_benchmark_eye_is_a_training_eye():
    assert BENCHMARK_EYES != TRAINING_EYES
    shape = (6, 64, 32)
    seen = make_exam((TRAINING_EYES, 0, 0), shape=shape).volume.voxels
    unseen = make_exam((BENCHMARK_EYES, 0, 0), shape=shape).volume.voxels
    assert (seen != unseen).mean() > 0.1


@pytest.mark.slow
def test_the_demo_model_has_learnt_the_diseases_and_points_at_them(capsys):
    assert main(["benchmark", "--model", "demo", "--n", "80", "--seed", "20261", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["eyes"] == 80
    assert set(result["diseases"]) == set(DISEASES)
    assert "synthetic" in result["model"].lower()
    aurocs = [figures["auroc"] for figures in result["diseases"].values()]
    assert result["mean_auroc"] == pytest.approx(np.mean(aurocs))
    assert result["mean_auroc"] >= 0.88  # 0.90 over 200 eyes, less what 80 eyes leave to chance
    assert result["pointing"] > 2 * result["pointing_chance"]


def test_a_bad_request_is_one_line(capsys):
    assert main(["benchmark", "--n", "0"]) == 2
    assert main(["benchmark", "--model", "no-such-model"]) == 2
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 2
    assert all(line.startswith("train: error:") for line in errors)
