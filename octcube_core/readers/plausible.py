"""Spacings that an OCT or its fundus image can have: others are damaged, or of another unit."""

from __future__ import annotations

import numpy as np

from octcube_core.exam import Spacing

# Wide enough for volumes that were shrunk, narrow enough for micrometres or pixels that pass for millimetres.
AXIAL_MM = (0.0001, 0.5)
LATERAL_MM = (0.0001, 2.0)
BETWEEN_MM = (0.0001, 5.0)
FUNDUS_MM = (0.0001, 2.0)


def plausible_mm(value: float, low: float, high: float) -> float | None:
    """A spacing as stored, or None if no device has such a one: a damaged number is no spacing."""
    return float(value) if np.isfinite(value) and low <= value <= high else None


def plausible_spacing(
    spacing: tuple[Spacing, Spacing, Spacing],
) -> tuple[tuple[Spacing, Spacing, Spacing], tuple[str, ...]]:
    """Spacings of which each may be one of an OCT scan; else all are unknown, with a sentence that says so.

    Files of general formats state millimetres where micrometres or pixels were meant.
    """
    ranges = (BETWEEN_MM, AXIAL_MM, LATERAL_MM)
    for value, (low, high) in zip(spacing, ranges, strict=True):
        if value is not None and not low <= value <= high:
            sizes = " x ".join("?" if size is None else f"{size:.4g}" for size in spacing)
            return (None, None, None), (
                f"The file states a voxel of {sizes} mm (B-scan, depth, width), which no OCT has; sizes are shown in "
                "pixels.",
            )
    return spacing, ()
