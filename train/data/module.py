"""A store's exams for a task, as a LightningDataModule."""

from __future__ import annotations

import os

import lightning as L
import numpy as np
import pandas as pd

from octcube_core.errors import InputError
from train.data.datasets import StoreDataset
from train.data.labels import Labels
from train.data.loader import BatchLoader, TrainingLoader
from train.data.sampler import EpochSampler, EveryRow
from train.data.splits import Splits
from train.data.store import OCT, VolumeStore


class StoreData(L.LightningDataModule):
    """Training, validation and test exams of a store made by ``python -m train prepare`` or ``phantoms``.

    Exams that have none of the modalities, or no label at all where labels are asked for, are left out.

    Parameters
    ----------
    store : folder of the store
    modalities : what a batch holds: ``OCT``, and en-face modalities of the store such as ``IR`` and ``FAF``
    labels : what is to be predicted; None gives no labels
    splits : how patients are divided; None takes the manifest's column ``split``
    batch_size : exams per batch and process
    workers : threads that read ahead (more than one pays where the disk is slow or the store compressed); 0 reads
        when a batch is asked for
    lesions : whether to read lesion masks
    balanced : draw training exams with replacement so that in each epoch every binary label, or class, comes about
        equally often: each exam weighs as the mean of 1 / frequency over its labels
    center_slice : 0 gives whole volumes; the number of B-scans of the model's cube gives the B-scan in the middle of
        each volume, so many times, to a model of one layer of cubes: what all the other B-scans are worth

    Attributes
    ----------
    opened : VolumeStore
    volume_shape : (frames, height, width) of a batch's volumes
    cross_device : which of them were cropped in depth and clipped
    label_table : labels of all rows of the manifest, or None
    training, validation, test : StoreDataset
    """

    def __init__(
        self,
        store: str,
        modalities: list[str] | None = None,
        labels: Labels | None = None,
        splits: Splits | None = None,
        batch_size: int = 16,
        workers: int = 1,
        lesions: bool = False,
        balanced: bool = False,
        center_slice: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 1 or workers < 0:
            raise InputError("data.batch_size must be at least 1 and data.workers not negative.")
        if balanced and labels is None:
            raise InputError("data.balanced needs data.labels.")
        self.store = store
        self.modalities = [OCT] if modalities is None else list(modalities)
        self.labels = labels
        self.splits = splits
        self.batch_size = batch_size
        self.workers = workers
        self.lesions = lesions
        self.balanced = balanced
        self.center_slice = center_slice

    def setup(self, stage: str) -> None:
        """Open the store and divide its exams."""
        if hasattr(self, "opened"):
            return
        opened = VolumeStore.open(self.store, self.center_slice)
        self.label_table = None if self.labels is None else self.labels.table(opened)
        split = opened.manifest["split"]
        if self.splits is not None:
            split = self.splits.apply(opened.manifest, self.label_table)
        split = split.where(self._usable(opened), "unused")
        self.training, self.validation, self.test = (
            StoreDataset(
                opened,
                np.flatnonzero(split == name),
                self.modalities,
                self.label_table,
                self.lesions,
            )
            for name in ("train", "validation", "test")
        )
        self.volume_shape = opened.volume_shape
        self.cross_device = opened.cross_device
        self.opened = opened

    def _usable(self, store: VolumeStore) -> pd.Series:
        names = [name in self.modalities for name in store.modalities]
        usable = pd.Series(store.present[:, names].any(axis=1), index=store.manifest.index)
        if self.label_table is not None:
            usable &= self.label_table.notna().any(axis=1)
        return usable

    def _place(self) -> dict[str, int]:
        if self.trainer is None:
            return {"rank": 0, "world_size": 1}
        return {"rank": self.trainer.global_rank, "world_size": self.trainer.world_size}

    def train_dataloader(self) -> TrainingLoader:
        """Shuffled batches of the training exams, resumable in the middle of an epoch."""
        place = self._place()
        needed = self.batch_size * place["world_size"]
        if len(self.training) < needed:
            raise InputError(
                f"{self.store} has {len(self.training)} training exams, fewer than a batch of {needed}."
            )
        seed = int(os.environ.get("PL_GLOBAL_SEED", "0"))  # of seed_everything
        weights = None
        if self.balanced:
            weights = balancing_weights(self.training.labels.numpy(), self.labels.kind)
        sampler = EpochSampler(len(self.training), self.batch_size, seed, **place, weights=weights)
        return TrainingLoader(self.training, sampler, self.workers)

    def val_dataloader(self) -> BatchLoader:
        """Every validation exam once."""
        return self._every(self.validation, "validation")

    def test_dataloader(self) -> BatchLoader:
        """Every test exam once."""
        return self._every(self.test, "test")

    def _every(self, dataset: StoreDataset, split: str) -> BatchLoader:
        if not len(dataset):
            raise InputError(f"{self.store} has no {split} exams; choose other splits.")
        sampler = EveryRow(len(dataset), self.batch_size, **self._place())
        return BatchLoader(dataset, sampler, self.workers)


def balancing_weights(labels: np.ndarray, kind: str) -> np.ndarray:
    """How often to draw each exam so that rare labels come as often as common ones.

    Parameters
    ----------
    labels : float array, shape (exams, columns), NaN where unknown
    kind : ``binary`` or ``multiclass``

    Returns
    -------
    float array, shape (exams,)
    """
    if kind == "regression":
        raise InputError("data.balanced needs binary or multi-class labels.")
    shares = np.full(labels.shape, np.nan)
    for column in range(labels.shape[1]):
        known = np.isfinite(labels[:, column])
        column_values = labels[known, column]
        _, inverse, counts = np.unique(column_values, return_inverse=True, return_counts=True)
        shares[known, column] = (known.sum() / counts)[inverse]
    return np.nanmean(shares, axis=1)
