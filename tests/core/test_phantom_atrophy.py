"""Geographic atrophy: an area that grows, at a rate that the images show, and that costs vision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from octcube_core.phantom import make_cohort, make_exam, make_ga_eye, make_visit
from octcube_core.phantom.anatomy import Anatomy
from octcube_core.phantom.atrophy import Atrophy

SHAPE = (60, 64, 128)


@pytest.fixture(scope="module")
def atrophies():
    found = []
    for number in range(1200):
        rng = np.random.default_rng((5, number))
        eye = Anatomy.sample(rng.spawn(1)[0])
        found.append((eye, Atrophy.sample(rng, eye)))
    return found


def _explained(columns: np.ndarray, growth: np.ndarray) -> float:
    """R2 of linear regression on the second half after fitting the first."""
    design = np.column_stack([columns, np.ones(len(columns))])
    half = len(growth) // 2
    weights = np.linalg.lstsq(design[:half], growth[:half], rcond=None)[0]
    error = growth[half:] - design[half:] @ weights
    return 1 - (error**2).mean() / growth[half:].var()


def test_autofluorescence_tells_some_of_the_growth_and_all_images_nearly_all(atrophies):
    growth = np.array([atrophy.growth for _, atrophy in atrophies])
    rim, margin, perimeter, choroid = np.array(
        [(a.rim, a.margin, np.log(a.perimeter_mm), eye.deviate("choroid")) for eye, a in atrophies]
    ).T
    assert 0.50 < _explained(np.column_stack([rim, perimeter]), growth) < 0.68
    assert 0.85 < _explained(np.column_stack([rim, perimeter, margin, choroid]), growth) < 0.97
    assert growth.min() > 0


def _visits(number: int, *years: float):
    (plan,) = make_cohort(
        number,
        1,
        kind="ga",
        eyes=1,
        visits=(1, 1),
        styles={"spectralis": 1},
        misalignment=0,
        shape=SHAPE,
    )
    return [make_visit(replace(plan, years=since)) for since in years]


def _masked_mm2(exam) -> float:
    """Area of the atrophy's mask, which reaches from the outer retina into the choroid, seen en face."""
    pitch_z, pitch_y, pitch_x = exam.volume.spacing_mm
    deep = exam.truth.masks["AMD"].sum(axis=1) * pitch_y * 1000 > 150
    return float(deep.sum() * pitch_z * pitch_x)


def test_the_mask_has_the_area_and_it_grows_by_its_rate():
    for number in range(3):
        now, later = _visits(number, 0.0, 1.5)
        growth = now.truth.ga_growth
        assert later.truth.ga_area_mm2 == pytest.approx(now.truth.ga_area_mm2 + 1.5 * growth)
        for exam in (now, later):
            assert exam.truth.diseases == ("AMD",)
            assert _masked_mm2(exam) == pytest.approx(exam.truth.ga_area_mm2, rel=0.3, abs=0.4)


def test_an_atrophy_among_other_diseases_grows_too():
    """Of a cohort of eyes with any disease: some with macular degeneration have an atrophy."""
    plans = make_cohort(0, 60, eyes=1, visits=(2, 2), shape=(4, 64, 16), styles={"spectralis": 1})
    degenerated = [plan for plan in plans if "AMD" in plan.severities and plan.visit == 1]
    exams = [make_visit(replace(plan, severities={"AMD": 1.0})) for plan in degenerated]
    plan, before = next(
        pair for pair in zip(degenerated, exams, strict=True) if pair[1].truth.ga_growth
    )
    after = make_visit(replace(plan, years=2.0, severities={"AMD": 1.0})).truth
    expected = before.truth.ga_area_mm2 + 2 * before.truth.ga_growth
    assert after.ga_area_mm2 == pytest.approx(expected)


def test_autofluorescence_is_dark_where_the_retina_is_lost():
    exam = _visits(1, 0.0)[0]
    lost = exam.truth.masks["AMD"].sum(axis=1) * exam.volume.spacing_mm[1] * 1000 > 150
    size = exam.image("FAF").shape[0]
    inner = round(size / 9 * 6)
    edge = (size - inner) // 2
    faf = exam.image("FAF").pixels[edge : edge + inner, edge : edge + inner].astype(float)
    rows, columns = (np.arange(inner) * n // inner for n in lost.shape)
    at = lost[np.ix_(rows, columns)]
    assert faf[at].mean() < 0.6 * faf[~at].mean()


def test_vision_suffers_at_the_fovea():
    letters, lost = [], []
    for number in range(24):
        exam = make_visit(make_cohort(number, 1, kind="ga", eyes=1, visits=(1, 1), shape=SHAPE)[0])
        x, z = exam.truth.fovea_mm
        mask = exam.truth.masks["AMD"].sum(axis=1) * exam.volume.spacing_mm[1] * 1000 > 150
        row, column = round((z + 3) / 0.1), round((x + 3) / 6 * SHAPE[2])
        lost.append(mask[row - 4 : row + 5, column - 8 : column + 9].mean())
        letters.append(exam.truth.bcva)
    assert np.corrcoef(lost, letters)[0, 1] < -0.5
    healthy = make_exam(0, diseases=(), shape=SHAPE).truth
    assert healthy.bcva > np.mean(letters) + 10
    assert healthy.ga_area_mm2 == 0
    assert healthy.ga_growth is None


def test_a_ga_eye_needs_no_cohort():
    exam = make_ga_eye(9)
    assert exam.truth.ga_area_mm2 > 0
    assert exam.modalities == ("OCT", "IR", "FAF")
