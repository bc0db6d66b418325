"""Calibrated probabilities mean what they say, and thresholds do what was asked of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss, roc_curve

from octcube_core.checkpoints.card import Label, ModelCard, Target
from octcube_core.errors import InputError
from tests.train.tiny_exams import volume_card
from train.evaluation.calibration import (
    Operating,
    calibrated,
    class_logits,
    fit_temperature,
    operating_threshold,
    quality,
)

EXAMS = 3000


def _diseases(sharpness: float, seed: int = 0) -> tuple[ModelCard, torch.Tensor, np.ndarray]:
    """Two diseases whose logits are ``sharpness`` times as far from 0 as they ought to be."""
    generator = np.random.default_rng(seed)
    right = generator.normal(-0.5, 1.5, (EXAMS, 2))
    truth = (generator.random((EXAMS, 2)) < 1 / (1 + np.exp(-right))).astype(float)
    outputs = np.stack([np.zeros_like(right), sharpness * right], axis=-1).reshape(EXAMS, 4)
    truth[::10, 1] = np.nan
    card = volume_card(labels=(Label("First", "A"), Label("Second", "B")))
    return card, torch.from_numpy(outputs).float(), truth


def _classes(sharpness: float) -> tuple[ModelCard, torch.Tensor, np.ndarray]:
    generator = np.random.default_rng(1)
    right = generator.normal(0, 1.5, (EXAMS, 3))
    chances = np.exp(right) / np.exp(right).sum(axis=1, keepdims=True)
    truth = (generator.random((EXAMS, 1)) > chances.cumsum(axis=1)).sum(axis=1).astype(float)
    labels = tuple(Label(name, name) for name in ("none", "mild", "severe"))
    card = volume_card(labels=labels, exclusive=True)
    return card, torch.from_numpy(sharpness * right).float(), truth[:, None]


def _calibrate(card, outputs, truth, operating=Operating()):  # noqa: B008
    patients = np.arange(len(truth)) // 2
    return calibrated(card, outputs, truth, patients.astype(object), operating, "store, validation")


@pytest.mark.parametrize("make", [_diseases, _classes])
@pytest.mark.parametrize("sharpness", [0.4, 3.0])
def test_the_temperature_undoes_what_made_the_model_too_sure_or_too_shy(make, sharpness):
    card, outputs, truth = make(sharpness)
    after = _calibrate(card, outputs[::2], truth[::2])
    assert after.temperature == pytest.approx(sharpness, rel=0.1)
    unseen = outputs[1::2], truth[1::2]
    before, now = quality(card, *unseen), quality(after, *unseen)
    assert now["ece"] < 0.5 * before["ece"]
    assert now["log_loss"] < before["log_loss"]


def test_the_temperature_is_the_best_one():
    logits, classes = class_logits(*_classes(2.0))

    def loss(log_temperature: float) -> float:
        scaled = (logits / np.exp(log_temperature)).softmax(dim=-1).numpy()
        return log_loss(classes.numpy(), scaled)

    best = minimize_scalar(loss, bounds=(-2, 2), method="bounded", options={"xatol": 1e-6}).x
    assert fit_temperature(logits, classes) == pytest.approx(np.exp(best), rel=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 30), st.floats(0.01, 50), st.booleans())
def test_the_log_loss_of_validation_never_gets_worse(seed, count, sharpness, learnable):
    generator = torch.Generator().manual_seed(seed)
    logits = sharpness * torch.randn(count, 3, generator=generator)
    classes = torch.randint(0, 3, (count,), generator=generator)
    if learnable:
        classes = logits.argmax(dim=-1)  # each right: the temperature would go to 0
    temperature = fit_temperature(logits, classes)
    assert 0 < temperature < 100
    loss = torch.nn.functional.cross_entropy
    assert loss(logits.double() / temperature, classes) <= loss(logits.double(), classes) + 1e-12


def test_youdens_threshold_is_the_best_of_the_roc_curve():
    generator = np.random.default_rng(2)
    present = generator.random(400) < 0.3
    score = np.clip(generator.normal(0.3 + 0.3 * present, 0.15), 0, 1)
    found = operating_threshold(present, score, Operating())
    false, true, _ = roc_curve(present, score)
    called = score >= found
    youden = called[present].mean() - called[~present].mean()
    assert youden == pytest.approx((true - false).max())


@pytest.mark.parametrize("rate", [0.5, 0.9, 1.0])
def test_a_sensitivity_or_specificity_is_reached_at_the_least_cost(rate):
    generator = np.random.default_rng(2)
    present = generator.random(200) < 0.3
    score = np.round(np.clip(generator.normal(0.3 + 0.2 * present, 0.15), 0, 1), 2)
    false, true, _ = roc_curve(present, score, drop_intermediate=False)
    called = score >= operating_threshold(present, score, Operating(sensitivity=rate))
    assert called[present].mean() >= rate
    assert called[~present].mean() == pytest.approx(false[true >= rate].min())
    called = score >= operating_threshold(present, score, Operating(specificity=rate))
    assert called[~present].mean() <= 1 - rate + 1e-9
    assert called[present].mean() == pytest.approx(true[false <= 1 - rate + 1e-9].max())


def test_the_card_says_how_on_what_and_when():
    card, outputs, truth = _diseases(2.0)
    after = _calibrate(card, outputs, truth, Operating(sensitivity=0.9))
    note = after.notes["calibration"]
    assert "Guo" in note["method"]
    assert note["thresholds"] == "sensitivity of at least 0.9"
    assert note["data"] == "store, validation"
    assert (note["exams"], note["patients"]) == (EXAMS, EXAMS // 2)
    assert note["after"]["log_loss"] < note["before"]["log_loss"]
    assert all(label.threshold != 0.5 for label in after.labels)
    assert ModelCard.from_json(after.to_json()) == after


def test_a_disease_that_no_exam_has_keeps_its_threshold_and_the_card_says_so():
    card, outputs, truth = _diseases(2.0)
    truth[:, 1] = 0
    after = _calibrate(card, outputs, truth)
    assert after.labels[1].threshold == 0.5
    assert after.notes["calibration"]["thresholds_kept"] == ["B"]


def test_what_cannot_be_calibrated_is_refused():
    card, outputs, truth = _diseases(1.0)
    with pytest.raises(InputError, match="No exam"):
        _calibrate(card, outputs, np.full_like(truth, np.nan))
    with pytest.raises(InputError, match="scores no labels"):
        _calibrate(volume_card(targets=(Target("Growth", "G"),)), outputs, truth)
