"""Which exams train, validate and test: by patient, always."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from octcube_core.errors import InputError
from train.data.split_file import read_splits, write_splits
from train.data.strata import assign, check_strata, first_shots, nested_order, patient_strata

SPLITS = ("train", "validation", "test", "unused")


@dataclass
class Splits:
    """How the patients of a store are divided; all exams of a patient, of both eyes and every visit, stay together.

    Parameters
    ----------
    seed : the same seed and settings give the same splits
    validation_share, test_share : shares of all patients. None keeps whom the manifest's column ``split`` has validate
        or test
    folds : k-fold cross-validation over the patients that do not test; fold number ``fold`` validates
    fold : from 0; see ``folds``
    train_share : share of the training patients that do train. Nested: with one seed, the 10 % are among the 20 %
    shots : few-shot learning from this many training patients per class of each label; nested in the same way
    stratify : columns of the labels, or of the manifest, whose values are spread evenly over the splits; for
        ``shots``, those whose classes count (None: all labels)
    file : JSON file where the splits are written down with seed and settings; if it is there already, it is read,
        and refused if its settings are others
    """

    seed: int = 0
    validation_share: float | None = None
    test_share: float | None = None
    folds: int | None = None
    fold: int = 0
    train_share: float = 1.0
    shots: int | None = None
    stratify: list[str] | None = None
    file: str | None = None

    def apply(self, manifest: pd.DataFrame, label_table: pd.DataFrame | None = None) -> pd.Series:
        """The split of each exam: "train", "validation", "test" or "unused".

        Parameters
        ----------
        manifest : with a column ``patient``, and ``split`` if a share comes from there
        label_table : labels with the manifest's index; exams without any are unused. None uses every exam

        Returns
        -------
        Series of str, with the manifest's index

        Raises
        ------
        InputError
            If the settings make no sense, a stratum or class has too few patients, or the file contradicts them.
        """
        self._check()
        labelled = pd.Series(True, index=manifest.index)
        if label_table is not None:
            labelled = label_table.notna().any(axis=1)
        used = manifest[labelled]
        if self.file is not None and Path(self.file).exists():
            every = read_splits(Path(self.file), self.settings, set(used["patient"]))
        else:
            labels = pd.DataFrame(index=used.index) if label_table is None else label_table
            every = self._every_fold(used, labels.loc[used.index])
            if self.file is not None:
                write_splits(Path(self.file), self.settings, every)
        words = manifest["patient"].map(every[self.fold]).where(labelled)
        return words.astype(object).fillna("unused").rename("split")

    @property
    def settings(self) -> dict[str, object]:
        """All that decides the splits, but not which fold this run takes."""
        return {name: value for name, value in asdict(self).items() if name not in ("fold", "file")}

    def _every_fold(self, used: pd.DataFrame, labels: pd.DataFrame) -> list[dict[str, str]]:
        """The split of each patient, for each fold."""
        patients = np.array(sorted(used["patient"].unique()), object)
        strata = patient_strata(used, labels, self.stratify or [], patients)
        drawing = np.random.default_rng(self.seed)
        listed = _listed_splits(used, patients)
        every = []
        for fold, words in enumerate(self._drawn(listed, strata, drawing)):
            check_strata(strata, words)
            training = np.flatnonzero(words == "train")
            # A generator of its own: the order of the patients must not depend on the share that is taken.
            kept = self._thinned(
                training, used, labels, patients, np.random.default_rng([self.seed, fold])
            )
            words[np.setdiff1d(training, kept)] = "unused"
            every.append(dict(zip(patients.tolist(), words.tolist(), strict=True)))
        return every

    def _drawn(
        self, listed: NDArray[np.object_], strata: pd.DataFrame, drawing: np.random.Generator
    ) -> list[NDArray[np.object_]]:
        """For each fold the patients' splits, before any training patient is left out."""
        words = listed.copy()
        values = strata.to_numpy()
        if self.test_share is not None:
            words[words == "test"] = "train"
            words[assign(values, [self.test_share, 1 - self.test_share], drawing) == 0] = "test"
        if self.folds is not None:
            words[words == "validation"] = "train"
            rest = np.flatnonzero(words == "train")
            number = assign(values[rest], [1 / self.folds] * self.folds, drawing)
            folds = []
            for fold in range(self.folds):
                folds.append(words.copy())
                folds[fold][rest[number == fold]] = "validation"
            return folds
        if self.validation_share is not None:
            words[words == "validation"] = "train"
            rest = np.flatnonzero(words == "train")
            share = self.validation_share * len(words) / max(1, len(rest))
            words[rest[assign(values[rest], [share, 1 - share], drawing) == 0]] = "validation"
        return [words]

    def _thinned(
        self,
        training: NDArray[np.int64],
        used: pd.DataFrame,
        labels: pd.DataFrame,
        patients: NDArray[np.object_],
        drawing: np.random.Generator,
    ) -> NDArray[np.int64]:
        """The training patients that ``train_share`` or ``shots`` leaves."""
        if self.shots is not None:
            columns = self.stratify or list(labels.columns)
            classes = patient_strata(used, labels, columns, patients, bins=None)
            return training[first_shots(classes.iloc[training], self.shots, drawing)]
        if self.train_share == 1:
            return training
        strata = patient_strata(used, labels, self.stratify or [], patients).to_numpy()
        order = nested_order(strata[training], drawing)
        return training[order[: max(1, round(self.train_share * len(training)))]]

    def _check(self) -> None:
        shares = [self.validation_share or 0.0, self.test_share or 0.0]
        if not all(0 <= share < 1 for share in shares) or sum(shares) >= 1:
            raise InputError(
                "splits.validation_share and test_share are shares from 0 and together below 1."
            )
        if not 0 < self.train_share <= 1:
            raise InputError("splits.train_share is above 0 and at most 1.")
        if self.seed < 0:
            raise InputError("splits.seed is not negative.")
        if self.folds is None and self.fold != 0:
            raise InputError("splits.fold needs splits.folds, the number of folds.")
        if self.folds is not None and (self.folds < 2 or not 0 <= self.fold < self.folds):
            raise InputError("splits.folds is at least 2, and splits.fold counts them from 0.")
        if self.folds is not None and self.validation_share is not None:
            raise InputError("splits.folds and validation_share exclude each other; give one.")
        if self.shots is not None and (self.shots < 1 or self.train_share != 1):
            raise InputError("splits.shots is at least 1 and excludes train_share.")


def _listed_splits(used: pd.DataFrame, patients: NDArray[np.object_]) -> NDArray[np.object_]:
    """Each patient's split in the manifest; all train if it has none."""
    if "split" not in used.columns:
        return np.full(len(patients), "train", object)
    words = used.groupby("patient")["split"].unique()
    if (mixed := words.map(len) > 1).any():
        raise InputError(
            f"{int(mixed.sum())} patients are in several splits of the manifest; give splits.validation_share and "
            "test_share (or folds) to draw them by patient."
        )
    listed = words.map(lambda found: found[0]).loc[patients].to_numpy(object)
    if unknown := sorted({str(word) for word in listed} - set(SPLITS)):
        raise InputError(
            f"The manifest has an unknown split {unknown[0]!r}; known are {', '.join(SPLITS)}."
        )
    return listed
