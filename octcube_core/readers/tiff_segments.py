"""The compressed strips and tiles of a TIFF file, looked at before they are decoded."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import tifffile

from octcube_core.errors import ExamReadError

_ORDINARY_BYTES = 64 * 1024**2
_LARGEST_TILE = 4  # times its page: tiles reach beyond the edge of small pages

# Those that are bounded by the size of a strip, or of which the size is looked at here.
_ALLOWED = (1, 5, 7, 8, 32773, 32946, 33003, 33004, 33005, 33007, 34712, 34892, 34925, 50000)
_JPEG = (7, 33007, 34892)
_JPEG_2000 = (33003, 33004, 33005, 34712)
_CODESTREAM = b"\xff\x4f\xff\x51"  # start and size of a JPEG 2000 picture
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


def check_segments(path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Refuse a stack of which a strip or tile would decode to far more than its page holds.

    Raises
    ------
    ExamReadError
        Also if a JPEG is cut short, which its decoder would fill with grey.
    """
    for page in series.pages:
        if page is None:
            continue
        itemsize = page.dtype.itemsize if page.dtype else 1
        chunk = math.prod(page.chunks) * itemsize
        if chunk > max(_ORDINARY_BYTES, _LARGEST_TILE * math.prod(page.shape) * itemsize):
            raise _too_large(path)
        if page.compression not in _ALLOWED:
            name = tifffile.COMPRESSION(page.compression).name
            raise ExamReadError(
                f"{path.name} is compressed in a way that no OCT export uses ({name}); save it with "
                "LZW or Deflate."
            )
        if page.compression not in (*_JPEG, *_JPEG_2000) or page.parent is not tiff:
            continue
        check = _check_jpeg if page.compression in _JPEG else _check_jpeg_2000
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            tiff.filehandle.seek(offset)
            check(path, tiff.filehandle.read(count), math.prod(page.chunks))


def _check_jpeg(path: Path, data: bytes, samples: int) -> None:
    if not data.rstrip(b"\0").endswith(b"\xff\xd9"):
        raise ExamReadError(
            f"{path.name} is truncated or damaged: a JPEG in it has no end; export or copy it again."
        )
    position = 2
    while position + 10 <= len(data) and data[position] == 0xFF:
        marker, length = data[position + 1], struct.unpack_from(">H", data, position + 2)[0]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker in _FRAME_MARKERS:
            rows, columns = struct.unpack_from(">HH", data, position + 5)
            if rows * columns > max(_ORDINARY_BYTES, _LARGEST_TILE * samples):
                raise _too_large(path)
            return
        if marker == 0xDA:
            break
        position += length + 2
    raise ValueError("no frame header")


def _check_jpeg_2000(path: Path, data: bytes, samples: int) -> None:
    at = data.find(_CODESTREAM)
    if at < 0:
        raise ValueError("no JPEG 2000")
    columns, rows = struct.unpack_from(">II", data, at + 8)
    if rows * columns > max(_ORDINARY_BYTES, _LARGEST_TILE * samples):
        raise _too_large(path)


def _too_large(path: Path) -> ExamReadError:
    return ExamReadError(
        f"{path.name} has a page that claims to decode to far more than it shows; it is damaged or "
        "no OCT file."
    )
