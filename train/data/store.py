"""A store of exams: one zarr v3 group beside a Parquet manifest with a row per exam.

``volumes`` is uint8, (exams, frames, height, width), one chunk per volume and 32 volumes a shard; ``images/IR`` and
its like hold the en-face images, (exams, rows, columns[, 3]); ``lesions`` has the layout of ``volumes`` and holds
lesion masks as bits, bit k for the k-th disease. A modality that an exam lacks is not written and reads as zeros.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.export import result_folder
from octcube_core.whole_file import whole_file
from train.data.salt import SALT
from train.data.shards import ShardedRows

SHARD = 32
GROUP = "volumes.zarr"
MANIFEST = "manifest.parquet"
PREPARATION = "preparation.json"
OCT = "OCT"
COLUMNS = (
    "eye",
    "patient",
    "visit",
    "laterality",
    "device",
    "modalities",
    "spacing_z_mm",
    "spacing_y_mm",
    "spacing_x_mm",
    "split",
)


@dataclass(frozen=True)
class StoreLayout:
    """What a new store will hold.

    Parameters
    ----------
    count : number of exams
    volume_shape : (frames, height, width)
    images : for each en-face modality its (rows, columns), or (rows, columns, 3) for colour
    lesions : whether there are lesion masks
    codec : ``none`` reads fastest; ``zstd`` (lossless) saves disk, by how much depends on the noise of the scans
    """

    count: int
    volume_shape: tuple[int, int, int]
    images: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    lesions: bool = False
    codec: Literal["none", "zstd"] = "none"


@contextmanager
def new_store(folder: Path, layout: StoreLayout) -> Iterator[Path]:
    """Give a hidden folder with an empty store; it becomes ``folder`` when the block ends well.

    After an error or an interrupt nothing is left. Raises InputError if ``folder`` exists already.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder} exists already; choose another folder or delete it first.")
    with result_folder(folder) as unfinished:
        create_arrays(unfinished, layout)
        yield unfinished


def create_arrays(folder: Path, layout: StoreLayout) -> None:
    """Make the empty arrays of a store in ``folder``."""
    group = zarr.open_group(folder / GROUP, mode="w", zarr_format=3)
    compressors = None if layout.codec == "none" else zarr.codecs.ZstdCodec(level=1)
    arrays = {"volumes": layout.volume_shape}
    arrays |= {f"images/{name}": tuple(shape) for name, shape in layout.images.items()}
    if layout.lesions:
        arrays["lesions"] = layout.volume_shape
    for name, shape in arrays.items():
        group.create_array(
            name,
            shape=(layout.count, *shape),
            dtype="uint8",
            chunks=(1, *shape),
            shards=(SHARD, *shape),
            filters=None,
            # Masks are nearly all zeros, so compressed ones are read faster too.
            compressors=zarr.codecs.ZstdCodec(level=1) if name == "lesions" else compressors,
        )


def write_shard(
    folder: Path,
    first: int,
    volumes: NDArray[np.uint8],
    images: Mapping[str, NDArray[np.uint8]] | None = None,
    lesions: NDArray[np.uint8] | None = None,
) -> None:
    """Write the rows of one shard; shards may be written by several processes at once.

    Parameters
    ----------
    first : row of the first one, a multiple of ``SHARD``
    volumes : uint8 array, shape (rows, frames, height, width), at most ``SHARD`` rows
    images : for each modality uint8 of shape (rows, rows of pixels, columns[, 3])
    lesions : like ``volumes``
    """
    if first % SHARD or len(volumes) > SHARD:
        raise ValueError(f"A shard starts at a multiple of {SHARD} and holds no more rows.")
    group = zarr.open_group(folder / GROUP, mode="r+")
    rows = slice(first, first + len(volumes))
    group["volumes"][rows] = volumes
    for name, pixels in (images or {}).items():
        group[f"images/{name}"][rows] = pixels
    if lesions is not None:
        group["lesions"][rows] = lesions


def write_manifest(folder: Path, rows: pd.DataFrame) -> None:
    """Write the manifest, without which a store counts as unfinished; one row per exam, in the arrays' order."""
    with whole_file(folder / MANIFEST) as partial:
        rows.to_parquet(partial, index=False)


