"""Fundus images with a target's saliency on every pixel: what a model saw in them, what it saw in the volume there.

numpy only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, Exam
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
    image = next((image for image in exam.enface if image.modality == modality), None)
    if modality not in analysis.enface or image is None:
        seen = ", ".join(analysis.enface) or "none"
        raise InputError(f"The model looked at no {modality} image of this exam ({seen} seen).")
    saliency = image_saliency(image, analysis, target)
    return View(image_picture(image.pixels), saliency, image.spacing_mm)


def image_saliency(image: EnFaceImage, analysis: Analysis, target: str, step: int = 1) -> Saliency:
    """What the model saw in an en-face image, on every `step`-th pixel of its rows and columns."""
    found = analysis.enface[image.modality]
    if found.grid.image_shape != image.shape:
        raise InputError("The analysis is of another exam; please analyse this one.")
    rows, columns = (_weights(found.grid, axis, step) for axis in (0, 1))
    saliency: Saliency = rows @ found.maps[analysis.index(target)] @ columns.T
    return saliency


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
    placed = localizer_saliency(exam, analysis, target, projection, depth)
    assert exam.locations is not None  # or there would be no saliency
    image = exam.enface[exam.locations.image]
    return View(image_picture(image.pixels), placed, image.spacing_mm)


def localizer_saliency(
    exam: Exam,
    analysis: Analysis,
    target: str,
    projection: Projection = "max",
    depth: tuple[int, int] | None = None,
    step: int = 1,
) -> Saliency:
    """The saliency of `localizer_view` alone, on every `step`-th pixel of the image's rows and columns."""
    require_same(exam, analysis)
    if exam.locations is None:
        raise InputError(
            "The file does not say where the B-scans lie on an en-face image; look at the B-scans."
        )
    rows, columns = exam.enface[exam.locations.image].shape
    front = saliency_en_face(analysis, target, projection, depth)
    lines = [(line - step // 2) / step for line in exam.locations.polylines]
    return on_image(
        front, lines, (len(range(step // 2, rows, step)), len(range(step // 2, columns, step)))
    )


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


def _weights(grid: PatchGrid, axis: int, every: int) -> Saliency:
    """Weights (pixel, patch) of linear interpolation along an axis of the image; none outside the patches."""
    origin, step, patches = grid.origin_pixels[axis], grid.step_pixels[axis], grid.shape[axis]
    pixels = np.arange(every // 2, grid.image_shape[axis], every)
    patch = (pixels - origin) / step
    seen = (patch >= -0.5) & (patch <= patches - 0.5)
    weights: Saliency = linear_weights(pixels, origin, step, patches) * seen[:, None]
    return weights
