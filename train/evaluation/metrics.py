"""What predictions are worth, by the kind of task; shapes and NaN as in ``weighted``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from train.evaluation.weighted import (
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


def hits(similarity: ArrayLike, ks: Sequence[int] = RECALL_AT) -> dict[str, Floats]:
    """Whether each query finds its own pair among the K most similar candidates.

    Parameters
    ----------
    similarity : shape (queries, candidates); query i belongs to candidate i
    ks : numbers of candidates that are looked at

    Returns
    -------
    dict
        "recall@K": 0 or 1 for each query. A candidate as similar as the true one counts as before it, so that
        embeddings that are all alike find nothing.
    """
    matrix = np.asarray(similarity, np.float64)
    rank = (matrix >= matrix.diagonal()[:, None]).sum(axis=1)
    return {f"recall@{k}": (rank <= k).astype(float) for k in ks}


def same_side(
    similarity: ArrayLike, laterality: Sequence[str | None], ks: Sequence[int] = RECALL_AT
) -> dict[str, Floats]:
    """Share of the K most similar candidates that show the query's side, its own pair left out.

    Parameters
    ----------
    similarity : shape (queries, candidates); query i belongs to candidate i
    laterality : "OD", "OS" or missing of each pair; pairs without are neither queries nor candidates
    ks : numbers of candidates that are looked at

    Returns
    -------
    dict
        "laterality_accuracy@K" of each query; NaN without a side, or where K is more than the candidates.
    """
    side = np.array([{"OD": 1.0, "OS": 0.0}.get(word, np.nan) for word in laterality])
    known = np.flatnonzero(~np.isnan(side))
    matrix = np.array(similarity, np.float64)[np.ix_(known, known)]
    np.fill_diagonal(matrix, -np.inf)
    order = np.argsort(-matrix, axis=1, kind="stable")
    figures = {}
    for k in ks:
        figures[f"laterality_accuracy@{k}"] = values = np.full(len(side), np.nan)
        if k < len(known):
            values[known] = (side[known][order[:, :k]] == side[known][:, None]).mean(axis=1)
    return figures


def retrieval_metrics(similarity: ArrayLike, ks: Sequence[int] = RECALL_AT) -> dict[str, float]:
    """Mean of ``hits`` in both directions.

    Returns
    -------
    dict
        "forward/recall@K" for rows that look among the columns, "backward/recall@K", and "mean_recall@K" of both.
    """
    matrix = np.asarray(similarity, np.float64)
    figures: dict[str, float] = {}
    for name, table in (("forward", matrix), ("backward", matrix.T)):
        figures |= {
            f"{name}/{metric}": float(hit.mean()) for metric, hit in hits(table, ks).items()
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
