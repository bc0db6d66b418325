"""From an en-face image to what a model sees: a normalised colour image of the model's size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.checkpoints.card import Architecture
from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage
from octcube_core.readers.intensity import shown_range
from octcube_core.token_grid import PatchGrid

if TYPE_CHECKING:
    import torch

# Red, green, blue of ImageNet, as the reference's en-face towers and RETFound expect.
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STANDARD_DEVIATION = np.array([0.229, 0.224, 0.225], np.float32)


def prepare_image(image: EnFaceImage, architecture: Architecture) -> tuple[torch.Tensor, PatchGrid]:
    """Make a model's input from an en-face image, by the recipe of the released weights.

    The image is resized with Pillow's bicubic filter until it covers the input, the centre is cut out, grey is
    repeated as red, green and blue, and [0, 1] is normalised by ImageNet's mean and standard deviation.

    Parameters
    ----------
    image : EnFaceImage
    architecture : Architecture
        A planar one.

    Returns
    -------
    tensor : float32, shape (1, 3, height, width)
    grid : PatchGrid
        Where each patch lies in the image.

    Raises
    ------
    InputError
        If the image holds NaN.
    """
    import torch
    from PIL import Image

    _, height, width = architecture.input_shape
    scaled = covering_size(image.shape, (height, width))
    grid = PatchGrid(image.shape, scaled, (height, width), architecture.cube[1:])
    picture = Image.fromarray(_eight_bit_rgb(image.pixels))
    picture = picture.resize(scaled[::-1], Image.Resampling.BICUBIC)
    top, left = grid.corner
    picture = picture.crop((left, top, left + width, top + height))
    values = (np.asarray(picture, np.float32) / np.float32(255) - MEAN) / STANDARD_DEVIATION
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))[None], grid


def covering_size(shape: tuple[int, int], input_shape: tuple[int, int]) -> tuple[int, int]:
    """The size at which an image just covers a model's input, both (height, width)."""
    (rows, columns), (height, width) = shape, input_shape
    # As torchvision: the covering side exactly, the longer one rounded down.
    if height * columns >= width * rows:
        return height, max(width, height * columns // rows)
    return max(height, width * rows // columns), width


def _eight_bit_rgb(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    """Black to white as 0 to 255: integers by their sensor's range, other numbers by their own extremes."""
    if pixels.dtype != np.uint8:
        values = pixels.astype(np.float64)
        if not np.isfinite(values).all():
            raise InputError(
                "The en-face image holds values that are not numbers (NaN), so it cannot be analysed."
            )
        if pixels.dtype.kind in "ui":
            # 10 and 12 bits come in 16: their range is the sensor's.
            low, high = shown_range(pixels) or (0.0, float(np.iinfo(pixels.dtype).max))
        else:
            low, high = float(values.min()), float(values.max())
            if low >= 0 and high <= 1:
                low, high = 0.0, 1.0
        scale = 255 / (high - low) if high > low else 0.0
        pixels = np.rint(np.clip((values - low) * scale, 0, 255)).astype(np.uint8)
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, axis=2)
    return np.ascontiguousarray(pixels)
