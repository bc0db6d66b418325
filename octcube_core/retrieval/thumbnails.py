"""Small pictures by which an eye is known again: the middle B-scan in its proportions, or the fundus image."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from octcube_core.exam import Exam

WIDTH, HEIGHT = 128, 96
QUALITY = 80


def thumbnails(exam: Exam) -> dict[str, bytes]:
    """A JPEG of at most 128 x 96 pixels for the volume and for each modality of en-face image."""
    pictures = {"OCT": _encoded(_middle_bscan(exam))}
    for image in exam.enface:
        if image.modality not in pictures:
            pixels = image.pixels
            if pixels.dtype != np.uint8:
                low, high = float(pixels.min()), float(pixels.max())
                pixels = _eight_bit(pixels, (low, high if high > low else low + 1))
            pictures[image.modality] = _encoded(_fitted(Image.fromarray(pixels)))
    return pictures


def _middle_bscan(exam: Exam) -> Image.Image:
    bscan = exam.volume.voxels[exam.volume.shape[0] // 2]
    picture = Image.fromarray(_eight_bit(bscan, exam.volume.black_white))
    # Filled, not in true proportions: a B-scan 9 x 2 mm would be a flat strip.
    return picture.resize((WIDTH, HEIGHT), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _fitted(picture: Image.Image) -> Image.Image:
    picture = picture.convert("RGB" if picture.mode == "RGB" else "L")
    picture.thumbnail((WIDTH, HEIGHT), Image.Resampling.BILINEAR)
    return picture


def _eight_bit(pixels: NDArray[np.generic], black_white: tuple[float, float]) -> NDArray[np.uint8]:
    black, white = black_white
    values = (pixels.astype(np.float32) - np.float32(black)) * np.float32(255 / (white - black))
    clipped: NDArray[np.uint8] = np.clip(np.nan_to_num(values), 0, 255).astype(np.uint8)
    return clipped


def _encoded(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY)
    return file.getvalue()
