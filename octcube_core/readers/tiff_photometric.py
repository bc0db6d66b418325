"""What the samples of a TIFF page mean: white as zero, or the places of a palette.

After TIFF 6.0: WhiteIsZero is inverted on the range of BitsPerSample, and a palette is looked up.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.readers.intensity import luminance

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _YCBCR = 0, 1, 2, 3, 6
_PHOTOMETRIC_TAG, _COLOR_MAP_TAG = 262, 320


@dataclass(frozen=True)
class Photometric:
    """How the samples of an image are shown.

    Attributes
    ----------
    bits : int
        Per sample.
    inverted : bool
        Whether 0 is white.
    palette : array of uint8 or uint16, shape (entries, 3), or None
    """

    bits: int
    inverted: bool = False
    palette: NDArray[Any] | None = None

    @property
    def as_stored(self) -> bool:
        """Whether the samples are the grey levels (or colours) themselves."""
        return not self.inverted and self.palette is None

    def shown(self, values: NDArray[Any], grey: bool) -> tuple[NDArray[Any], bool]:
        """Grey levels, or colours along a further last axis, of samples; and whether they were coloured.

        Parameters
        ----------
        values : array
            It may be overwritten.
        grey : bool
            Whether a palette of colours gives their luminance.
        """
        if self.palette is not None:
            levels, coloured = luminance(self.palette[np.newaxis])
            table = levels[0] if grey or not coloured else self.palette
            return table[values.astype(np.uint8) if values.dtype == bool else values], coloured
        if self.inverted:
            return self._inverted(values), False
        return values, False

    def _inverted(self, values: NDArray[Any]) -> NDArray[Any]:
        if values.dtype == bool:
            return ~values
        if values.dtype.kind != "u":  # the range of these is that of the values
            values = values.astype(np.float32)
            white: Any = values.min() + values.max()
        else:
            white = values.dtype.type(2**self.bits - 1)
        inverted: NDArray[Any] = np.subtract(
            white, values, out=values if values.flags.writeable else None
        )
        return inverted


def photometric(path: Path, series: tifffile.TiffPageSeries) -> Photometric:
    """How the samples of an image are shown, by its first page.

    Raises
    ------
    ExamReadError
        If they are in another colour space than RGB, or its pages have several palettes.
    """
    page = series.keyframe
    kind = int(page.photometric) if _PHOTOMETRIC_TAG in page.tags else _BLACK_IS_ZERO
    bits = int(page.bitspersample)
    if kind == _PALETTE:
        return Photometric(bits, palette=_palette(path, series, bits))
    if kind not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _YCBCR):
        raise ExamReadError(
            f"{path.name} stores its pages in a colour space that no OCT export uses; save them in grey or RGB."
        )
    return Photometric(bits, inverted=kind == _WHITE_IS_ZERO)


def _palette(path: Path, series: tifffile.TiffPageSeries, bits: int) -> NDArray[Any]:
    pages = [page for page in series.pages if isinstance(page, tifffile.TiffPage)]
    first = np.asarray((pages[0] if pages else series.keyframe).tags.valueof(_COLOR_MAP_TAG))
    if any(not np.array_equal(first, page.tags.valueof(_COLOR_MAP_TAG)) for page in pages):
        raise ExamReadError(
            f"{path.name} shows its pages with different palettes; save them in grey or RGB."
        )
    entries = first.reshape(3, -1).T.astype(np.uint16)
    if len(entries) != 2**bits:
        raise ValueError("size of the palette")
    if bits > 8:
        return entries
    # Entries have 16 bits by the standard; some programs store 8.
    return (entries >> 8 if entries.max() > 255 else entries).astype(np.uint8)
