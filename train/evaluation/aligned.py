"""How well an aligned model finds an exam's image from its volume, and so on, with intervals over patients."""

from __future__ import annotations

from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.models.coep import COEPModel
from train.data.store import VolumeStore
from train.evaluation.bootstrap import intervals
from train.evaluation.metrics import hits, same_side
from train.evaluation.predictions import embed
from train.evaluation.weighted import Floats, ratio

if TYPE_CHECKING:
    from train.evaluation.evaluate_arguments import Arguments


def aligned_figures(
    model: COEPModel, store: VolumeStore, rows: NDArray[np.int64], arguments: Arguments
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Retrieval of every ordered pair of modalities, among the exams that have both.

    Candidates stay all of them; the intervals are over the patients of the queries.

    Returns
    -------
    figures : target (such as "OCT to IR"), metric (recall@K, laterality_accuracy@K), value, low, high, candidates
    embeddings : row of the manifest, eye, patient, and the embedding of each modality (missing where an exam lacks it)

    Raises
    ------
    InputError
        If no pair of modalities has two exams.
    """
    found = embed(model, store, rows, batch_size=arguments.batch_size, workers=arguments.workers)
    exams = store.manifest.iloc[rows]
    bootstrap = arguments.bootstrap
    lines = []
    for query, candidate in permutations(found, 2):
        both = np.flatnonzero(~np.isnan(found[query][:, 0]) & ~np.isnan(found[candidate][:, 0]))
        if arguments.candidates is not None and len(both) > arguments.candidates:
            drawing = np.random.default_rng(bootstrap.seed)
            both = np.sort(drawing.choice(both, arguments.candidates, replace=False))
        if len(both) < 2:
            continue
        similarity = found[query][both].astype(np.float64) @ found[candidate][both].T
        per_query = hits(similarity) | same_side(
            similarity, exams["laterality"].iloc[both].tolist()
        )
        intervals_ = intervals(
            lambda weight, per_query=per_query: _means(weight, per_query),
            exams["patient"].to_numpy(object)[both],
            resamples=bootstrap.resamples,
            seed=bootstrap.seed,
            level=bootstrap.level,
            method=bootstrap.method,
        )
        lines += [
            {
                "target": f"{query} to {candidate}",
                "metric": metric,
                "value": interval.value,
                "low": interval.low,
                "high": interval.high,
                "candidates": len(both),
            }
            for metric, interval in intervals_.items()
        ]
    if not lines:
        raise InputError("Fewer than two exams of the split have two of the model's modalities.")
    embeddings = pd.DataFrame(
        {"row": rows, "eye": exams["eye"].to_numpy(), "patient": exams["patient"].to_numpy()}
        | {name: [None if np.isnan(v[0]) else v for v in value] for name, value in found.items()}
    )
    return pd.DataFrame(lines), embeddings


def _means(weight: Floats, per_query: dict[str, Floats]) -> dict[str, Floats]:
    """Weighted means over the queries that have a figure."""
    result = {}
    for name, values in per_query.items():
        known = ~np.isnan(values)
        result[name] = ratio(weight[:, known] @ values[known], weight[:, known].sum(axis=1))
    return result
