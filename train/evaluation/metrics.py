"""What predictions are worth, by the kind of task; shapes and NaN as in ``weighted``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from train.evaluation.weighted import (
    Bools,
    Floats,
    expected_calibration_error,
    mean_of_defined,
    pearson,
    r2,
    ranking,
    ratio,
    spearman,
)

RECALL_AT = (1, 5, 10)
LEAST = 1e-12  # of a probability whose logarithm is taken
OF_DECISION = ("balanced_accuracy", "f1", "sensitivity", "specificity", "ppv", "npv")


def binary_figures(
    truth: Floats, score: Floats, threshold: float, weight: Floats
) -> dict[str, Floats]:
    """Figures of one disease.

    Parameters
    ----------
    truth : 0 or 1, shape (exams,)
    score : probability that it is present, shape (exams,)
    threshold : of the decision; a probability that reaches it is a positive
    weight : how often each exam counts, shape (..., exams)

    Returns
    -------
    dict
        auroc, auprc (average precision), balanced_accuracy, f1, sensitivity, specificity, ppv, npv (predictive
        values), brier, ece and log_loss, each of shape (...).
    """
    present, called = truth > 0.5, score >= threshold
    likelihood = np.clip(np.where(present, score, 1 - score), LEAST, 1)
    cells = [present & called, present & ~called, ~present & called, ~present & ~called]
    errors = [(score - present) ** 2, -np.log(likelihood)]
    tp, fn, fp, tn, squares, log_loss = np.moveaxis(weight @ np.stack([*cells, *errors], -1), -1, 0)
    sensitivity, specificity = ratio(tp, tp + fn), ratio(tn, tn + fp)
    total = weight.sum(axis=-1)
    auroc, auprc = ranking(present, score, weight)
    return {
        "auroc": auroc,
        "auprc": auprc,
        "balanced_accuracy": (sensitivity + specificity) / 2,
        "f1": ratio(2 * tp, 2 * tp + fp + fn),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "ppv": ratio(tp, tp + fp),
        "npv": ratio(tn, tn + fn),
        "brier": ratio(squares, total),
        "ece": expected_calibration_error(present, score, weight),
        "log_loss": ratio(log_loss, total),
    }


def multiclass_figures(
    truth: NDArray[np.int64], scores: Floats, weight: Floats
) -> dict[str, Floats]:
    """Figures over all classes, the decision being the most probable one.

    Parameters
    ----------
    truth : number of the class, shape (exams,)
    scores : probabilities, shape (exams, classes)
    weight : shape (..., exams)

    Returns
    -------
    dict
        accuracy, balanced_accuracy (mean sensitivity of the classes that occur), brier (summed over the classes), ece
        (of the decision) and log_loss, each of shape (...).
    """
    known = np.arange(scores.shape[1]) == truth[:, None]
    right = scores.argmax(axis=1) == truth
    sensitivity = ratio(weight @ (known & right[:, None]), weight @ known.astype(float))
    likelihood = np.clip(scores[np.arange(len(truth)), truth], LEAST, 1)
    total = weight.sum(axis=-1)
    return {
        "accuracy": ratio(weight @ right, total),
        "balanced_accuracy": mean_of_defined(sensitivity),
        "brier": ratio(weight @ ((scores - known) ** 2).sum(axis=1), total),
        "ece": expected_calibration_error(right, scores.max(axis=1), weight),
        "log_loss": ratio(weight @ -np.log(likelihood), total),
    }


def class_figures(
    truth: NDArray[np.int64], scores: Floats, number: int, weight: Floats
) -> dict[str, Floats]:
    """``binary_figures`` of one class against all others, the decision being the most probable class."""
    present = (truth == number).astype(float)
    called = (scores.argmax(axis=1) == number).astype(float)
    figures = binary_figures(present, scores[:, number], 0.5, weight)
    decided = binary_figures(present, called, 0.5, weight)
    return figures | {name: decided[name] for name in OF_DECISION}


def regression_figures(truth: Floats, value: Floats, weight: Floats) -> dict[str, Floats]:
    """r2 (coefficient of determination), mae and rmse (in the target's unit), pearson and spearman.

    ``truth`` and ``value`` have shape (exams,), ``weight`` (..., exams) and each figure (...).
    """
    total = weight.sum(axis=-1)
    return {
        "r2": r2(truth, value, weight),
        "mae": ratio(weight @ np.abs(value - truth), total),
        "rmse": np.sqrt(ratio(weight @ (value - truth) ** 2, total)),
        "pearson": pearson(truth, value, weight),
        "spearman": spearman(truth, value, weight),
    }


def hits(
    similarity: ArrayLike, ks: Sequence[int] = RECALL_AT, true: Bools | None = None
) -> dict[str, Floats]:
    """Whether each query finds its own pair among the K most similar candidates, and at which place.

    Parameters
    ----------
    similarity : shape (queries, candidates)
    ks : numbers of candidates that are looked at
    true : bool, shape (queries, candidates): which candidates belong to a query; of several, the most similar one
        counts. None: query i belongs to candidate i

    Returns
    -------
    dict
        "recall@K": 0 or 1 for each query, and "mean_rank": from 1; NaN for queries to which no candidate belongs. A
        candidate as similar as the true one counts as before it, so that embeddings that are all alike find nothing.
    """
    matrix = np.asarray(similarity, np.float64)
    own = _diagonal(matrix) if true is None else true
    best = np.where(own, matrix, -np.inf).max(axis=1, initial=-np.inf)
    # Not "at least as similar": what is no number must not count as found.
    rank = 1.0 + (~(matrix < best[:, None]) & ~own).sum(axis=1)
    rank[~own.any(axis=1)] = np.nan
    found = {f"recall@{k}": np.where(np.isnan(rank), np.nan, rank <= k) for k in ks}
    return found | {"mean_rank": rank}


def same_side(
    similarity: ArrayLike,
    laterality: Sequence[str | None],
    ks: Sequence[int] = RECALL_AT,
    true: Bools | None = None,
    of_candidates: Sequence[str | None] | None = None,
) -> dict[str, Floats]:
    """Share of the K most similar candidates that show the query's side, its own pair left out.

    Parameters
    ----------
    similarity : shape (queries, candidates)
    laterality : "OD", "OS" or missing of each query; without it an exam is neither a query nor a candidate
    ks : numbers of candidates that are looked at
    true : as in ``hits``
    of_candidates : laterality of each candidate; None: that of the queries

    Returns
    -------
    dict
        "laterality_accuracy@K" of each query; NaN without a side, or where K is more than the candidates.
    """
    matrix = np.asarray(similarity, np.float64)
    own = _diagonal(matrix) if true is None else true
    side = _sides(laterality)
    sides = side if of_candidates is None else _sides(of_candidates)
    eligible = ~np.isnan(sides) & ~own
    seen = sides[_nearest(matrix, eligible, max(ks))]
    figures = {}
    for k in ks:
        usable = ~np.isnan(side) & (eligible.sum(axis=1) >= k)
        figures[f"laterality_accuracy@{k}"] = values = np.full(len(side), np.nan)
        values[usable] = (seen[usable, :k] == side[usable, None]).mean(axis=1)
    return figures


def label_agreement(
    similarity: ArrayLike,
    eligible: Bools,
    labels: Floats,
    of_candidates: Floats,
    ks: Sequence[int] = RECALL_AT,
) -> tuple[dict[str, Floats], Floats]:
    """Share of the K most similar candidates that have a label which the query has, for each label.

    Parameters
    ----------
    similarity : shape (queries, candidates)
    eligible : bool, of that shape: the candidates that count, say those of other patients
    labels, of_candidates : 0, 1 or NaN (unknown), shapes (queries, labels) and (candidates, labels); candidates
        without any known label do not count
    ks : numbers of candidates that are looked at

    Returns
    -------
    figures : "label_agreement@K", shape (queries, labels), over those of the K whose label is known; NaN where the
        query does not have the label, or where K is more than the candidates
    chance : the same of all candidates, hence what a random order gives
    """
    known = ~np.isnan(of_candidates)
    eligible = eligible & known.any(axis=1)
    seen = of_candidates[_nearest(np.asarray(similarity, np.float64), eligible, max(ks))]
    count, present = eligible.sum(axis=1, keepdims=True), labels == 1
    figures = {
        f"label_agreement@{k}": np.where(
            present & (count >= k), mean_of_defined(np.moveaxis(seen[:, :k], 1, -1)), np.nan
        )
        for k in ks
    }
    weight = eligible.astype(np.float64)
    chance = ratio(weight @ np.nan_to_num(of_candidates), weight @ known.astype(np.float64))
    return figures, np.where(present, chance, np.nan)


def _nearest(similarity: Floats, eligible: Bools, most: int) -> NDArray[np.int64]:
    """The most similar candidates, best first, (queries, most); all but the eligible ones come last."""
    masked = np.where(eligible, similarity, -np.inf)
    return np.argsort(-masked, axis=1, kind="stable")[:, :most]


def _diagonal(matrix: Floats) -> Bools:
    return np.eye(*matrix.shape, dtype=bool)


def _sides(laterality: Sequence[str | None]) -> Floats:
    return np.array([{"OD": 1.0, "OS": 0.0}.get(word, np.nan) for word in laterality])


def retrieval_metrics(similarity: ArrayLike, ks: Sequence[int] = RECALL_AT) -> dict[str, float]:
    """Mean of ``hits`` in both directions.

    Returns
    -------
    dict
        "forward/recall@K" and "forward/mean_rank" for rows that look among the columns, "backward/...", and
        "mean_recall@K" of both.
    """
    matrix = np.asarray(similarity, np.float64)
    figures: dict[str, float] = {}
    for name, table in (("forward", matrix), ("backward", matrix.T)):
        figures |= {
            f"{name}/{metric}": float(values.mean()) for metric, values in hits(table, ks).items()
        }
    for k in ks:
        both = figures[f"forward/recall@{k}"] + figures[f"backward/recall@{k}"]
        figures[f"mean_recall@{k}"] = both / 2
    return figures


def laterality_accuracy(
    similarity: ArrayLike, laterality: Sequence[str | None], ks: Sequence[int] = RECALL_AT
) -> dict[str, float]:
    """Mean of ``same_side`` in both directions: "forward/laterality_accuracy@K" and "backward/..."."""
    matrix = np.asarray(similarity, np.float64)
    return {
        f"{name}/{metric}": float(mean_of_defined(values))
        for name, table in (("forward", matrix), ("backward", matrix.T))
        for metric, values in same_side(table, laterality, ks).items()
    }
