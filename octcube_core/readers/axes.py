"""An array in the order in which a file stores its axes -> (B-scan, depth, width)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import Spacing
from octcube_core.readers.options import AXES


def volume_view(
    path: Path, values: NDArray[Any], axes: str | None, default: str = AXES
) -> NDArray[Any]:
    """Bring an array to the order (bscan, depth, width).

    Parameters
    ----------
    path : Path
        The file, for the message.
    values : array, shape of 2 or 3 axes
        With 2 axes it is one B-scan, in the order that is left when 'z' is taken out.
    axes : str or None
        What the user says: the order of z (B-scan), y (depth) and x (width) in `values`.
    default : str
        The order in which such files store their axes.

    Returns
    -------
    array, shape (bscan, depth, width)
        A view of `values`: no value is copied, so that memory maps stay maps.

    Raises
    ------
    ExamReadError
        If the array has neither two nor three axes.
    """
    order = axes or default
    if values.ndim == 2:
        order = order.replace("z", "")
        return values.transpose([order.index(axis) for axis in "yx"])[np.newaxis]
    if values.ndim != 3:
        raise ExamReadError(
            f"{path.name} holds an array of shape {values.shape}; save one volume with three axes "
            "or one B-scan with two."
        )
    return values.transpose([order.index(axis) for axis in AXES])


def stated_spacing(spacing: Sequence[Spacing]) -> tuple[Spacing, ...]:
    """Spacings that a header states; those that are all 1 are what libraries write when none is known."""
    return (None,) * len(spacing) if all(value == 1.0 for value in spacing) else tuple(spacing)


def volume_spacing(
    spacing: Sequence[Spacing], axes: str | None, default: str = AXES
) -> tuple[Spacing, Spacing, Spacing]:
    """Bring the spacings of an array's two or three axes to the order (between B-scans, axial, lateral)."""
    order = axes or default
    if len(spacing) == 2:
        order = order.replace("z", "")
    along = dict(zip(order, spacing, strict=True))
    return along.get("z"), along["y"], along["x"]
