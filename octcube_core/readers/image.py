"""Single pictures (PNG, JPEG, BMP, one-page TIFF) by Pillow; one alone is an exam of one B-scan.

Pillow reads 16-bit grey as it is; it reduces 16-bit *colour* PNGs to 8 bits.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.readers.failures import COLOURED_BSCANS, NO_SPACING, reading
from octcube_core.readers.intensity import display_intensities, luminance
from octcube_core.readers.options import NO_OPTIONS, ReadOptions

_READ_AS = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
_BITS = {"I": 32, "F": 32}


@dataclass(frozen=True)
class ImageHeader:
    """What a picture's header states: (rows, columns) and bits per sample (8, 16 or 32)."""

    shape: tuple[int, int]
    bits: int


def read_header(path: Path) -> ImageHeader:
    """Size and depth of a picture, without decoding it.

    Raises
    ------
    ExamReadError
        If it is no picture, an animation or stack, or too large to be a B-scan.
    """
    with reading(path, "an image"), warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                if getattr(image, "n_frames", 1) > 1:
                    raise ExamReadError(
                        f"{path.name} is a stack of several images; open the file by itself."
                    )
                bits = 16 if image.mode.startswith("I;16") else _BITS.get(image.mode, 8)
                return ImageHeader((image.height, image.width), bits)
        except (Image.DecompressionBombWarning, Image.DecompressionBombError):
            raise ExamReadError(
                f"{path.name} is too large for a B-scan or fundus image; export it smaller."
            ) from None


def read_pixels(path: Path) -> NDArray[Any]:
    """Pixels of a picture, shape (rows, columns) or (rows, columns, channels)."""
    with reading(path, "an image"), Image.open(path) as image:
        mode = _READ_AS.get(image.mode)
        return np.asarray(image.convert(mode) if mode else image)


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a single picture as an exam of one B-scan."""
    read_header(path)
    pixels = read_pixels(path)
    coloured = False
    if pixels.ndim == 3:
        pixels, coloured = luminance(pixels)
    return Exam(
        OCTVolume(display_intensities(pixels)[np.newaxis]),
        source=path,
        format="image",
        warnings=(NO_SPACING, *((COLOURED_BSCANS,) if coloured else ())),
    )
