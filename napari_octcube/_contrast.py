"""Which grey values of an OCT volume are shown as black and white, and how those between are spread. No Qt, no napari.

Devices scale their B-scans differently: some leave the upper third of the grey scale empty, some store what they
measure and not its logarithm. This concerns the screen alone: models, saliency and reports see the volume itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import Exam, OCTVolume

BSCANS = 8  # that are looked at
VALUES = 200_000  # that are looked at
DARK, BRIGHT = 2.0, 99.8  # percentiles that become black and white
# Where so many percent of the values are darker than this level, gamma lifts them to it.
BULK, BULK_LEVEL = 80.0, 0.2
LEAST_GAMMA = 0.4
MUCH_CLIPPED = 0.1
FLAT = 0.1  # values that differ by less than this part of the brightest are no picture


@dataclass(frozen=True)
class Contrast:
    """A look at a volume, in parts of the range from the file's black (0) to its white (1).

    Attributes
    ----------
    low, high : float
        What is shown as black and as white.
    gamma : float
        Exponent of what lies between; below 1 the dark becomes lighter.
    """

    low: float = 0.0
    high: float = 1.0
    gamma: float = 1.0

    @classmethod
    def of_limits(
        cls, limits: tuple[float, float], gamma: float, black_white: tuple[float, float]
    ) -> Contrast:
        """The look that a layer has whose limits are grey values."""
        black, white = black_white
        low, high = ((limit - black) / (white - black) for limit in limits)
        return cls(low, high, gamma)

    def limits(self, black_white: tuple[float, float]) -> tuple[float, float]:
        """The grey values that are shown as black and as white."""
        black, white = black_white
        return black + self.low * (white - black), black + self.high * (white - black)


FULL_RANGE = Contrast()

_found: WeakKeyDictionary[OCTVolume, Contrast] = WeakKeyDictionary()


def auto_contrast(volume: OCTVolume) -> Contrast:
    """A look that suits what the volume holds, from a sample of a few B-scans; found once for each volume."""
    if volume not in _found:
        _found[volume] = _look_for(_sample(volume))
    return _found[volume]


def device_of(exam: Exam) -> str:
    """What the user's own contrast is remembered for: the device, or the format if that is unknown."""
    return exam.device or exam.format


def _sample(volume: OCTVolume) -> NDArray[np.float32]:
    """Some of the values, in parts of the range from black to white; a mapped volume is hardly read."""
    bscans, depth, width = volume.shape
    chosen = np.unique(np.linspace(0, bscans - 1, BSCANS + 2).round().astype(int)[1:-1])
    step = max(1, math.isqrt(len(chosen) * depth * width // VALUES))
    parts = [volume.voxels[index, ::step, ::step].ravel() for index in chosen]
    black, white = volume.black_white
    values = (np.concatenate(parts).astype(np.float32) - np.float32(black)) / (white - black)
    return np.asarray(values[np.isfinite(values)], np.float32)


def _look_for(values: NDArray[np.float32]) -> Contrast:
    # What lies outside of the scan, or was clipped, is exactly black or white and says nothing.
    inside = values[(values > 0) & (values < 1)]
    if inside.size < 100:
        return FULL_RANGE
    low, bulk, high = (float(value) for value in np.percentile(inside, (DARK, BULK, BRIGHT)))
    # Where much is clipped already, more would hide what the device left to see.
    if (values <= 0).mean() > MUCH_CLIPPED:
        low = 0.0
    if (values >= 1).mean() > 1 - BRIGHT / 100:
        high = 1.0
    if high - low < FLAT * high:
        return FULL_RANGE
    level = (bulk - low) / (high - low)
    gamma = 1.0
    if 0 < level < BULK_LEVEL:
        gamma = max(LEAST_GAMMA, math.log(BULK_LEVEL) / math.log(level))
    return Contrast(low, high, round(gamma, 2))
