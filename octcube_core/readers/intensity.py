"""Stored sample values -> the display intensities that an `OCTVolume` holds."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_SENSOR_BITS = (8, 10, 12)  # of those kept in 16
_REC_601 = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # luma weights of ITU-R BT.601


def luminance(rgb: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """Grey image of an RGB(A) one.

    Parameters
    ----------
    rgb : array, shape (..., rows, columns, channels)
        Channels beyond the third (alpha) are dropped; two channels are grey and alpha.

    Returns
    -------
    grey : array, shape (..., rows, columns), of the same type
    coloured : bool
        Whether the channels differed anywhere.
    """
    red = rgb[..., 0]
    if rgb.shape[-1] < 3:
        return np.ascontiguousarray(red), False
    if all(np.array_equal(red, rgb[..., channel]) for channel in (1, 2)):
        return np.ascontiguousarray(red), False
    grey = np.empty(red.shape, rgb.dtype)
    for index in np.ndindex(red.shape[:-2]):  # one image at a time bounds the memory
        luma = rgb[index][..., :3].astype(np.float32) @ _REC_601
        grey[index] = luma if rgb.dtype.kind == "f" else np.rint(luma)
    return grey, True


def display_intensities(values: NDArray[Any]) -> NDArray[Any]:
    """Store numbers as uint8, uint16 or float32, whichever is the smallest that holds them.

    Arrays of these types are returned as they are (memory maps stay maps); booleans become 0 and
    255. Values that are no real numbers are returned unchanged for `OCTVolume` to refuse.
    """
    if values.dtype.kind == "b":
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "uif" or values.size == 0:
        return values
    native = values.dtype.newbyteorder("=")
    if native in (np.uint8, np.uint16, np.float32):
        return values if values.dtype.isnative else values.astype(native)
    if values.dtype.kind in "ui" and values.min() >= 0:
        highest = values.max()
        for narrow in (np.uint8, np.uint16):
            if highest <= np.iinfo(narrow).max:
                return values.astype(narrow)
    with np.errstate(over="ignore"):  # an overflow becomes infinite, which OCTVolume refuses
        return values.astype(np.float32)


def shown_range(values: NDArray[Any], bits: int | None = None) -> tuple[float, float] | None:
    """Black and white of samples that use fewer bits than their type has; None where they use all.

    Parameters
    ----------
    values : array
        Any but uint16 is shown on the range of its type.
    bits : int, optional
        Bits per sample as a file states them. 16, which is stated by default, and None stand for those that a sensor
        has: the least of 8, 10 and 12 that hold every value.
    """
    if values.dtype != np.uint16 or values.size == 0:
        return None
    highest = int(values.max())
    if bits is not None and bits < 16 and highest < 2**bits:
        return 0.0, float(2**bits - 1)
    held = next((bits for bits in _SENSOR_BITS if highest < 2**bits), None)
    return None if held is None or highest == 0 else (0.0, float(2**held - 1))
