"""A row's numbers are those of ``oc.analyze``, from one pass through the network."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from aligned import aligned_model
from batch_exams import SHAPE, classifier, eye

from octcube_core.analysis import analyze
from octcube_core.batch.columns import Columns, score_facts
from octcube_core.batch.scoring import score
from octcube_core.checkpoints.card import SALIENCY_LAYERS
from octcube_core.exam import Exam, OCTVolume
from octcube_core.objectives import tower_inputs
from octcube_core.phantom import make_exam


def scored(exam, model, fast=False):
    inputs = {
        name: (values.numpy(), grid)
        for name, (values, grid) in tower_inputs(exam, model.card).items()
    }
    return score(model, inputs, fast)


def without_images(exam):
    return Exam(OCTVolume(exam.volume.voxels), format="synthetic")


@pytest.mark.parametrize("layer", SALIENCY_LAYERS)
@pytest.mark.parametrize("make", [classifier, lambda: aligned_model(SHAPE)])
@pytest.mark.parametrize("change", [lambda exam: exam, without_images])
def test_as_analyze(make, change, layer):
    model, exam = make(), change(eye())
    model.card = dataclasses.replace(model.card, saliency_layer=layer)
    analysis, row = analyze(exam, model), scored(exam, model)
    assert row.found.scores == analysis.scores
    assert row.found.measurements == analysis.measurements
    assert row.found.normal == analysis.normal_probability
    assert row.found.top_target == analysis.top_target
    keys = analysis.key_bscans(analysis.top_target, 1)
    assert row.key_bscan == (keys[0] if keys else None)
    assert (row.device, row.precision, row.notes) == (
        analysis.device,
        analysis.precision,
        analysis.run_notes,
    )
    assert row.seconds > 0


def test_the_key_bscan_is_told_where_there_is_one():
    model = classifier()
    assert scored(eye(), model).key_bscan in range(6)


def test_fast_as_analyze():
    model, exam = classifier(), make_exam(3, shape=(12, 128, 48))
    model.card = dataclasses.replace(model.card)
    analysis, row = analyze(exam, model, fast=True), scored(exam, model, fast=True)
    assert "Fast mode" in row.notes[0]
    assert row.notes == analysis.run_notes
    assert row.found.scores == analysis.scores


def test_other_devices_as_analyze():
    model, exam = classifier(), dataclasses.replace(eye(), device="Topcon")
    model.card = dataclasses.replace(model.card, cross_device="auto")
    analysis, row = analyze(exam, model), scored(exam, model)
    assert "depth samples" in row.notes[0]
    assert row.notes == analysis.run_notes
    assert row.found.scores == analysis.scores


@pytest.mark.parametrize("make", [classifier, lambda: aligned_model(SHAPE)])
def test_every_result_has_its_column(make):
    model = make()
    columns = Columns.of(model.card)
    found = scored(eye(), model).found
    facts = score_facts(found.scores, found.measurements)
    assert set(columns.about) == set(facts) - {"present"}
    assert set(facts) <= set(columns.types)
    row = columns.row(facts)
    assert all(np.isfinite(row[name]) for name in columns.about)
