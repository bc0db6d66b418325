"""NumPy .npy files: a volume (bscan, depth, width) or one B-scan (depth, width); no spacing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.readers import mapped
from octcube_core.readers.axes import volume_view
from octcube_core.readers.failures import (
    NO_SPACING,
    check_volume_bytes,
    reading,
)
from octcube_core.readers.intensity import display_intensities
from octcube_core.readers.options import NO_OPTIONS, ReadOptions


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a .npy file of numbers; arrays above 512 MB are mapped, not loaded.

    The axes are (B-scan, depth, width) unless ``options.axes`` says otherwise.

    Raises
    ------
    ExamReadError
        If the file is truncated, holds objects, or has not two or three axes.
    """
    with reading(path, "a NumPy array of numbers"):
        # Mapping first checks the header's shape against the file's size before memory is taken.
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(values, np.memmap) and values.offset + values.nbytes < path.stat().st_size:
            raise ExamReadError(
                f"{path.name} holds more bytes than its array; save one array in it, or several as .npz."
            )
        check_volume_bytes(path, values.shape, values.dtype.itemsize)
        if values.nbytes <= mapped.MEMORY_MAP_BYTES:
            values = np.array(values)
        voxels = display_intensities(volume_view(path, values, options.axes))
        volume = OCTVolume(voxels, value_range=mapped.shown_range(voxels))
    return Exam(volume, source=path, format="NumPy", warnings=(NO_SPACING,))
