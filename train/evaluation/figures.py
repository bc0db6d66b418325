"""Figures of a model's predictions with their intervals, and why some are not defined."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from octcube_core.checkpoints.card import ModelCard
from train.evaluation.bootstrap import Interval, intervals
from train.evaluation.metrics import (
    binary_figures,
    class_figures,
    multiclass_figures,
    regression_figures,
)
from train.evaluation.weighted import Floats, mean_of_defined

MEAN, ALL = "mean", "all classes"
Key = tuple[str, str]  # target (a label's or target's abbreviation, MEAN or ALL), metric


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made; see ``bootstrap.intervals``."""

    resamples: int = 1000
    seed: int = 0
    level: float = 0.95
    method: Literal["percentile", "bca"] = "percentile"


@dataclass(frozen=True)
class Scored:
    """Truth and predictions of exams.

    Attributes
    ----------
    names : of the labels or targets
    truth : shape (exams, columns), NaN where unknown; one column with the number of the class for exclusive labels
    predicted : probabilities or values, shape (exams, names)
    patients : shape (exams,)
    kind : "binary", "multiclass" or "regression"
    thresholds : of each binary label
    """

    names: tuple[str, ...]
    truth: Floats
    predicted: Floats
    patients: NDArray[np.object_]
    kind: str
    thresholds: tuple[float, ...] = ()


def kind_of(card: ModelCard) -> str:
    """What a card's head predicts: "binary", "multiclass" or "regression"."""
    if not card.labels:
        return "regression"
    return "multiclass" if card.exclusive else "binary"


def figures_table(scored: Scored, bootstrap: Bootstrap) -> pd.DataFrame:
    """Every figure of every target, and the means over them.

    Returns
    -------
    DataFrame
        target, metric, value, low, high (of the interval), resamples (in which it is defined), reason: why value or
        interval is missing, or what a mean leaves out; empty else. Missing figures are NaN.
    """
    known = [np.flatnonzero(~np.isnan(column)) for column in scored.truth.T]
    parts = _parts(scored, known)

    def every(weight: Floats) -> dict[Key, Floats]:
        found = {
            (target, metric): values
            for target, figures in parts.items()
            for metric, values in figures(weight).items()
        }
        return found | _means(found, scored.names)

    found = intervals(
        every,
        scored.patients,
        resamples=bootstrap.resamples,
        seed=bootstrap.seed,
        level=bootstrap.level,
        method=bootstrap.method,
    )
    rows = [
        {
            "target": target,
            "metric": metric,
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
            "resamples": interval.resamples,
            "reason": _reason((target, metric), found, scored, bootstrap.resamples),
        }
        for (target, metric), interval in found.items()
    ]
    return pd.DataFrame(rows)


def _parts(
    scored: Scored, known: list[NDArray[np.int64]]
) -> dict[str, Callable[[Floats], dict[str, Floats]]]:
    """For each target a function from weights of all exams to its figures, over the exams that are labelled."""
    if scored.kind == "multiclass":
        (rows,) = known
        truth, scores = scored.truth[rows, 0].astype(np.int64), scored.predicted[rows]
        parts = {ALL: lambda weight: multiclass_figures(truth, scores, weight[:, rows])}
        for number, name in enumerate(scored.names):
            parts[name] = lambda weight, number=number: class_figures(
                truth, scores, number, weight[:, rows]
            )
        return parts
    parts = {}
    for number, (name, rows) in enumerate(zip(scored.names, known, strict=True)):
        columns = scored.truth[rows, number], scored.predicted[rows, number]
        if not len(rows):
            continue
        if scored.kind == "binary":
            threshold = scored.thresholds[number]
            parts[name] = lambda weight, columns=columns, threshold=threshold, rows=rows: (
                binary_figures(*columns, threshold, weight[:, rows])
            )
        else:
            parts[name] = lambda weight, columns=columns, rows=rows: regression_figures(
                *columns, weight[:, rows]
            )
    return parts


def _means(found: dict[Key, Floats], names: Sequence[str]) -> dict[Key, Floats]:
    """Means over the targets for which a figure is defined."""
    if len(names) < 2:
        return {}
    metrics = dict.fromkeys(metric for target, metric in found if target in names)
    return {
        (MEAN, metric): mean_of_defined(
            np.stack([found[name, metric] for name in names if (name, metric) in found], axis=-1)
        )
        for metric in metrics
    }


def _reason(key: Key, found: dict[Key, Interval], scored: Scored, resamples: int) -> str:
    target, metric = key
    interval = found[key]
    if target == MEAN:
        without = [
            name
            for name in scored.names
            if (name, metric) not in found or math.isnan(found[name, metric].value)
        ]
        if without:
            shown = ", ".join(without[:5]) + (" and others" if len(without) > 5 else "")
            return f"without {shown}, for which it is not defined"
    if math.isnan(interval.value):
        return _why_undefined(target, metric, scored)
    if resamples and math.isnan(interval.low):
        return f"defined in only {interval.resamples} of {resamples} resamples"
    return ""


def _why_undefined(target: str, metric: str, scored: Scored) -> str:
    if scored.kind == "regression":
        return "the true or the predicted values do not vary"
    if target in (MEAN, ALL):
        return "not defined for any label"
    number = scored.names.index(target)
    if scored.kind == "multiclass":
        truth = scored.truth[~np.isnan(scored.truth[:, 0]), 0] == number
    else:
        truth = scored.truth[~np.isnan(scored.truth[:, number]), number] == 1
    if metric == "ppv":
        return "no exam was called positive"
    if metric == "npv":
        return "no exam was called negative"
    return "no positive exam" if not truth.any() else "no negative exam"


def counts(scored: Scored) -> dict[str, dict[str, int]]:
    """How many exams with a known label each target has, and how many positives a label."""
    result: dict[str, dict[str, int]] = {}
    for number, name in enumerate(scored.names):
        column = scored.truth[:, 0 if scored.kind == "multiclass" else number]
        known = column[~np.isnan(column)]
        result[name] = {"exams": len(known)}
        if scored.kind == "binary":
            result[name]["positives"] = int((known == 1).sum())
        elif scored.kind == "multiclass":
            result[name]["positives"] = int((known == number).sum())
    return result


def as_json(table: pd.DataFrame, scored: Scored) -> dict[str, Any]:
    """``figures_table`` by target and metric, null for what is missing."""
    result: dict[str, Any] = {name: dict(found) for name, found in counts(scored).items()}
    for row in table.itertuples(index=False):
        entry: dict[str, Any] = {
            name: None if math.isnan(value) else value
            for name, value in (("value", row.value), ("low", row.low), ("high", row.high))
        }
        if row.reason:
            entry["reason"] = row.reason
        result.setdefault(row.target, {})[row.metric] = entry
    for name, found in result.items():
        if name in scored.names and not found["exams"]:
            found["reason"] = "no exam has a known label"
    return result
