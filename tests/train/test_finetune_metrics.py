"""Metrics agree with scikit-learn, and what cannot be judged does not count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from train.tasks.finetuning.metrics import LabelMetrics, RegressionMetrics

NAN = float("nan")


def test_labels() -> None:
    random = np.random.default_rng(0)
    said = torch.from_numpy(random.random((30, 2), np.float32))
    truth = torch.from_numpy(random.integers(0, 2, (30, 2))).float()
    truth[::5, 1] = NAN
    metrics = LabelMetrics(exclusive=False)
    for part in (slice(0, 10), slice(10, 30)):
        metrics.update(said[part], truth[part])
    found = metrics.compute()
    for column in range(2):
        known = ~truth[:, column].isnan()
        t, p = truth[known, column], said[known, column]
        assert found["auroc"][column] == pytest.approx(reference.roc_auc_score(t, p))
        assert found["auprc"][column] == pytest.approx(reference.average_precision_score(t, p))
        wanted = reference.balanced_accuracy_score(t, p > 0.5)
        assert found["balanced_accuracy"][column] == pytest.approx(wanted)


def test_a_label_without_both_answers_is_no_part_of_the_mean() -> None:
    metrics = LabelMetrics(exclusive=False)
    said = torch.tensor([[0.2, 0.9, 0.5], [0.7, 0.1, 0.5]])
    metrics.update(said, torch.tensor([[0.0, 0.0, NAN], [1.0, 0.0, NAN]]))
    for values in metrics.compute().values():
        assert values[0] == 1
        assert values[1:].isnan().all()
        assert values.nanmean() == 1


def test_classes() -> None:
    random = np.random.default_rng(1)
    said = torch.from_numpy(random.dirichlet(np.ones(4), 40)).float()
    truth = torch.from_numpy(random.integers(0, 3, (40, 1))).float()  # the last class is absent
    metrics = LabelMetrics(exclusive=True)
    metrics.update(said, truth)
    found = metrics.compute()
    for name in range(3):
        wanted = reference.roc_auc_score(truth[:, 0] == name, said[:, name])
        assert found["auroc"][name] == pytest.approx(wanted)
    assert found["auroc"][3].isnan()
    recall = reference.recall_score(truth[:, 0], said.argmax(1), labels=[0, 1, 2], average="macro")
    assert found["balanced_accuracy"].nanmean() == pytest.approx(recall)


def test_values() -> None:
    random = np.random.default_rng(2)
    truth = torch.from_numpy(random.normal(size=(20, 2))).float()
    said = truth + 0.3 * torch.from_numpy(random.normal(size=(20, 2))).float()
    truth[:3, 0] = NAN
    truth[:, 1] = 4.0
    metrics = RegressionMetrics()
    metrics.update(said, truth)
    found = metrics.compute()
    t, p = truth[3:, 0], said[3:, 0]
    assert found["mae"][0] == pytest.approx(reference.mean_absolute_error(t, p), abs=1e-6)
    assert found["r2"][0] == pytest.approx(reference.r2_score(t, p), abs=1e-5)
    assert found["pearson"][0] == pytest.approx(np.corrcoef(t, p)[0, 1], abs=1e-5)
    assert found["r2"][1].isnan()
    assert not found["mae"].isnan().any()
