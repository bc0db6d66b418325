"""Volumes with disease labels and lesion masks, as a LightningDataModule."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.utils.data import DataLoader, Dataset

from octcube_core.errors import InputError
from train.data.store import VolumeStore


class VolumeDataset(Dataset[dict[str, torch.Tensor]]):
    """Rows of one split: uint8 ``volume`` and ``lesions`` (frames, height, width), float ``labels`` (diseases,)."""

    def __init__(self, store: VolumeStore, split: str, labels: list[str]) -> None:
        if missing := set(labels) - set(store.manifest.columns):
            raise InputError(f"The manifest has no label column {sorted(missing)[0]!r}.")
        self.store = store
        self.rows = store.manifest.index[store.manifest["split"] == split].to_numpy()
        self.labels = torch.from_numpy(
            store.manifest.loc[self.rows, labels].to_numpy("float32", copy=True)
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, item: int) -> dict[str, torch.Tensor]:
        volume, lesions = self.store.read(int(self.rows[item]))
        return {
            "volume": torch.from_numpy(volume),
            "lesions": torch.from_numpy(lesions),
            "labels": self.labels[item],
        }


class VolumeData(L.LightningDataModule):
    """Training and validation volumes of a store made by ``python -m train phantoms``.

    Parameters
    ----------
    store : folder of the store
    labels : label columns, in the order of the model's outputs
    batch_size : volumes per step and process
    workers : processes that read; 0 reads in the training process
    """

    def __init__(
        self, store: str, labels: list[str], batch_size: int = 16, workers: int = 1
    ) -> None:
        super().__init__()
        self.store = store
        self.labels = labels
        self.batch_size = batch_size
        self.workers = workers

    def setup(self, stage: str) -> None:
        """Open the store."""
        opened = VolumeStore.open(Path(self.store))
        self.input_shape = opened.volumes.shape[1:]
        self.training = VolumeDataset(opened, "train", self.labels)
        self.validation = VolumeDataset(opened, "validation", self.labels)
        if len(self.training) < self.batch_size:
            raise InputError(
                f"{self.store} has {len(self.training)} training volumes, fewer than a batch of {self.batch_size}."
            )

    def _loader(
        self, dataset: VolumeDataset, **options: Any
    ) -> DataLoader[dict[str, torch.Tensor]]:
        return DataLoader(
            dataset,
            self.batch_size,
            num_workers=self.workers,
            persistent_workers=self.workers > 0,
            # Forking a process that runs zarr's event loop can hang.
            multiprocessing_context="spawn" if self.workers else None,
            **options,
        )

    def train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """Shuffled volumes of the split 'train'."""
        return self._loader(self.training, shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        """Volumes of the split 'validation'."""
        return self._loader(self.validation)
