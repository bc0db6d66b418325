"""A store of volumes: one zarr v3 group beside a Parquet manifest with a row per volume.

``volumes`` is uint8, (eyes, frames, height, width), one chunk per volume and 32 volumes a shard; ``lesions`` has
the same layout and holds the lesion masks as bits, bit k for disease k.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.export import result_folder

SHARD = 32
GROUP = "volumes.zarr"
MANIFEST = "manifest.parquet"


@contextmanager
def new_store(folder: Path, count: int, shape: tuple[int, int, int]) -> Iterator[Path]:
    """Give a hidden folder with an empty store of ``count`` volumes; it becomes ``folder`` when the block ends well.

    After an error or an interrupt nothing is left. Raises InputError if ``folder`` exists already.
    """
    if folder.exists():
        raise InputError(f"{folder} exists already; choose another folder or delete it first.")
    with result_folder(folder) as unfinished:
        group = zarr.open_group(unfinished / GROUP, mode="w", zarr_format=3)
        for name in ("volumes", "lesions"):
            group.create_array(
                name,
                shape=(count, *shape),
                dtype="uint8",
                chunks=(1, *shape),
                shards=(SHARD, *shape),
                compressors=zarr.codecs.ZstdCodec(level=1),
            )
        yield unfinished


def write_manifest(folder: Path, rows: pd.DataFrame) -> None:
    """Write the manifest, without which a store counts as unfinished."""
    rows.to_parquet(folder / MANIFEST, index=False)


@dataclass(frozen=True)
class VolumeStore:
    """A finished store, opened for reading.

    Attributes
    ----------
    manifest : table with a row per volume: split, labels (a 0/1 column per disease), laterality, ...
    """

    volumes: zarr.Array
    lesions: zarr.Array
    manifest: pd.DataFrame

    @classmethod
    def open(cls, folder: Path) -> VolumeStore:
        """Open a store; InputError if the folder holds none or an unfinished one."""
        if not (folder / MANIFEST).is_file():
            raise InputError(
                f"{folder} holds no finished store (no {MANIFEST}); make one with python -m train phantoms."
            )
        group = zarr.open_group(folder / GROUP, mode="r")
        volumes, lesions = group["volumes"], group["lesions"]
        assert isinstance(volumes, zarr.Array)
        assert isinstance(lesions, zarr.Array)
        return cls(volumes, lesions, pd.read_parquet(folder / MANIFEST))

    def read(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Volume and lesion bits of one row, each (frames, height, width)."""
        return np.asarray(self.volumes[index]), np.asarray(self.lesions[index])