class VolumeStore:
    """A finished store, opened for reading; ``VolumeStore.open(folder)`` makes one.

    Attributes
    ----------
    manifest : table with a row per exam, in the order of the arrays
    volume_shape : (frames, height, width) of what is read
    modalities : ``OCT`` first, then those of the en-face images
    image_shapes : for each en-face modality (rows, columns[, 3])
    present : bool array, shape (exams, modalities): what each exam has
    has_lesions : whether there are lesion masks
    """

    def __init__(self, folder: Path, manifest: pd.DataFrame, center_slice: int = 0) -> None:
        group = folder / GROUP
        self.folder = folder
        self.manifest = manifest
        self._volumes = ShardedRows(group / "volumes")
        names = sorted(path.name for path in (group / "images").glob("*") if path.is_dir())
        self._images = {name: ShardedRows(group / "images" / name) for name in names}
        self.has_lesions = (group / "lesions").is_dir()
        self._lesions = ShardedRows(group / "lesions") if self.has_lesions else None
        self._stored_shape = tuple(self._volumes.shape[1:])
        self._center = center_slice
        self.volume_shape = (center_slice or self._stored_shape[0], *self._stored_shape[1:])
        self.image_shapes = {name: rows.shape[1:] for name, rows in self._images.items()}
        self.modalities = (OCT, *names)
        self.present = np.array(
            [[name in found for name in self.modalities] for found in manifest["modalities"]], bool
        ).reshape(-1, len(self.modalities))
        self._check()

    @classmethod
    def open(cls, folder: str | Path, center_slice: int = 0) -> VolumeStore:
        """Open a store; InputError if the folder holds none, an unfinished one, or one that contradicts itself.

        Parameters
        ----------
        folder : of the store
        center_slice : 0 reads volumes as they are stored. Above, what is read of a volume and of its lesions is the
            B-scan in its middle, so many times: what a model without depth sees, as one layer of its cubes
        """
        folder = Path(folder)
        if center_slice < 0:
            raise InputError(
                "center_slice is the number of B-scans of a model's cube, or 0 for whole volumes."
            )
        if not (folder / MANIFEST).is_file():
            raise InputError(
                f"{folder} holds no finished store (no {MANIFEST}); make one with python -m train phantoms or "
                "python -m train prepare."
            )
        try:
            manifest = pd.read_parquet(folder / MANIFEST)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{folder / MANIFEST} is no readable Parquet file; restore it from a copy."
            ) from error
        if missing := [name for name in COLUMNS if name not in manifest.columns]:
            raise InputError(
                f"The manifest of {folder} has no column {missing[0]!r}; make the store again with this version."
            )
        manifest["modalities"] = [list(found) for found in manifest["modalities"]]
        return cls(folder, manifest, center_slice)

    @property
    def cross_device(self) -> str:
        """Which volumes were cropped in depth and clipped, a key of ``CROSS_DEVICE_RULES``."""
        try:
            stated = json.loads((self.folder / PREPARATION).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return "off"  # synthetic eyes
        rule: str = stated["cross_device"]
        return rule

    @property
    def salt(self) -> str:
        """What patients' ids are hashed with, to join tables by them; empty if the store came without it."""
        path = self.folder / SALT
        return path.read_text(encoding="utf-8").strip() if path.is_file() else ""

    def _check(self) -> None:
        arrays = {"volumes": self._volumes, **self._images}
        if self._lesions is not None:
            arrays["lesions"] = self._lesions
        for name, rows in arrays.items():
            if rows.shape[0] != len(self.manifest):
                raise InputError(
                    f"The manifest of {self.folder} has {len(self.manifest)} rows but its {name} array "
                    f"{rows.shape[0]}; make the store again."
                )
        named = {name for found in self.manifest["modalities"] for name in found}
        if unknown := sorted(named - set(self.modalities)):
            raise InputError(
                f"The manifest of {self.folder} names images of {unknown[0]}, but the store has no array of them."
            )

    def read(self, row: int) -> NDArray[np.uint8]:
        """Volume of one exam, (frames, height, width); zeros if it has none."""
        out = np.empty(self.volume_shape, np.uint8)
        self.read_into(row, OCT, out)
        return out

    def image(self, row: int, modality: str) -> NDArray[np.uint8]:
        """En-face image of one exam, (rows, columns[, 3]); zeros if it has none."""
        out = np.empty(self.image_shapes[modality], np.uint8)
        self.read_into(row, modality, out)
        return out

    def lesions(self, row: int) -> NDArray[np.uint8] | None:
        """Lesion bits of one exam, (frames, height, width); None if the store has no masks."""
        if self._lesions is None:
            return None
        out = np.empty(self.volume_shape, np.uint8)
        self.lesions_into(row, out)
        return out

    def read_into(self, row: int, modality: str, out: NDArray[np.uint8]) -> None:
        """Read a volume (modality ``OCT``) or an image into memory of its shape."""
        if not self.present[row, self.modalities.index(modality)]:
            out[...] = 0
            return
        if modality == OCT:
            self._read_volume(self._volumes, row, out, must_exist=True)
        else:
            self._images[modality].read_into(row, out, must_exist=True)

    def lesions_into(self, row: int, out: NDArray[np.uint8]) -> None:
        """Read lesion bits into memory of a volume's shape; the store must have them."""
        assert self._lesions is not None
        self._read_volume(self._lesions, row, out, must_exist=False)

    def _read_volume(
        self, rows: ShardedRows, row: int, out: NDArray[np.uint8], *, must_exist: bool
    ) -> None:
        if not self._center:
            rows.read_into(row, out, must_exist=must_exist)
            return
        whole = np.empty(self._stored_shape, np.uint8)
        rows.read_into(row, whole, must_exist=must_exist)
        out[...] = whole[len(whole) // 2]
