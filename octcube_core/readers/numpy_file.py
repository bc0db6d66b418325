"""NumPy .npy files: a volume (bscan, depth, width) or one B-scan (depth, width); no spacing."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.readers.failures import MEMORY_MAP_BYTES, NO_SPACING, reading
from octcube_core.readers.intensity import display_intensities
from octcube_core.readers.options import NO_OPTIONS, ReadOptions


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a .npy file of numbers; arrays above 512 MB are mapped, not loaded.

    Raises
    ------
    ExamReadError
        If the file is truncated, holds objects, or has not two or three axes.
    """
    with reading(path, "a NumPy array of numbers"):
        # Mapping first checks the header's shape against the file's size before memory is taken.
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        if values.ndim == 2:
            values = values[np.newaxis]
        if values.ndim != 3:
            raise ExamReadError(
                f"{path.name} holds an array of shape {values.shape}; save one volume with axes "
                "(B-scan, depth, width)."
            )
        if values.nbytes <= MEMORY_MAP_BYTES:
            values = np.array(values)
        volume = OCTVolume(display_intensities(values))
    return Exam(volume, source=path, format="NumPy", warnings=(NO_SPACING,))
