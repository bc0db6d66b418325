"""What fast mode costs is measured on what ``analyze`` gives."""

from __future__ import annotations

import json

import numpy as np
import pytest

import octcube_core as oc
from octcube_core.phantom import make_exam
from train.__main__ import main
from train.data.phantoms import BENCHMARK_EYES

SMALL = ("--n", "3", "--methods", "hirescam", "--layers", "norm1", "--precision", "fp32")
NO_CURVES = ("--perturbation-eyes", "0", "--sanity-eyes", "0")


def test_fast_mode_is_compared_with_full_runs(capsys):
    assert main(["benchmark", "--json", "--fast", *SMALL, *NO_CURVES]) == 0
    fast = json.loads(capsys.readouterr().out)["fast_mode"]
    model = oc.load_model("demo", precision="fp32")
    differences, kept = [], []
    for number in range(3):
        exam = make_exam((BENCHMARK_EYES, 1, number))
        full, ours = (oc.analyze(exam, model, fast=fast) for fast in (False, True))
        differences += [
            abs(a.probability - b.probability)
            for a, b in zip(full.scores, ours.scores, strict=True)
        ]
        left_out, every = (int(ours.run_notes[0].split()[place]) for place in (2, 4))
        kept.append(1 - left_out / every)
    assert fast["difference"]["max"] == pytest.approx(max(differences), abs=1e-5)
    assert fast["difference"]["mean"] == pytest.approx(np.mean(differences), abs=1e-5)
    assert fast["kept"] == pytest.approx(np.mean(kept))


def test_the_tables_show_it_only_if_asked_for(capsys):
    assert main(["benchmark", "--fast", *SMALL, *NO_CURVES]) == 0
    assert "largest change of a probability" in capsys.readouterr().out
    assert main(["benchmark", *SMALL, *NO_CURVES]) == 0
    assert "Fast mode" not in capsys.readouterr().out
