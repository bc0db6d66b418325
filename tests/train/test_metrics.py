"""Figures of predictions: as scikit-learn's, for every resample at once, with intervals that hold what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn import metrics as sk
from torchmetrics.retrieval import RetrievalHitRate, RetrievalMRR, RetrievalRecall

from octcube_core.errors import InputError
from train.evaluation.bootstrap import intervals
from train.evaluation.metrics import (
    binary_figures,
    class_figures,
    hits,
    label_agreement,
    laterality_accuracy,
    multiclass_figures,
    regression_figures,
    retrieval_metrics,
    same_side,
)
from train.evaluation.weighted import ranking

EXAMS = 200


@pytest.fixture
def generator():
    return np.random.default_rng(3)


@pytest.fixture
def weights(generator):
    """Three weightings: every exam once, then two bootstrap resamples."""
    drawn = generator.multinomial(EXAMS, np.full(EXAMS, 1 / EXAMS), size=2)
    return np.concatenate([np.ones((1, EXAMS)), drawn.astype(float)])


def test_binary_figures_are_those_of_scikit_learn_in_every_resample(generator, weights):
    truth = (generator.random(EXAMS) < 0.3).astype(float)
    score = np.round(np.clip(generator.normal(0.4 + 0.2 * truth, 0.2), 0, 1), 1)  # with ties
    found = binary_figures(truth, score, 0.5, weights)
    for number, weight in enumerate(weights):
        called = score >= 0.5
        options = {"sample_weight": weight}
        expected = {
            "auroc": sk.roc_auc_score(truth, score, **options),
            "auprc": sk.average_precision_score(truth, score, **options),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, called, **options),
            "f1": sk.f1_score(truth, called, **options),
            "sensitivity": sk.recall_score(truth, called, **options),
            "specificity": sk.recall_score(truth, called, pos_label=0, **options),
            "ppv": sk.precision_score(truth, called, **options),
            "npv": sk.precision_score(truth, called, pos_label=0, **options),
            "brier": sk.brier_score_loss(truth, score, **options),
            "log_loss": sk.log_loss(truth, np.clip(score, 1e-12, 1 - 1e-12), **options),
        }
        for name, value in expected.items():
            assert found[name][number] == pytest.approx(value, abs=1e-9), name


def test_multiclass_figures_are_those_of_scikit_learn_in_every_resample(generator, weights):
    truth = generator.integers(0, 3, EXAMS)
    logits = generator.normal(size=(EXAMS, 3)) + 1.5 * np.eye(3)[truth]
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = multiclass_figures(truth, scores, weights)
    of_one = class_figures(truth, scores, 1, weights)
    chosen = scores.argmax(axis=1)
    for number, weight in enumerate(weights):
        options = {"sample_weight": weight}
        expected = {
            "accuracy": sk.accuracy_score(truth, chosen, **options),
            "balanced_accuracy": sk.balanced_accuracy_score(truth, chosen, **options),
            "log_loss": sk.log_loss(truth, scores, **options),
        }
        for name, value in expected.items():
            assert found[name][number] == pytest.approx(value), name
        ranked = sk.roc_auc_score(truth == 1, scores[:, 1], **options)
        assert of_one["auroc"][number] == pytest.approx(ranked)
        f1 = sk.f1_score(truth == 1, chosen == 1, **options)
        assert of_one["f1"][number] == pytest.approx(f1)
    assert found["brier"][0] == pytest.approx(((scores - np.eye(3)[truth]) ** 2).sum(1).mean())


def test_regression_figures_are_those_of_scikit_learn_and_scipy(generator, weights):
    truth = np.round(generator.normal(70, 10, EXAMS))
    value = truth + np.round(generator.normal(2, 8, EXAMS))
    found = regression_figures(truth, value, weights)
    for number, weight in enumerate(weights):
        options = {"sample_weight": weight}
        repeated = np.repeat(np.arange(EXAMS), weight.astype(int))
        expected = {
            "r2": sk.r2_score(truth, value, **options),
            "mae": sk.mean_absolute_error(truth, value, **options),
            "rmse": sk.root_mean_squared_error(truth, value, **options),
            "pearson": pearsonr(truth[repeated], value[repeated]).statistic,
            "spearman": spearmanr(truth[repeated], value[repeated]).statistic,
        }
        for name, expected_value in expected.items():
            assert found[name][number] == pytest.approx(expected_value), name


def test_calibration_error_of_two_bins_by_hand():
    truth = np.array([1.0, 0.0, 0.0, 0.0])
    score = np.array([0.95, 0.95, 0.1, 0.1])
    found = binary_figures(truth, score, 0.5, np.ones((1, 4)))
    assert found["ece"][0] == pytest.approx((2 * 0.45 + 2 * 0.1) / 4)


def test_what_is_not_defined_is_not_zero():
    weight = np.ones((1, 4))
    healthy = binary_figures(np.zeros(4), np.array([0.1, 0.2, 0.3, 0.4]), 0.5, weight)
    for name in ("auroc", "auprc", "sensitivity", "balanced_accuracy", "f1", "ppv"):
        assert np.isnan(healthy[name][0]), name
    assert healthy["specificity"][0] == 1
    constant = regression_figures(np.full(4, 0.1), np.arange(4.0), weight)
    for name in ("r2", "pearson", "spearman"):
        assert np.isnan(constant[name][0]), name
    assert constant["mae"][0] == pytest.approx(1.45)


@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_intervals_hold_the_truth_as_often_as_they_say(method):
    """Patients of two eyes that are nearly alike; an interval over eyes would be too narrow."""
    generator = np.random.default_rng(11)
    patients = np.repeat(np.arange(60), 2)
    experiments, held, held_by_eyes = 300, 0, 0
    for experiment in range(experiments):
        person = np.repeat(generator.normal(5, 1, 60), 2)
        value = person + generator.normal(0, 0.1, 120)

        def mean(weight, value=value):
            return {"mean": weight @ value / weight.sum(axis=-1)}

        options = {"resamples": 400, "seed": experiment, "method": method}
        found = intervals(mean, patients, **options)["mean"]
        held += found.low <= 5 <= found.high
        by_eyes = intervals(mean, np.arange(120), **options)["mean"]
        held_by_eyes += by_eyes.low <= 5 <= by_eyes.high
    assert 0.91 <= held / experiments <= 0.98
    assert held_by_eyes / experiments < 0.88


def test_the_corrected_interval_is_scipys(generator):
    from scipy.stats import bootstrap

    values = generator.exponential(size=40)
    found = intervals(
        lambda weight: {"mean": weight @ values / weight.sum(axis=-1)},
        np.arange(40),
        resamples=20000,
        method="bca",
    )["mean"]
    theirs = bootstrap((values,), np.mean, n_resamples=20000, method="BCa", rng=1)
    assert found.low == pytest.approx(theirs.confidence_interval.low, rel=0.02)
    assert found.high == pytest.approx(theirs.confidence_interval.high, rel=0.02)


def test_a_seed_gives_the_same_interval_and_resamples_without_the_disease_do_not_count(generator):
    truth = np.zeros(30, bool)
    truth[:2] = True
    score = generator.random(30)
    patients = [f"patient {number}" for number in range(30)]

    def figures(weight):
        return {"auroc": ranking(truth, score, weight)[0]}

    first, again, other = (intervals(figures, patients, seed=seed)["auroc"] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert 700 < first.resamples < 1000
    assert first.low <= first.value <= first.high
    with pytest.raises(InputError, match="no exam"):
        intervals(figures, [])


def test_retrieval_counts_true_pairs_in_both_directions():
    similarity = np.array([[0.9, 0.1, 0.2], [0.8, 0.7, 0.0], [0.3, 0.95, 0.4]])
    found = retrieval_metrics(similarity, ks=(1, 2))
    assert found["forward/recall@1"] == pytest.approx(1 / 3)
    assert found["forward/recall@2"] == 1
    assert found["backward/recall@1"] == pytest.approx(2 / 3)
    assert found["mean_recall@1"] == pytest.approx(0.5)
    assert found["forward/mean_rank"] == pytest.approx((1 + 2 + 2) / 3)
    assert found["backward/mean_rank"] == pytest.approx((1 + 2 + 1) / 3)


def test_embeddings_that_are_all_alike_retrieve_nothing():
    found = retrieval_metrics(np.ones((20, 20)))
    assert found["mean_recall@10"] == 0
    assert found["forward/mean_rank"] == 20
    assert retrieval_metrics(np.full((20, 20), np.nan))["mean_recall@10"] == 0


def test_recall_and_rank_are_those_of_torchmetrics(generator):
    similarity = generator.random((40, 30))  # above 0, below which torchmetrics sees no pair
    true = generator.random((40, 30)) < 0.05  # none, one or several candidates of a query
    assert set(range(3)) <= set(true.sum(axis=1))
    one = np.eye(30, dtype=bool)
    columns = torch.arange(40).repeat_interleave(30)

    def theirs(metric, target, rows=40):
        options = {"empty_target_action": "skip"}
        return metric(**options)(
            torch.from_numpy(similarity[:rows]).flatten(),
            torch.from_numpy(target).flatten(),
            columns[: rows * 30],
        ).item()

    several, single = hits(similarity, true=true), hits(similarity[:30])
    for k in (1, 5, 10):
        expected = theirs(lambda k=k, **options: RetrievalHitRate(top_k=k, **options), true)
        assert np.nanmean(several[f"recall@{k}"]) == pytest.approx(expected)
        expected = theirs(lambda k=k, **options: RetrievalRecall(top_k=k, **options), one, 30)
        assert single[f"recall@{k}"].mean() == pytest.approx(expected)
    assert np.nanmean(1 / several["mean_rank"]) == pytest.approx(theirs(RetrievalMRR, true))
    np.testing.assert_array_equal(np.isnan(several["mean_rank"]), ~true.any(axis=1))


def test_rank_side_and_label_figures_are_those_of_a_loop(generator):
    queries, candidates = 25, 18
    similarity = np.round(generator.normal(size=(queries, candidates)), 1)  # with ties
    true = generator.random((queries, candidates)) < 0.06
    sides = [generator.choice(["OD", "OS", None], n).tolist() for n in (queries, candidates)]
    labels = [
        generator.choice([0, 1, np.nan], (n, 2), p=[0.5, 0.3, 0.2]) for n in (queries, candidates)
    ]
    eligible = generator.random((queries, candidates)) < 0.8
    found = hits(similarity, true=true)
    found |= same_side(similarity, sides[0], true=true, of_candidates=sides[1])
    agreement, chance = label_agreement(similarity, eligible, *labels)
    for query in range(queries):
        scores = similarity[query].tolist()
        order = sorted(range(candidates), key=lambda n: -scores[n])
        own = [n for n in order if true[query, n]]
        if own:
            before = [n for n in order if n not in own and scores[n] >= scores[own[0]]]
            assert found["mean_rank"][query] == len(before) + 1
            assert found["recall@5"][query] == (len(before) < 5)
        else:
            assert np.isnan(found["mean_rank"][query])
        seen = [sides[1][n] for n in order if n not in own and sides[1][n] is not None]
        near = [n for n in order if eligible[query, n] and not np.isnan(labels[1][n]).all()]
        for k in (1, 5, 10):
            share = found[f"laterality_accuracy@{k}"][query]
            if sides[0][query] is None or len(seen) < k:
                assert np.isnan(share)
            else:
                assert share == pytest.approx(seen[:k].count(sides[0][query]) / k)
            for label in range(2):
                known = [v for v in labels[1][near[:k], label].tolist() if v >= 0]
                share = agreement[f"label_agreement@{k}"][query, label]
                if labels[0][query, label] == 1 and len(near) >= k and known:
                    assert share == pytest.approx(sum(known) / len(known))
                else:
                    assert np.isnan(share)
        for label in range(2):
            every = [v for v in labels[1][near, label].tolist() if v >= 0]
            if labels[0][query, label] == 1:
                assert chance[query, label] == pytest.approx(sum(every) / len(every))


def test_laterality_leaves_out_the_true_pair():
    sides = ["OD", "OD", "OS", "OS", None]
    by_side = np.array([[1.0 if a == b else 0.0 for b in sides] for a in sides])
    found = laterality_accuracy(by_side, sides, ks=(1, 3, 10))
    assert found["forward/laterality_accuracy@1"] == 1
    assert found["backward/laterality_accuracy@3"] == pytest.approx(1 / 3)
    assert np.isnan(found["forward/laterality_accuracy@10"])
    only_itself = laterality_accuracy(np.eye(4) + by_side[:4, :4] * -0.5, sides[:4], ks=(1,))
    assert only_itself["forward/laterality_accuracy@1"] == 0
