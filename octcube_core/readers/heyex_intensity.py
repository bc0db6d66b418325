"""Heidelberg's stored reflectivity -> the grey levels that its own viewer shows.

Reflectivity x lies in [0, 1] and is shown as (ln(x + 2.44e-4) + 8.3) / 8.285, black to white: the curve that eyepy
measured on HEYEX's own pictures. Devices store 10 bits of mantissa, and for all such values the levels equal eyepy's.
Of other values one in 100,000 lies so near the edge between two levels that rounding decides.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Samples, above a device's B-scan: smaller blocks stay in a faster cache, but threads then wait for each other's
# interpreter more often.
BLOCK = 512 * 1024

_ONE = int(np.float32(1.0).view(np.uint32))
_EMPTY = np.float32(3e38)  # A-scans moved out of the picture hold the largest float
_EMPTY_E2E = np.float32(1.99)
_OFFSET = np.float32(2.44e-4)
_LEVELS_PER_OCTAVE = np.float32(255 / 8.285 * np.log(2))
_LEVEL_AT_ONE = np.float32(255 / 8.285 * 8.3 + 0.49999)  # rounds when the fraction is cut off


def convert_block(values: NDArray[np.float32], out: NDArray[np.uint8]) -> None:
    """Write the levels of some values to `out`, black for values that are none.

    Parameters
    ----------
    values : array of float32, shape (samples,)
        Reflectivity; overwritten.
    out : array of uint8, shape (samples,)
    """
    # As integers, negative and infinite values and NaN all lie above 1.0: one fast pass finds them.
    if values.view(np.uint32).max() > _ONE:
        with np.errstate(invalid="ignore"):
            values[~(values < _EMPTY)] = 0.0
            np.clip(values, 0.0, 1.0, out=values)
    np.add(values, _OFFSET, out=values)
    np.log2(values, out=values)  # in numpy faster than the natural logarithm
    np.multiply(values, _LEVELS_PER_OCTAVE, out=values)
    np.add(values, _LEVEL_AT_ONE, out=out, casting="unsafe")


def grey_levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    """Grey levels of an array of reflectivity of any shape."""
    flat = np.array(values, np.float32).reshape(-1)
    out = np.empty(flat.size, np.uint8)
    convert_block(flat, out)
    return out.reshape(values.shape)


@cache
def e2e_grey_levels() -> NDArray[np.uint8]:
    """Grey level of each 16-bit code of an E2E file, shape (65536,).

    A code has no sign, 6 bits of exponent (biased by 63) and 10 of mantissa.
    """
    codes = np.arange(1 << 16)
    reflectivity = np.ldexp(1.0 + (codes & 1023) / 1024, (codes >> 10) - 63).astype(np.float32)
    reflectivity[reflectivity > _EMPTY_E2E] = 0.0
    return grey_levels(reflectivity)
