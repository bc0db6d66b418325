"""Which exams query and which are looked through: one cohort for both, or those of two devices or stores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.phantom import DISEASES
from train.data.labels import Labels
from train.data.store import VolumeStore
from train.evaluation.evaluate_arguments import Arguments
from train.evaluation.weighted import Bools


@dataclass(frozen=True, eq=False)
class Cohort:
    """Exams of a store.

    Attributes
    ----------
    rows : of the store's manifest
    device : which they are of, if only those were asked for
    labels : binary labels of those exams, or None
    """

    store: VolumeStore
    rows: NDArray[np.int64]
    device: str | None = None
    labels: pd.DataFrame | None = None

    @property
    def exams(self) -> pd.DataFrame:
        """Their rows of the manifest."""
        return self.store.manifest.iloc[self.rows]


def cohorts(store: VolumeStore, arguments: Arguments) -> tuple[Cohort, Cohort]:
    """The exams that query and those of the index; the same object twice if both are one cohort.

    Raises
    ------
    InputError
        If a device has no exam in the split, the stores are one, or labels are not binary.
    """
    if not arguments.crosses:
        whole = _cohort(store, None, arguments, _labels(store, arguments))
        return whole, whole
    other = store
    if arguments.index_store is not None:
        other = VolumeStore.open(arguments.index_store, arguments.center_slice)
        if other.folder.samefile(store.folder):
            raise InputError(
                "--index_store is the store itself; leave it out and name two devices of it."
            )
    labels = _labels(store, arguments)
    others = labels if other is store else _labels(other, arguments)
    if labels is None or others is None:
        labels = others = None
    return (
        _cohort(store, arguments.query_device, arguments, labels),
        _cohort(other, arguments.index_device, arguments, others),
    )


def own_pairs(query: pd.DataFrame, index: pd.DataFrame) -> Bools:
    """Which exams of the index show a query's eye at the same visit, bool, (queries, index).

    Patient, laterality and visit must be the same; without a laterality, an exam may be of either eye.
    """
    keys = ["patient", "laterality", "visit"]
    both = pd.concat([query[keys], index[keys]], ignore_index=True)
    number = both.groupby(keys, dropna=False).ngroup().to_numpy()
    first, second = number[: len(query)], number[len(query) :]
    known = query["laterality"].isin(["OD", "OS"]).to_numpy()
    return (first[:, None] == second) & known[:, None]


def _cohort(
    store: VolumeStore, device: str | None, arguments: Arguments, labels: pd.DataFrame | None
) -> Cohort:
    division = store.manifest["split"]
    if arguments.splits is not None:
        division = arguments.splits.apply(store.manifest, None)
    wanted = division == arguments.split
    if device is not None:
        wanted &= store.manifest["device"] == device
    rows = np.flatnonzero(wanted)
    if device is not None and not len(rows):
        known = sorted({str(name) for name in store.manifest["device"].dropna()})
        raise InputError(
            f"The split {arguments.split!r} of {store.folder} has no exam of the device {device!r}; "
            f"devices of the store are {', '.join(known)}."
        )
    return Cohort(store, rows, device, None if labels is None else labels.iloc[rows])


def _labels(store: VolumeStore, arguments: Arguments) -> pd.DataFrame | None:
    """Those that were asked for, or the diseases of synthetic eyes, if the store has them."""
    labels = arguments.labels
    if labels is None:
        if not set(DISEASES) <= set(store.manifest.columns):
            return None
        labels = Labels("binary", list(DISEASES))
    if labels.kind != "binary":
        raise InputError(
            f"Retrieval counts neighbours with the same label; its labels are of kind binary, not {labels.kind}."
        )
    return labels.table(store)
