"""Fundus images with a target's saliency on every pixel: what a model saw in them, what it saw in the volume there.

numpy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.placing import on_image
from octcube_core.results import Analysis
from octcube_core.token_grid import PatchGrid
from octcube_core.views import (
    Projection,
    Saliency,
    View,
    eight_bits,
    linear_weights,
    require_same,
    saliency_en_face,
)

PERCENTILES = (0.5, 99.5)  # black and white of an image that is not 8-bit
SAMPLES = 500_000  # enough for percentiles


def image_view(exam: Exam, analysis: Analysis, target: str, modality: str) -> View:
    """An en-face image with what the model saw in it; nothing outside the part that the model sees.

    Raises
    ------
    InputError
        If the model looked at no image of this modality.
    """
    index = analysis.index(target)
    image = next((image for image in exam.enface if image.modality == modality), None)
    if modality not in analysis.enface or image is None:
        seen = ", ".join(analysis.enface) or "none"
        raise InputError(f"The model looked at no {modality} image of this exam ({seen} seen).")
    found = analysis.enface[modality]
    if found.grid.image_shape != image.shape:
        raise InputError("The analysis is of another exam; please analyse this one.")
    rows, columns = (_weights(found.grid, axis) for axis in (0, 1))
    return View(image_picture(image.pixels), rows @ found.maps[index] @ columns.T, image.spacing_mm)


def localizer_view(
    exam: Exam,
    analysis: Analysis,
    target: str,
    projection: Projection = "max",
    depth: tuple[int, int] | None = None,
) -> View:
    """The image on which the B-scans are placed, with the volume's saliency where they lie.

    Between the lines of a raster it is interpolated; other patterns are ribbons along their lines. Parameters are
    those of `saliency_en_face`.

    Raises
    ------
    InputError
        If the file does not say where the B-scans lie.
    """
    require_same(exam, analysis)
    if exam.locations is None:
        raise InputError(
            "The file does not say where the B-scans lie on an en-face image; look at the B-scans."
        )
    image = exam.enface[exam.locations.image]
    front = saliency_en_face(analysis, target, projection, depth)
    placed = on_image(front, exam.locations.polylines, image.shape)
    return View(image_picture(image.pixels), placed, image.spacing_mm)


def image_picture(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """An en-face image's pixels in 8 bits: as they are, or between their percentiles 0.5 and 99.5 if of another type.

    RGB has one range for all channels, so that the colours stay.
    """
    if pixels.dtype == np.uint8:
        return pixels
    values = pixels.astype(np.float32)
    sample = values.ravel()[:: max(1, values.size // SAMPLES)]
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        return np.zeros(pixels.shape, np.uint8)
    low, high = np.percentile(sample, PERCENTILES)
    if high <= low:  # nearly constant
        low, high = sample.min(), sample.max()
    return eight_bits(np.nan_to_num(values, nan=low), float(low), float(high))


def _weights(grid: PatchGrid, axis: int) -> Saliency:
    """Weights (pixel, patch) of linear interpolation along an axis of the image; none outside the patches."""
    origin, step, patches = grid.origin_pixels[axis], grid.step_pixels[axis], grid.shape[axis]
    pixels = np.arange(grid.image_shape[axis])
    patch = (pixels - origin) / step
    seen = (patch >= -0.5) & (patch <= patches - 0.5)
    weights: Saliency = linear_weights(pixels, origin, step, patches) * seen[:, None]
    return weights
