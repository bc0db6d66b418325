"""Elementary figures of weighted exams, for many weightings at once.

Weights have shape (..., exams), figures (...). A whole weight counts an exam as often as that, so that the weights of
many bootstrap resamples give the figures of all of them in one pass. What is not defined is NaN.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
ECE_BINS = 15  # of Guo et al., arXiv:1706.04599


def ranking(present: Bools, score: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Area under the ROC curve, equal scores counting half, and average precision.

    Average precision is the area under the precision-recall curve as a sum over its steps, without interpolation.
    """
    tp, fp = _cumulated(present, score, weight)
    steps = np.diff(tp, axis=-1, prepend=0)
    area = (np.diff(fp, axis=-1, prepend=0) * (tp - steps / 2)).sum(axis=-1)
    precision = np.nan_to_num(ratio(tp, tp + fp))
    positives, negatives = tp[..., -1], fp[..., -1]
    return ratio(area, positives * negatives), ratio((steps * precision).sum(axis=-1), positives)


def _cumulated(present: Bools, score: Floats, weight: Floats) -> tuple[Floats, Floats]:
    """Weights of the positive and of the negative exams down to each distinct score, the highest first."""
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    ordered, positive = weight[..., order], present[order]
    tp = np.cumsum(ordered * positive, axis=-1)[..., ends]
    return tp, np.cumsum(ordered, axis=-1)[..., ends] - tp


def expected_calibration_error(
    right: Bools, confidence: Floats, weight: Floats, bins: int = ECE_BINS
) -> Floats:
    """Mean distance between confidence and accuracy in bins of equal width (Naeini et al., AAAI 2015).

    ``right`` and ``confidence``, shape (exams,), are those of a decision among classes (Guo et al., arXiv:1706.04599)
    or, for one disease, its presence and probability.
    """
    number = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    inside = np.arange(bins) == number[:, None]
    gap = weight @ (inside * (confidence - right)[:, None])
    return ratio(np.abs(gap).sum(axis=-1), weight.sum(axis=-1))


def r2(truth: Floats, value: Floats, weight: Floats) -> Floats:
    """Coefficient of determination; not defined for a truth that does not vary."""
    centred = truth - truth.mean()  # large values would cost digits
    total, squares = weight.sum(axis=-1), weight @ centred**2
    spread = squares - ratio((weight @ centred) ** 2, total)
    varies = spread > 1e-12 * squares
    return 1 - ratio(weight @ (value - truth) ** 2, np.where(varies, spread, 0))


def pearson(first: Floats, second: Floats, weight: Floats) -> Floats:
    """Correlation of two columns, of shape (exams,) or that of the weights."""
    total = weight.sum(axis=-1, keepdims=True)

    def deviation(values: Floats) -> tuple[Floats, Floats]:
        values = values - values.mean()
        around = values - ratio((weight * values).sum(axis=-1, keepdims=True), total)
        variance, size = (weight * around**2).sum(axis=-1), (weight * values**2).sum(axis=-1)
        return around, np.where(variance > 1e-18 * size, variance, 0)

    (a, aa), (b, bb) = deviation(first), deviation(second)
    return np.clip(ratio((weight * a * b).sum(axis=-1), np.sqrt(aa * bb)), -1, 1)


def spearman(first: Floats, second: Floats, weight: Floats) -> Floats:
    """Correlation of the ranks of two (exams,) columns; equal values share the mean of their ranks."""
    return pearson(_ranks(first, weight), _ranks(second, weight), weight)


def _ranks(values: Floats, weight: Floats) -> Floats:
    """Mean rank of each value among all the repeated ones, of the weights' shape."""
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    ends = np.searchsorted(group[order], np.arange(len(distinct)), side="right") - 1
    upto = np.cumsum(weight[..., order], axis=-1)[..., ends]
    before = np.concatenate([np.zeros_like(upto[..., :1]), upto[..., :-1]], axis=-1)
    return ((upto + before + 1) / 2)[..., group]


def ratio(part: Floats, whole: Floats) -> Floats:
    """Quotient, NaN where the denominator is 0."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(np.asarray(whole) == 0, np.nan, np.divide(part, whole))


def mean_of_defined(values: Floats) -> Floats:
    """Mean over the last axis of what is not NaN; NaN if nothing is."""
    known = ~np.isnan(values)
    return ratio(np.where(known, values, 0).sum(axis=-1), known.sum(axis=-1))
