"""An en-face image of any type as 8-bit grey or RGB for the screen. No Qt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import EnFaceImage

MAX_SIDE = 2048  # a fundus photograph may have 6000 pixels a side, and is drawn anew at every step
PERCENTILES = (0.5, 99.5)
SAMPLES = 500_000  # enough for percentiles


def fundus_picture(image: EnFaceImage) -> NDArray[np.uint8]:
    """What to draw of an image; fewer pixels than it has if it is large.

    8-bit images are shown as they are; others between their percentiles 0.5 and 99.5, RGB with one range for all
    channels, so that the colours stay.
    """
    step = max(1, -(-max(image.shape) // MAX_SIDE))
    pixels = image.pixels[step // 2 :: step, step // 2 :: step]
    if pixels.dtype != np.uint8:
        pixels = _eight_bits(pixels)
    return np.ascontiguousarray(pixels)


def _eight_bits(pixels: NDArray[np.generic]) -> NDArray[np.uint8]:
    values = pixels.astype(np.float32)
    sample = values.ravel()[:: max(1, values.size // SAMPLES)]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return np.zeros(pixels.shape, np.uint8)
    low, high = np.percentile(sample, PERCENTILES)
    if high <= low:  # nearly constant
        low, high = float(sample.min()), float(sample.max())
    scaled = (np.nan_to_num(values, nan=low) - low) / max(high - low, 1e-12)
    return (np.clip(scaled, 0.0, 1.0) * 255).round().astype(np.uint8)
