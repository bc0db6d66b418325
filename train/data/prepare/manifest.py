"""The facts of exams -> the manifest of a store: eyes, visits, splits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from natsort import natsort_keygen

from train.data.strata import assign

SPLITS = ("train", "validation", "test")
_natural = natsort_keygen()


def manifest_of(
    rows: Sequence[dict[str, Any]],
    visits: Sequence[str | None],
    shares: tuple[float, float, float],
    seed: int,
) -> pd.DataFrame:
    """Make the manifest.

    Parameters
    ----------
    rows : facts of each exam, in the order of the store
    visits : what the layout of the folders calls the visit of each, if it does
    shares : of the patients that train, validate and test

    Returns
    -------
    table with the columns of a store, and ``cross_device``: whether the volume was prepared as one of another device
    """
    facts = pd.DataFrame(list(rows))
    spacing = np.array(facts["spacing"].tolist(), np.float64).reshape(-1, 3)
    eyes = _eyes(rows)
    return pd.DataFrame(
        {
            "eye": eyes,
            "patient": facts["patient"],
            "visit": _visit_numbers(rows, visits, eyes),
            "laterality": pd.Series(facts["laterality"], dtype=object),
            "device": pd.Series(facts["device"], dtype=object),
            "modalities": facts["modalities"],
            "spacing_z_mm": spacing[:, 0],
            "spacing_y_mm": spacing[:, 1],
            "spacing_x_mm": spacing[:, 2],
            "split": facts["patient"].map(_splits(facts["patient"], shares, seed)),
            "cross_device": facts["cross_device"],
        }
    )


def _eyes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A name for each exam's eye; of unknown laterality, each exam is an eye of its own, as it may be either."""
    unknown: dict[str, int] = {}
    eyes = []
    for row in rows:
        side = row["laterality"]
        if side is None:
            side = unknown[row["patient"]] = unknown.get(row["patient"], 0) + 1
        eyes.append(f"{row['patient']}-{side}")
    return eyes


def _visit_numbers(
    rows: Sequence[dict[str, Any]], visits: Sequence[str | None], eyes: Sequence[str]
) -> list[int]:
    """The visits of each eye, counted from 1 by their dates; without dates by the names of their folders.

    Exams of one day are of one visit. Of exams of which nothing is known, each is a visit, in the order of the store
    and after the others.
    """
    keys: list[tuple[Any, ...]] = []
    for number, (row, visit) in enumerate(zip(rows, visits, strict=True)):
        if row["day"] is not None:
            keys.append((0, row["day"]))
        elif visit is not None:
            keys.append((1, _natural(visit)))
        else:
            keys.append((2, number))
    of_eye: dict[str, set[tuple[Any, ...]]] = {}
    for eye, key in zip(eyes, keys, strict=True):
        of_eye.setdefault(eye, set()).add(key)
    order = {
        eye: {key: number for number, key in enumerate(sorted(found), 1)}
        for eye, found in of_eye.items()
    }
    return [order[eye][key] for eye, key in zip(eyes, keys, strict=True)]


def _splits(patients: pd.Series, shares: tuple[float, float, float], seed: int) -> dict[str, str]:
    """The split of each patient."""
    unique = sorted(patients.unique())
    parts = assign(np.zeros((len(unique), 0), bool), list(shares), np.random.default_rng(seed))
    return {patient: SPLITS[part] for patient, part in zip(unique, parts, strict=True)}
