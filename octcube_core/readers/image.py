"""Single pictures (PNG, JPEG, BMP, one-page TIFF); one alone is an exam of one B-scan.

Pillow reads them, except plain grey PNGs, which libpng decodes straight into their place: it checks the checksum of
every chunk and raises on missing rows. Pillow reads 16-bit grey as it is; it reduces 16-bit *colour* PNGs to 8 bits.
"""

from __future__ import annotations

import struct
from contextlib import nullcontext
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.readers.failures import (
    COLOURED_BSCANS,
    NO_SPACING,
    check_volume_bytes,
    reading,
)
from octcube_core.readers.intensity import display_intensities, luminance, shown_range
from octcube_core.readers.options import NO_OPTIONS, ReadOptions
from octcube_core.readers.quiet import quiet_warnings
from octcube_core.readers.tiff_directories import check_directories, check_strips

_READ_AS = {"1": "L", "P": "RGB", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB"}
_WIDE = {"I": "int32", "F": "float32"}
_MAX_FILE_BYTES = 512 * 1024**2  # above any picture of the size that Pillow agrees to open
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_BLOCK, _MIDDLE_GREY = 8, 128  # of a JPEG
_PNG_ROOM = 64 * 1024
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class ImageHeader:
    """What a picture's header states: (rows, columns) and the type of its samples."""

    shape: tuple[int, int]
    dtype: str
    plain_png: bool = False

    @property
    def bits(self) -> int:
        """Bits per sample (8, 16 or 32)."""
        return np.dtype(self.dtype).itemsize * 8

    def fits(self, other: ImageHeader) -> bool:
        """Whether both can be B-scans of one volume."""
        return (self.shape, self.dtype) == (other.shape, other.dtype)


def read_content(path: Path) -> bytes:
    """All bytes of a picture's file."""
    with reading(path, "an image"):
        if path.stat().st_size > _MAX_FILE_BYTES:
            raise _too_large(path)
        with path.open("rb") as file:
            return file.read()


def read_header(path: Path, content: bytes | None = None) -> ImageHeader:
    """Size and type of a picture, without decoding it.

    Parameters
    ----------
    path : Path
    content : bytes, optional
        All bytes of the file, where they have been read already.

    Raises
    ------
    ExamReadError
        If it is no picture, an animation or stack, or too large to be a B-scan.
    """
    header = _plain_png_header(content) if content is not None else None
    if header is not None:
        if header.shape[0] * header.shape[1] > (Image.MAX_IMAGE_PIXELS or np.inf):
            raise _too_large(path)
        return header
    with reading(path, "an image"):
        with path.open("rb") if content is None else BytesIO(content) as opened:
            if opened.read(4) in _TIFF:
                check_directories(
                    path, opened, path.stat().st_size if content is None else len(content)
                )
        image, frames = _open(path, content)
        with image:
            if frames > 1:
                raise ExamReadError(
                    f"{path.name} is a stack of several images; open the file by itself."
                )
            narrow = "uint16" if image.mode.startswith("I;16") else "uint8"
            return ImageHeader((image.height, image.width), _WIDE.get(image.mode, narrow))
    raise AssertionError("unreachable")


def _open(path: Path, content: bytes | None) -> tuple[Image.Image, int]:
    """A picture that is not decoded yet, and the number of its frames."""
    try:
        with quiet_warnings():  # of damaged tags that carry no pixels
            image = Image.open(path if content is None else BytesIO(content))
            frames = getattr(image, "n_frames", 1)
    except Image.DecompressionBombError:
        raise _too_large(path) from None
    if image.height * image.width > (Image.MAX_IMAGE_PIXELS or np.inf):
        image.close()
        raise _too_large(path)
    return image, frames


def read_pixels(path: Path, content: bytes | None = None) -> NDArray[Any]:
    """Pixels of a picture, shape (rows, columns) or (rows, columns, channels)."""
    with reading(path, "an image"), _open(path, content)[0] as image:
        mode = _READ_AS.get(image.mode)
        if image.format == "TIFF":
            check_strips(path, image, path.stat().st_size if content is None else len(content))
        with quiet_warnings() if image.format == "TIFF" else nullcontext():
            pixels = np.asarray(image.convert(mode) if mode else image)
        if image.format == "JPEG":
            _check_whole_jpeg(path, pixels)
        return pixels
    raise AssertionError("unreachable")


def _check_whole_jpeg(path: Path, pixels: NDArray[Any]) -> None:
    """Refuse a JPEG whose data end early: the decoder leaves what is missing at the middle grey, without an error."""
    rows, columns = ((size - 1) // _BLOCK * _BLOCK for size in pixels.shape[:2])
    if (pixels[rows:, columns:] == _MIDDLE_GREY).all() and np.ptp(pixels):
        raise ExamReadError(
            f"{path.name} is truncated or damaged: a part of its JPEG data is missing; export or copy it again."
        )


def decode_grey(path: Path, content: bytes, header: ImageHeader, out: NDArray[Any]) -> bool:
    """Decode a picture into an array of its header's shape and type.

    Returns
    -------
    bool
        Whether it is coloured; then `out` holds its luminance.
    """
    if header.plain_png:
        with reading(path, "an image"):
            _decode_png(content, out)
        return False
    pixels, coloured = read_pixels(path, content), False
    if pixels.ndim == 3:
        pixels, coloured = luminance(pixels)
    out[...] = pixels
    return coloured


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a single picture as an exam of one B-scan."""
    content = read_content(path)
    header = read_header(path, content)
    check_volume_bytes(path, header.shape, header.bits // 8, stored=len(content))
    pixels = np.empty(header.shape, header.dtype)
    with reading(path, "an image"):
        coloured = decode_grey(path, content, header, pixels)
    voxels = display_intensities(pixels)[np.newaxis]
    return Exam(
        OCTVolume(voxels, value_range=shown_range(voxels)),
        source=path,
        format="image",
        warnings=(NO_SPACING, *((COLOURED_BSCANS,) if coloured else ())),
    )


def _plain_png_header(content: bytes) -> ImageHeader | None:
    """Header of a PNG that is grey of 8 or 16 bits, opaque, not interlaced and no animation."""
    if not content.startswith(_PNG) or content[12:16] != b"IHDR" or len(content) < 33:
        return None
    columns, rows, bits, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    if bits not in (8, 16) or colour or interlaced or not (rows and columns):
        return None
    position = 33
    while position + 8 <= len(content):
        length, kind = struct.unpack_from(">I4s", content, position)
        if kind == b"IDAT":
            return ImageHeader((rows, columns), f"uint{bits}", plain_png=True)
        if kind in (b"tRNS", b"acTL"):
            return None
        position += length + 12
    return None


def _decode_png(content: bytes, out: NDArray[Any]) -> None:
    from imagecodecs import deflate_crc32, png_decode  # here, as only PNGs need it

    # libpng complains of some damage on stderr; the checksums find it first.
    surplus = out.nbytes + len(out) + max(out.nbytes // 100, _PNG_ROOM)
    position = len(_PNG)
    while position < len(content):
        (length,) = struct.unpack_from(">I", content, position)
        end = position + 8 + length
        (stated,) = struct.unpack_from(">I", content, end)
        if deflate_crc32(content[position + 4 : end]) != stated:
            raise ValueError("checksum")
        kind = content[position + 4 : position + 8]
        if kind == b"IEND":
            break
        surplus -= length if kind == b"IDAT" else 0
        if surplus < 0:
            raise ValueError("more data than pixels")  # libpng would inflate all of it
        position = end + 4
    png_decode(content, out=out)


def _too_large(path: Path) -> ExamReadError:
    return ExamReadError(
        f"{path.name} is too large for a B-scan or fundus image; export it smaller."
    )
