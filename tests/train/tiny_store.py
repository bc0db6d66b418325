"""Stores of random exams, small enough for a test, whose contents a test can say again."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from train.data.store import OCT, SHARD, StoreLayout, new_store, write_manifest, write_shard

SHAPE = (3, 16, 20)
IMAGES = {"FAF": (12, 14, 3), "IR": (10, 14)}


def pixels(row: int, modality: str = OCT) -> NDArray[np.uint8]:
    """What the store holds of one exam."""
    shape = IMAGES.get(modality, SHAPE)
    draw = np.random.default_rng([row, *modality.encode()])
    return draw.integers(0, 256, shape, dtype=np.uint8)


def make_tiny_store(
    folder: Path,
    count: int = 12,
    *,
    absent: Collection[tuple[int, str]] = (),
    columns: Mapping[str, Any] | None = None,
    lesions: bool = True,
    **layout: Any,
) -> Path:
    """Make a store of ``count`` exams of OCT, FAF (colour) and IR, less the ``absent`` (row, modality)."""
    there = StoreLayout(count, SHAPE, IMAGES, lesions, **layout)
    with new_store(folder, there) as unfinished:
        for first in range(0, count, SHARD):
            rows = range(first, min(first + SHARD, count))
            images = {name: np.stack([pixels(row, name) for row in rows]) for name in IMAGES}
            masks = np.stack([pixels(row, "lesions") for row in rows]) if lesions else None
            write_shard(unfinished, first, np.stack([pixels(row) for row in rows]), images, masks)
        write_manifest(unfinished, manifest(count, absent).assign(**(columns or {})))
    return folder


def manifest(count: int, absent: Collection[tuple[int, str]] = ()) -> pd.DataFrame:
    """Two eyes a patient; the last quarter validates."""
    numbers = np.arange(count)
    return pd.DataFrame(
        {
            "eye": [f"e{row}" for row in numbers],
            "patient": [f"p{row // 2}" for row in numbers],
            "visit": 1,
            "laterality": np.where(numbers % 2, "OS", "OD"),
            "device": "",
            "modalities": [
                [name for name in (OCT, *IMAGES) if (row, name) not in absent] for row in numbers
            ],
            "spacing_z_mm": np.nan,
            "spacing_y_mm": np.nan,
            "spacing_x_mm": np.nan,
            "split": np.where(numbers < 3 * count // 4, "train", "validation"),
        }
    )
