"""Arrays that lie in a file as they are in memory: loaded when small, mapped when large."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

from octcube_core.errors import ExamReadError
from octcube_core.readers import failures, intensity
from octcube_core.readers.failures import check_volume_bytes

MEMORY_MAP_BYTES = failures.MEMORY_MAP_BYTES
_SAMPLED_BSCANS = 16


def stored_array(
    path: Path,
    dtype: DTypeLike,
    shape: Sequence[int],
    offset: int,
    order: Literal["C", "F"] = "C",
    part_of: str = "",
    to_end: bool = False,
) -> NDArray[Any]:
    """Read an array from its place in a file; above 512 MB it is mapped, read-only.

    Parameters
    ----------
    path : Path
    dtype, shape, order
        As for `numpy.ndarray`; `order` is "F" where the first axis is the fastest.
    offset : int
        Of its first byte in the file.
    part_of : str
        Name of the file that the user opened, where it is another one.
    to_end : bool
        Whether nothing may follow: what does shows that the header's sizes are wrong.

    Raises
    ------
    ExamReadError
        If the file is too short for it, or too long.
    """
    check_volume_bytes(path, shape, np.dtype(dtype).itemsize)
    size = math.prod(shape) * np.dtype(dtype).itemsize
    present = path.stat().st_size - offset
    named = f"{part_of} belongs to {path.name}, which" if part_of else path.name
    if offset < 0 or present < size:
        raise ExamReadError(
            f"{named} is truncated: it should hold {size:,} bytes of voxels but holds "
            f"{max(present, 0):,}; export or copy it again."
        )
    if to_end and present > size:
        raise ExamReadError(
            f"{named} holds {present:,} bytes of voxels where the header states {size:,}; export or copy it again."
        )
    values = np.memmap(path, dtype, "r", offset, tuple(shape), order)
    return values if size > MEMORY_MAP_BYTES else np.array(values)


def shown_range(values: NDArray[Any], bits: int | None = None) -> tuple[float, float] | None:
    """Black and white of a volume, or None for those of its type; `bits` is what the file says that a sample uses.

    Those of mapped floats follow from some of the B-scans: the extremes of all voxels would read the whole file.
    """
    if not isinstance(values, np.memmap):
        return intensity.shown_range(values, bits)
    if values.dtype.kind != "f":
        return None
    some = values[:: max(1, len(values) // _SAMPLED_BSCANS)]
    finite = [bscan[np.isfinite(bscan)] for bscan in some]
    low = min((float(bscan.min()) for bscan in finite if bscan.size), default=0.0)
    high = max((float(bscan.max()) for bscan in finite if bscan.size), default=1.0)
    if low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0
