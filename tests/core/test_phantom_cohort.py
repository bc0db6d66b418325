"""Cohorts: patients whose eyes, visits and illnesses belong together."""

from __future__ import annotations

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest

from octcube_core.errors import InputError
from octcube_core.phantom import DISEASES, make_cohort, make_visit
from octcube_core.phantom.anatomy import Anatomy
from octcube_core.phantom.systemic import CONDITIONS, shifts_of

TINY = (8, 64, 48)


def _plans(**options):
    return make_cohort(3, 4, shape=TINY, styles={"spectralis": 1}, missing={}, **options)


def test_the_same_plan_gives_the_same_exam_in_another_process_too():
    plan = make_cohort(3, 2, shape=TINY)[-1]
    again = pickle.loads(pickle.dumps(plan))
    first, second = make_visit(plan), make_visit(again)
    np.testing.assert_array_equal(first.volume.voxels, second.volume.voxels)
    np.testing.assert_array_equal(first.enface[0].pixels, second.enface[0].pixels)
    assert first.truth.bcva == second.truth.bcva


def test_a_patient_does_not_depend_on_how_many_others_there_are():
    assert make_cohort(7, 3) == make_cohort(7, 30)[: len(make_cohort(7, 3))]
    assert make_cohort((7, 1), 3) != make_cohort((7, 2), 3)


def test_visits_come_one_after_the_other_for_both_eyes():
    plans = make_cohort(1, 60, visits=(1, 4))
    for number in range(60):
        own = [plan for plan in plans if plan.patient == number]
        for side in ("OD", "OS"):
            eye = [plan for plan in own if plan.laterality == side]
            assert [plan.visit for plan in eye] == list(range(1, len(eye) + 1))
            years = [plan.years for plan in eye]
            assert years[0] == 0
            assert np.all(np.diff(years) > 0.5)
        assert len({tuple(plan.systemic.items()) for plan in own}) == 1


def test_prevalences_are_about_a_quarter_and_fellow_eyes_share_diseases():
    plans = make_cohort(2, 1500, visits=(1, 1))
    present = np.array([[name in plan.severities for name in DISEASES] for plan in plans])
    np.testing.assert_allclose(present.mean(axis=0), 0.25, atol=0.05)
    right, left = present[::2], present[1::2]
    both = (right & left).mean(axis=0) / right.mean(axis=0)
    assert np.all(both > 1.3 * left.mean(axis=0))


def test_diabetes_brings_its_eye_diseases():
    plans = make_cohort(4, 1200, visits=(1, 1))
    diabetic = np.array([plan.systemic["diabetes"] for plan in plans])
    for name, risky in (("DR", True), ("DME", True), ("PVD", False)):
        present = np.array([name in plan.severities for plan in plans])
        more = present[diabetic].mean() - present[~diabetic].mean()
        assert (more > 0.08) == risky


def test_diseases_get_worse_and_do_not_vanish():
    plans = make_cohort(5, 300, visits=(3, 3), eyes=1)
    later = {(plan.patient, plan.visit): plan for plan in plans}
    changes = []
    for (patient, visit), plan in later.items():
        if visit < 3:
            after = later[patient, visit + 1].severities
            assert set(plan.severities) <= set(after)
            changes += [after[name] - strength for name, strength in plan.severities.items()]
    assert min(changes) >= 0
    assert np.mean(changes) > 0.03


def _vessels(exam) -> np.ndarray:
    picture = exam.image("FAF").pixels.astype(float)
    return (picture - picture.mean()) / picture.std()


def test_a_visit_shows_the_same_eye_again_and_another_eye_does_not():
    plans = [p for p in _plans(visits=(2, 2), misalignment=0.0) if p.laterality == "OD"]
    looks = {}
    for plan in plans:
        exam = make_visit(replace(plan, severities={}))
        x, z = exam.truth.fovea_mm
        pitch = exam.image("FAF").spacing_mm[0]
        # Put the fovea into the middle, as patients look elsewhere at each visit.
        shift = round(-z / pitch), round(-x / pitch)
        looks[plan.patient, plan.visit] = np.roll(_vessels(exam), shift, (0, 1))[60:-60, 60:-60]
    same = [np.mean(looks[n, 1] * looks[n, 2]) for n in range(4)]
    other = [np.mean(looks[n, 1] * looks[m, 2]) for n in range(4) for m in range(4) if n != m]
    assert min(same) > max(other) + 0.1
    assert (looks[0, 1] != looks[0, 2]).mean() > 0.5  # a picture of its own


def test_fellow_eyes_have_similar_measures():
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(400):
        shared = rng.standard_normal(len(fields(Anatomy)))
        pairs.append([Anatomy.sample(rng, shared, 0.7) for _ in range(2)])
    for measure in ("choroid", "vein_calibre", "retina"):
        right, left = np.array([[getattr(eye, measure) for eye in pair] for pair in pairs]).T
        assert 0.6 < np.corrcoef(right, left)[0, 1] < 0.8


def test_systemic_conditions_leave_weak_signs():
    sklearn_metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    for condition in CONDITIONS:
        assert condition.icd10[0].isalpha()
        scores, truth = [], []
        for patient in range(700):
            ill = patient % 2 == 0
            eye = Anatomy.sample(rng, shifts=shifts_of({condition.name: ill}))
            signs = condition.signs.items()
            scores.append(sum(shift * eye.deviate(measure) for measure, shift in signs))
            truth.append(ill)
        assert 0.65 < sklearn_metrics.roc_auc_score(truth, scores) < 0.9


def test_some_exams_lack_an_image():
    plans = make_cohort(6, 400, missing={"FAF": 0.3})
    without = np.mean(["FAF" not in plan.setting.modalities for plan in plans])
    assert 0.25 < without < 0.35
    assert all("IR" in plan.setting.modalities for plan in plans)
    plan = next(plan for plan in plans if "FAF" not in plan.setting.modalities)
    exam = make_visit(replace(plan, setting=replace(plan.setting, shape=TINY)))
    assert exam.modalities == ("OCT", "IR")


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "horses"}, {"styles": {"polaroid": 1}}, {"missing": {"CFP": 1}}, {"visits": (2, 1)}],
)
def test_impossible_cohorts_are_refused(wrong):
    with pytest.raises(InputError):
        make_cohort(0, 1, **wrong)
