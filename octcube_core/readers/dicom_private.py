"""What DICOM has no place for, in a private block of the files that this package writes.

Group (0099), creator 'NAPARI-OCTCUBE'; an element is there only if the standard attributes cannot say it:

===========  ==  ==============================================================================================
(0099,xx01)  FD  Spacing in mm: (between B-scans, axial, lateral) of a volume or (rows, columns) of an en-face
                 image, 0 where unknown. Written if some of them are known and some are not.
(0099,xx02)  FD  The values shown as black and as white, written if they are not 0 and the largest that Bits
                 Stored holds; on the scale of the restored values if there is an element (0099,xx03).
(0099,xx03)  FD  Slope and intercept: value = stored value x slope + intercept, as 32-bit floating point numbers.
                 Written if the values were such numbers, which these classes cannot store. The Real World Value
                 Mapping says the same to other programs.
===========  ==  ==============================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import add_private_dict_entries
from pydicom.dataset import Dataset

from octcube_core.exam import Spacing

CREATOR = "NAPARI-OCTCUBE"
GROUP = 0x0099
_SPACING, _VALUE_RANGE, _SCALE = 0x01, 0x02, 0x03

# Without this, implicit VR leaves the elements as bytes.
add_private_dict_entries(
    CREATOR,
    {
        (GROUP << 16) | 0x1000 | _SPACING: ("FD", "2-3", "Spacing in mm", ""),
        (GROUP << 16) | 0x1000 | _VALUE_RANGE: ("FD", "2", "Black and White", ""),
        (GROUP << 16) | 0x1000 | _SCALE: ("FD", "2", "Slope and Intercept", ""),
    },
)


def write_private(
    dataset: Dataset,
    spacing_mm: Sequence[Spacing] | None = None,
    value_range: tuple[float, float] | None = None,
    scale: tuple[float, float] | None = None,
) -> None:
    """Add the elements that are given."""
    elements: dict[int, Sequence[float] | None] = {
        _SPACING: None if spacing_mm is None else [value or 0.0 for value in spacing_mm],
        _VALUE_RANGE: value_range,
        _SCALE: scale,
    }
    stated = {offset: values for offset, values in elements.items() if values is not None}
    if not stated:
        return
    block = dataset.private_block(GROUP, CREATOR, create=True)
    for offset, values in stated.items():
        block.add_new(offset, "FD", [float(value) for value in values])


def private_spacing(dataset: Dataset, axes: int) -> tuple[Spacing, ...]:
    """Spacing in mm along each of the axes; None where the block does not state it."""
    values = _numbers(dataset, _SPACING, axes)
    if values is None:
        return (None,) * axes
    return tuple(value if value > 0 else None for value in values)


def private_value_range(dataset: Dataset) -> tuple[float, float] | None:
    """The values shown as black and as white, if the block states them."""
    values = _numbers(dataset, _VALUE_RANGE, 2)
    return None if values is None or values[0] >= values[1] else (values[0], values[1])


def restore_floats(dataset: Dataset, stored: NDArray[Any]) -> NDArray[Any]:
    """Values that were 32-bit floating point numbers before they were written, to half a step; others unchanged."""
    scale = _numbers(dataset, _SCALE, 2)
    if scale is None or scale[0] <= 0:
        return stored
    values = np.empty(stored.shape, np.float32)
    for index in range(len(stored)):  # one frame at a time bounds the memory
        values[index] = stored[index] * scale[0] + scale[1]  # in double precision
    return values


def _numbers(dataset: Dataset, offset: int, count: int) -> tuple[float, ...] | None:
    try:
        values = dataset.private_block(GROUP, CREATOR)[offset].value
        numbers = tuple(float(value) for value in values)
    except (KeyError, TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None
