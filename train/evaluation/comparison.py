"""What is compared in retrieval: images of one modality that query with those of one that are looked through."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from train.evaluation.cohorts import Cohort, own_pairs
from train.evaluation.evaluate_arguments import Arguments
from train.evaluation.weighted import Bools, Floats

Embeddings = Mapping[str, NDArray[np.float32]]  # of each modality, NaN where an exam lacks it


@dataclass(frozen=True, eq=False)
class Comparison:
    """One ordered pair of modalities.

    Attributes
    ----------
    name : such as "OCT to IR"
    query, index : rows of the manifests
    labels : binary labels of both, or None
    similarity : float64, shape (queries, candidates)
    true : bool of that shape: the query's own pair
    """

    name: str
    query: pd.DataFrame
    index: pd.DataFrame
    labels: tuple[pd.DataFrame, pd.DataFrame] | None
    similarity: Floats
    true: Bools


def comparisons(
    query: Cohort,
    index: Cohort,
    embeddings: tuple[Embeddings, Embeddings],
    arguments: Arguments,
) -> Iterator[Comparison]:
    """Every ordered pair of modalities that has a query and two candidates.

    Within one cohort (``query is index``) these are different modalities of the exams that have both, and a pair is
    one exam. From one cohort to another they are all of them, and a pair is the same eye at the same visit.
    """
    for asked, found in product(*embeddings):
        first, second = embeddings[0][asked], embeddings[1][found]
        has, candidate = ~np.isnan(first[:, 0]), ~np.isnan(second[:, 0])
        if query is not index:
            rows, places = np.flatnonzero(has), _drawn(np.flatnonzero(candidate), arguments)
            true = own_pairs(query.exams.iloc[rows], index.exams.iloc[places])
        elif asked != found:
            rows = places = _drawn(np.flatnonzero(has & candidate), arguments)
            true = np.eye(len(rows), dtype=bool)
        else:
            continue
        if not len(rows) or len(places) < 2:
            continue
        labels = None
        if query.labels is not None and index.labels is not None:
            labels = query.labels.iloc[rows], index.labels.iloc[places]
        yield Comparison(
            f"{asked} to {found}",
            query.exams.iloc[rows],
            index.exams.iloc[places],
            labels,
            first[rows].astype(np.float64) @ second[places].T,
            true,
        )


def _drawn(places: NDArray[np.int64], arguments: Arguments) -> NDArray[np.int64]:
    """As many as were asked for, by the bootstrap's seed."""
    if arguments.candidates is None or len(places) <= arguments.candidates:
        return places
    drawing = np.random.default_rng(arguments.bootstrap.seed)
    return np.sort(drawing.choice(places, arguments.candidates, replace=False))
