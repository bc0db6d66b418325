"""Confidence intervals by resampling patients, so that two eyes of one person are not taken for two people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from scipy.stats import norm

from octcube_core.errors import InputError

Floats = NDArray[np.float64]
# Weights (k, exams) -> for each figure k values.
Figures = Callable[[Floats], dict[str, Floats]]
NUMBERS_AT_ONCE = 2_000_000  # of weights: 16 MB
LEAST_DEFINED = 0.5  # share of resamples in which a figure must be defined to have an interval


@dataclass(frozen=True)
class Interval:
    """A figure of all exams and its confidence interval.

    ``low`` and ``high`` are NaN where no interval can be had; ``resamples`` is in how many the figure was defined.
    """

    value: float
    low: float
    high: float
    resamples: int


def intervals(
    figures: Figures,
    patients: Sequence[object] | NDArray[np.object_],
    *,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    method: Literal["percentile", "bca"] = "percentile",
) -> dict[str, Interval]:
    """Figures with bootstrap intervals (Efron and Tibshirani, 1993, doi:10.1201/9780429246593).

    Patients are drawn with replacement, each with all of its exams.

    Parameters
    ----------
    figures : gives every figure for weights of shape (k, exams), as (k,) values, NaN where not defined
    patients : whose each exam is, shape (exams,)
    resamples : number of them; 0 gives figures without intervals
    seed : the same seed and exams give the same intervals
    level : share of such intervals that hold the truth
    method : "percentile", or "bca", corrected for bias and skewness (Efron, JASA 1987,
        doi:10.1080/01621459.1987.10478410), which leaves out each patient once in addition

    Raises
    ------
    InputError
        If there is no exam, or ``resamples`` or ``level`` make no sense.
    """
    if not len(patients):
        raise InputError("There is no exam to compute figures of.")
    if resamples < 0 or not 0 < level < 1:
        raise InputError(
            "A bootstrap takes a number of resamples from 0 and a level between 0 and 1."
        )
    _, number = np.unique(np.asarray(patients, str), return_inverse=True)
    count = int(number.max()) + 1
    values = {name: float(of_all[0]) for name, of_all in figures(np.ones((1, len(number)))).items()}
    drawn = _collect(figures, number, _resampled(count, resamples, seed, len(number)))
    without = (
        _collect(figures, number, _each_left_out(count, len(number))) if method == "bca" else {}
    )
    return {
        name: _interval(value, drawn.get(name), without.get(name), level)
        for name, value in values.items()
    }


def _resampled(count: int, resamples: int, seed: int, exams: int) -> Iterator[Floats]:
    """How often each patient is in each resample, (k, patients), a few resamples at a time."""
    generator = np.random.default_rng(seed)
    step = max(1, NUMBERS_AT_ONCE // exams)
    console = Console(stderr=True)
    firsts = range(0, resamples, step)
    for first in track(
        firsts, "Intervals", console=console, transient=True, disable=not console.is_terminal
    ):
        size = min(step, resamples - first)
        yield generator.multinomial(count, np.full(count, 1 / count), size=size).astype(float)


def _each_left_out(count: int, exams: int) -> Iterator[Floats]:
    step = max(1, NUMBERS_AT_ONCE // exams)
    for first in range(0, count, step):
        left_out = np.arange(first, min(first + step, count))
        yield (np.arange(count) != left_out[:, None]).astype(float)


def _collect(
    figures: Figures, number: NDArray[np.int64], chunks: Iterator[Floats]
) -> dict[str, Floats]:
    found: dict[str, list[Floats]] = {}
    for weights in chunks:
        for name, values in figures(weights[:, number]).items():
            found.setdefault(name, []).append(values)
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _interval(value: float, drawn: Floats | None, without: Floats | None, level: float) -> Interval:
    if drawn is None:
        return Interval(value, np.nan, np.nan, 0)
    defined = drawn[~np.isnan(drawn)]
    if np.isnan(value) or len(defined) < LEAST_DEFINED * len(drawn):
        return Interval(value, np.nan, np.nan, len(defined))
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if without is not None:
        tails = _bca_tails(value, defined, without, tails)
    low, high = np.quantile(defined, tails)
    return Interval(value, float(low), float(high), len(defined))


def _bca_tails(value: float, drawn: Floats, without: Floats, tails: Floats) -> Floats:
    """Tails moved by the bias and the acceleration; as they are where these cannot be told."""
    below = ((drawn < value).mean() + (drawn <= value).mean()) / 2
    left = without[~np.isnan(without)]
    deviation = left.mean() - left if len(left) else np.zeros(1)
    spread = (deviation**2).sum()
    if not 0 < below < 1 or spread == 0:
        return tails
    bias = norm.ppf(below)
    acceleration = (deviation**3).sum() / (6 * spread**1.5)
    shifted = bias + norm.ppf(tails)
    moved: Floats = norm.cdf(bias + shifted / (1 - acceleration * shifted))
    return moved
