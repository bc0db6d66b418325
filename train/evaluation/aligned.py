"""How well an aligned model finds images of the same eye, side and disease, with intervals over patients."""

from __future__ import annotations

import numpy as np
import pandas as pd

from train.evaluation.bootstrap import intervals
from train.evaluation.comparison import Comparison
from train.evaluation.figures import MEAN, Bootstrap, Key
from train.evaluation.metrics import hits, label_agreement, same_side
from train.evaluation.weighted import Floats, mean_of_defined, ratio


def aligned_figures(comparison: Comparison, bootstrap: Bootstrap) -> pd.DataFrame:
    """Retrieval from one modality to another.

    Candidates stay all of them; the intervals are over the patients of the queries.

    Returns
    -------
    DataFrame
        target, metric, value, low, high, queries (for which the figure is defined), candidates, chance. The target
        "OCT to IR" has recall@K and mean_rank (left out where no query has a pair) and laterality_accuracy@K; with
        labels, "OCT to IR, DME" and "OCT to IR, mean" have label_agreement@K and what a random order gives.
    """
    per_query = _pairs_and_sides(comparison)
    agreement, chance = _labels(comparison)
    per_query |= agreement
    values, of_mean = np.stack(list(per_query.values()), axis=-1), f"{comparison.name}, {MEAN}"

    def every(weight: Floats) -> dict[Key, Floats]:
        known = (~np.isnan(values)).astype(np.float64)
        means = ratio(weight @ np.nan_to_num(values), weight @ known)
        found = dict(zip(per_query, means.T, strict=True))
        metrics = dict.fromkeys(metric for _, metric in agreement)
        return found | {
            (of_mean, metric): mean_of_defined(
                np.stack([found[key] for key in agreement if key[1] == metric], axis=-1)
            )
            for metric in metrics
        }

    found = intervals(
        every,
        comparison.query["patient"].to_numpy(object),
        resamples=bootstrap.resamples,
        seed=bootstrap.seed,
        level=bootstrap.level,
        method=bootstrap.method,
    )
    table = pd.DataFrame(
        {
            "target": target,
            "metric": metric,
            "value": interval.value,
            "low": interval.low,
            "high": interval.high,
        }
        for (target, metric), interval in found.items()
    )
    counted = {key: int((~np.isnan(each)).sum()) for key, each in per_query.items()}
    for metric in dict.fromkeys(metric for _, metric in agreement):
        each = [known for key, known in agreement.items() if key[1] == metric]
        counted[of_mean, metric] = int((~np.isnan(each)).any(axis=0).sum())
    by_chance = {target: mean_of_defined(each) for target, each in chance.items()}
    if by_chance:
        by_chance[of_mean] = mean_of_defined(np.array(list(by_chance.values())))
    table["queries"] = [counted[key] for key in found]
    table["candidates"] = len(comparison.index)
    table["chance"] = table["target"].map(by_chance).astype(float)
    return table


def _pairs_and_sides(comparison: Comparison) -> dict[Key, Floats]:
    """Figures of each query about its own pair, and about the side that its neighbours show."""
    figures = hits(comparison.similarity, true=comparison.true) if comparison.true.any() else {}
    figures |= same_side(
        comparison.similarity,
        comparison.query["laterality"].tolist(),
        true=comparison.true,
        of_candidates=comparison.index["laterality"].tolist(),
    )
    return {(comparison.name, metric): values for metric, values in figures.items()}


def _labels(comparison: Comparison) -> tuple[dict[Key, Floats], dict[str, Floats]]:
    """Label agreement of each query with other patients, and for each label what a random order gives."""
    if comparison.labels is None:
        return {}, {}
    labels, of_candidates = comparison.labels
    patients, others = (
        exams["patient"].to_numpy(object) for exams in (comparison.query, comparison.index)
    )
    agreement, chance = label_agreement(
        comparison.similarity,
        patients[:, None] != others,
        labels.to_numpy(np.float64),
        of_candidates.to_numpy(np.float64),
    )
    targets = {f"{comparison.name}, {label}": n for n, label in enumerate(labels.columns)}
    figures = {
        (target, metric): values[:, number]
        for target, number in targets.items()
        for metric, values in agreement.items()
    }
    return figures, {target: chance[:, number] for target, number in targets.items()}
