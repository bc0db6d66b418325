"""Dividing patients so that every part has its share of each label."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from octcube_core.errors import InputError

QUANTILES = 5  # strata of a measured value


def patient_strata(
    exams: pd.DataFrame,
    labels: pd.DataFrame,
    columns: list[str],
    patients: NDArray[np.object_],
    bins: int | None = QUANTILES,
) -> pd.DataFrame:
    """Which classes of some columns a patient has in any exam.

    Parameters
    ----------
    exams : manifest rows
    labels : label table of the same index
    columns : of the labels or of the manifest. Words, two values, and whole numbers 0, 1, ... without a gap are
        classes; other numbers fall into quantiles of the patients' means
    patients : the order of the result's rows
    bins : number of quantiles; None refuses columns that are no classes

    Returns
    -------
    DataFrame of bool, one column per class, named such as "DME = 1"; without columns if ``columns`` is empty
    """
    strata: dict[str, NDArray[np.bool_]] = {}
    number = pd.Index(patients).get_indexer(exams["patient"])
    for column in columns:
        if column not in labels.columns and column not in exams.columns:
            raise InputError(f"There is no label or manifest column {column!r} to stratify by.")
        values = labels[column] if column in labels.columns else exams[column]
        if not _are_classes(values):
            if bins is None:
                raise InputError(f"{column} has no classes, which splits.shots counts patients of.")
            values = _quantile(values, exams["patient"], bins)
        codes, found = pd.factorize(values, sort=True)
        for code, value in enumerate(found):
            members = np.zeros(len(patients), bool)
            members[number[codes == code]] = True
            word = f"{value:g}" if isinstance(value, float) else str(value)
            strata[f"{column} = {word}"] = members
    return pd.DataFrame(strata, index=pd.Index(patients, dtype=object))


def _are_classes(values: pd.Series) -> bool:
    if not pd.api.types.is_numeric_dtype(values.dtype):
        return True
    found = np.unique(values.dropna().to_numpy(float))
    return len(found) <= 2 or np.array_equal(found, np.arange(len(found)))


def _quantile(values: pd.Series, patient: pd.Series, bins: int) -> pd.Series:
    means = values.groupby(patient).mean()
    return patient.map(pd.qcut(means, bins, labels=False, duplicates="drop"))


def assign(
    strata: NDArray[np.bool_], shares: list[float], drawing: np.random.Generator
) -> NDArray[np.int64]:
    """Divide patients into parts of given shares, each with its share of the patients of every stratum.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML PKDD 2011, doi:10.1007/978-3-642-23808-6_10): the
    rarest stratum is handed out first, each of its patients to the part that lacks most of it. The parts' sizes are
    exact, up to rounding.

    Parameters
    ----------
    strata : bool array, shape (patients, strata)
    shares : of each part; their sum is 1
    drawing : decides ties, and everything if there are no strata

    Returns
    -------
    int array, shape (patients,): number of the part
    """
    count = len(strata)
    room = _sizes(count, shares)
    wanted = np.outer(np.asarray(shares), strata.sum(axis=0))
    part = np.full(count, -1)
    shuffled = drawing.permutation(count)
    ties = drawing.random((count, len(shares)))
    left = strata.sum(axis=0).astype(float)
    members = np.ascontiguousarray(strata[shuffled].T)
    while (left > 0).any():
        rarest = int(np.where(left > 0, left, np.inf).argmin())
        for patient in shuffled[members[rarest] & (part[shuffled] < 0)]:
            need = np.where(room > 0, wanted[:, rarest], -np.inf)
            best = np.lexsort((ties[patient], room, need))[-1]
            part[patient] = best
            room[best] -= 1
            wanted[best] -= strata[patient]
            left -= strata[patient]
    unlabelled = shuffled[part[shuffled] < 0]
    part[unlabelled] = np.repeat(np.arange(len(shares)), room)
    return part


def _sizes(count: int, shares: list[float]) -> NDArray[np.int64]:
    """Whole numbers in proportion to the shares, of the right sum."""
    edges = np.rint(np.cumsum([0.0, *shares]) / sum(shares) * count).astype(np.int64)
    return np.diff(edges)


def nested_order(strata: NDArray[np.bool_], drawing: np.random.Generator) -> NDArray[np.int64]:
    """An order of patients of which every beginning has about its share of each stratum: halved again and again."""
    if len(strata) < 2 or strata.shape[1] == 0:
        return drawing.permutation(len(strata))
    half = assign(strata, [0.5, 0.5], drawing)
    parts = [np.flatnonzero(half == number) for number in (0, 1)]
    return np.concatenate([part[nested_order(strata[part], drawing)] for part in parts])


def first_shots(
    classes: pd.DataFrame, shots: int, drawing: np.random.Generator
) -> NDArray[np.int64]:
    """Rows of patients such that each class has at least ``shots``, the rarest class first.

    Raises
    ------
    InputError
        If a class has too few patients.
    """
    values = classes.to_numpy(bool)
    counts = values.sum(axis=0)
    if not len(counts):
        raise InputError("splits.shots needs labels, whose classes it counts patients of.")
    if (counts < shots).any():
        fewest = int(counts.argmin())
        raise InputError(
            f"Only {counts[fewest]} training patients have {classes.columns[fewest]}, fewer than the {shots} of "
            "splits.shots."
        )
    shuffled = drawing.permutation(len(values))
    chosen = np.zeros(len(values), bool)
    for column in np.argsort(counts, kind="stable"):
        lacking = shots - int(values[chosen, column].sum())
        if lacking > 0:
            free = shuffled[values[shuffled, column] & ~chosen[shuffled]]
            chosen[free[:lacking]] = True
    return np.flatnonzero(chosen)


def check_strata(strata: pd.DataFrame, words: NDArray[np.object_]) -> None:
    """Raise InputError unless every split has patients, and those of every stratum."""
    present = [word for word in ("train", "validation", "test") if (words == word).any()]
    if "train" not in present:
        raise InputError("No patient is left to train on; take smaller validation and test shares.")
    for name, members in strata.items():
        if lacking := [
            word for word in present if not (members.to_numpy() & (words == word)).any()
        ]:
            raise InputError(
                f"Only {int(members.sum())} patients have {name}, too few for every split ({lacking[0]} got none); "
                "leave that column out of splits.stratify."
            )
