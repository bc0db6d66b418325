"""JPEG 2000 images inside Topcon files: what the codestream's header says, and its pixels.

The header (ISO/IEC 15444-1, annex A) is read before the library decodes: a decoder takes the memory and the time that
a header asks for, and fills what is missing with zeros.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from construct import Int8ub, Int16ub, Int32ub, Padding, Struct
from numpy.typing import NDArray

_START = b"\xff\x4f\xff\x51"  # SOC, then SIZ
_BOXED = b"\x00\x00\x00\x0cjP  "  # the JP2 container
_END = 0xFFD9
_TILE = 0xFF90
_TILE_DATA = 0xFF93
_CODING = 0xFF52
_UNCHECKED = (0xFF53, 0xFF5F)  # other coding styles for parts of the image; no Topcon file has them
_MAX_TILES = 4096
_MAX_PACKETS = 100_000  # a B-scan has some dozens

_SIZ = Struct(
    Padding(2),
    "length" / Int16ub,
    Padding(2),
    "x_end" / Int32ub,
    "y_end" / Int32ub,
    "x_start" / Int32ub,
    "y_start" / Int32ub,
    "tile_width" / Int32ub,
    "tile_height" / Int32ub,
    "tile_x" / Int32ub,
    "tile_y" / Int32ub,
    "components" / Int16ub,
)
_COMPONENT = Struct("depth" / Int8ub, "x_step" / Int8ub, "y_step" / Int8ub)


class CodestreamError(ValueError):
    """An image that is no JPEG 2000 codestream, or an incomplete or monstrous one."""


@dataclass(frozen=True)
class ImageHeader:
    """What a codestream's header states: pixels, channels, and bits of each."""

    height: int
    width: int
    channels: int
    bits: int
    tiles: int

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the decoded pixels."""
        return np.dtype(np.uint8 if self.bits <= 8 else np.uint16)


def _number(stream: bytes, position: int, size: int) -> int:
    if position + size > len(stream):
        raise CodestreamError("truncated")
    return int.from_bytes(stream[position : position + size], "big")


def starts_image(data: bytes) -> bool:
    """Whether these bytes start a JPEG 2000 image."""
    return data.startswith((_START, _BOXED))


def codestream(image: bytes) -> bytes:
    """The codestream alone, taken out of the JP2 container if there is one."""
    if image.startswith(_BOXED):
        start = image.find(_START, 0, 4096)
        image = image[start:] if start > 0 else b""
    if not image.startswith(_START):
        raise CodestreamError("no JPEG 2000")
    return image


def check_codestream(stream: bytes) -> ImageHeader:
    """Read the header and follow the tiles to the end of the codestream.

    Raises
    ------
    CodestreamError
        If the image is incomplete, or takes more work than its size explains.
    """
    header = _image_header(stream)
    position = 4 + _number(stream, 4, 2)
    position = _coding_headers(stream, position, header, _TILE)
    seen = set()
    while _number(stream, position, 2) == _TILE:
        size = _number(stream, position + 6, 4)
        _coding_headers(stream, position + 12, header, _TILE_DATA)
        seen.add(_number(stream, position + 4, 2))
        position = position + size if size else len(stream.rstrip(b"\0")) - 2
        if size and size < 14:
            raise CodestreamError("tile shorter than its header")
    if _number(stream, position, 2) != _END or seen != set(range(header.tiles)):
        raise CodestreamError("tiles missing")
    return header


def _image_header(stream: bytes) -> ImageHeader:
    size = _SIZ.parse(stream[2 : 2 + _SIZ.sizeof()])
    if not 1 <= size.components <= 4 or size.length != 38 + 3 * size.components:
        raise CodestreamError("channels")
    first = 2 + _SIZ.sizeof()
    parts = [
        _COMPONENT.parse(stream[first + 3 * index : first + 3 * index + 3])
        for index in range(size.components)
    ]
    depths = {part.depth for part in parts}
    if len(depths) > 1 or max(depths) > 15 or any((p.x_step, p.y_step) != (1, 1) for p in parts):
        raise CodestreamError("channels differ, or are signed")
    if size.x_end <= size.x_start or size.y_end <= size.y_start:
        raise CodestreamError("no pixels")
    if not (size.tile_width and size.tile_height):
        raise CodestreamError("no tiles")
    across = -(-(size.x_end - size.tile_x) // size.tile_width)
    down = -(-(size.y_end - size.tile_y) // size.tile_height)
    if not 1 <= across * down <= _MAX_TILES:
        raise CodestreamError("too many tiles")
    return ImageHeader(
        size.y_end - size.y_start,
        size.x_end - size.x_start,
        size.components,
        depths.pop() + 1,
        across * down,
    )


def _coding_headers(stream: bytes, position: int, header: ImageHeader, until: int) -> int:
    """Check the marker segments up to a marker; return where that marker lies."""
    while (marker := _number(stream, position, 2)) != until:
        length = _number(stream, position + 2, 2)
        if marker >> 8 != 0xFF or marker in _UNCHECKED or length < 2:
            raise CodestreamError("no marker")
        if marker == _CODING:
            _check_packets(stream[position + 4 : position + 2 + length], header)
        position += 2 + length
    return position


def _check_packets(coding: bytes, header: ImageHeader) -> None:
    if len(coding) < 10:
        raise CodestreamError("coding style")
    layers, levels = int.from_bytes(coding[2:4], "big"), coding[5]
    if levels > 32:
        raise CodestreamError("levels")
    precincts = coding[10 : 10 + levels + 1] if coding[0] & 1 else b"\xff"
    smallest = min((min(size & 15, size >> 4) for size in precincts), default=15)
    area = (header.height >> smallest) * (header.width >> smallest) + header.tiles
    if layers * (levels + 1) * header.channels * area > _MAX_PACKETS:
        raise CodestreamError("packets")


def _library() -> Callable[[bytes], NDArray[Any]]:
    for module, function in (("imagecodecs", "jpeg2k_decode"), ("openjpeg", "decode")):
        try:
            return cast(
                "Callable[[bytes], NDArray[Any]]",
                getattr(importlib.import_module(module), function),
            )
        except (ImportError, AttributeError):
            continue
    raise CodestreamError("no decoder")  # both are dependencies


def decode(stream: bytes, header: ImageHeader) -> NDArray[Any]:
    """Decode a checked codestream into (height, width) or (height, width, channels).

    Raises
    ------
    CodestreamError
        If the pixels are not those that the header announced.
    """
    pixels = _library()(stream)
    channels = () if header.channels == 1 else (header.channels,)
    if pixels.shape != (header.height, header.width, *channels) or pixels.dtype != header.dtype:
        raise CodestreamError("other pixels than announced")
    return pixels
