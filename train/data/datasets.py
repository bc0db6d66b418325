"""Exams of a store as items, and as batches that are read straight into one tensor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from octcube_core.errors import InputError
from train.data.store import OCT, VolumeStore

Item = dict[str, Any]


class StoreDataset(Dataset[Item]):
    """Chosen rows of a store.

    An item holds ``row`` (int64, of the manifest), ``patient`` (int64, one number per patient of the store),
    ``present`` (bool, (modalities,)), ``volume`` (uint8, (frames, height, width)) if OCT is among the modalities,
    ``images`` ({modality: uint8 (rows, columns[, 3])}) if others are, ``labels`` (float32, (columns,), NaN where
    unknown) with a label table, and ``lesions`` (uint8 bits, like the volume) if asked for. A modality that an exam
    lacks is zeros. A batch holds the same with an axis in front.

    Parameters
    ----------
    store : VolumeStore
    rows : rows of the manifest, in the dataset's order
    modalities : what to read, e.g. ``["OCT", "IR"]``
    label_table : one row per row of the manifest
    lesions : whether to read lesion masks

    Raises
    ------
    InputError
        The store has no such modality or no lesion masks.
    """

    def __init__(
        self,
        store: VolumeStore,
        rows: Sequence[int] | NDArray[np.int64],
        modalities: Sequence[str] = (OCT,),
        label_table: pd.DataFrame | None = None,
        lesions: bool = False,
    ) -> None:
        if unknown := [name for name in modalities if name not in store.modalities]:
            raise InputError(
                f"The store {store.folder} has no {unknown[0]}; it has {', '.join(store.modalities)}."
            )
        if lesions and not store.has_lesions:
            raise InputError(f"The store {store.folder} has no lesion masks.")
        self.store = store
        self.rows = np.asarray(rows, np.int64)
        self.modalities = tuple(modalities)
        self.read_lesions = lesions
        columns = [store.modalities.index(name) for name in modalities]
        self.present = torch.from_numpy(store.present[self.rows][:, columns])
        codes, _ = pd.factorize(store.manifest["patient"])
        self.patients = torch.from_numpy(codes[self.rows].astype(np.int64))
        sides = store.manifest["laterality"].map({"OD": 0, "OS": 1}).fillna(-1)
        self.sides = torch.from_numpy(sides.to_numpy("int64")[self.rows])
        self.labels = None
        if label_table is not None:
            self.labels = torch.from_numpy(label_table.to_numpy("float32")[self.rows])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Item:
        batch = self.__getitems__([index])
        images = batch.pop("images", None)
        item = {name: value[0] for name, value in batch.items()}
        if images is not None:
            item["images"] = {name: value[0] for name, value in images.items()}
        return item

    def __getitems__(self, indices: Sequence[int]) -> Item:
        """One batch, each of its volumes read straight into its place."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        rows = self.rows[chosen.numpy()]
        batch: Item = {
            "row": torch.from_numpy(rows),
            "patient": self.patients[chosen],
            "side": self.sides[chosen],
            "present": self.present[chosen],
        }
        if OCT in self.modalities:
            batch["volume"] = self._read(rows, OCT, self.store.volume_shape)
        images = [name for name in self.modalities if name != OCT]
        if images:
            batch["images"] = {
                name: self._read(rows, name, self.store.image_shapes[name]) for name in images
            }
        if self.labels is not None:
            batch["labels"] = self.labels[chosen]
        if self.read_lesions:
            batch["lesions"] = _empty((len(rows), *self.store.volume_shape))
            for row, out in zip(rows, batch["lesions"].numpy(), strict=True):
                self.store.lesions_into(int(row), out)
        return batch

    def _read(self, rows: NDArray[np.int64], modality: str, shape: Sequence[int]) -> torch.Tensor:
        batch = _empty((len(rows), *shape))
        for row, out in zip(rows, batch.numpy(), strict=True):
            self.store.read_into(int(row), modality, out)
        return batch


def _empty(shape: tuple[int, ...]) -> torch.Tensor:
    """An uninitialised uint8 tensor, where there is a GPU in page-locked memory."""
    return torch.empty(shape, dtype=torch.uint8, pin_memory=torch.cuda.is_available())
