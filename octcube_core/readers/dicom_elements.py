"""The functional groups of a DICOM file as plain dictionaries, and where its pixel data lie.

A volume of 300 frames has some ten thousand nested elements, whose objects would take longer than its voxels. This
walk keeps their bytes, never goes beyond the file, and refuses nesting without end.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from typing import Union

import numpy as np

Buffer = bytes | mmap.mmap
Item = dict[int, Union["Value", list["Item"]]]

SHARED_GROUPS, FRAME_GROUPS = 0x52009229, 0x52009230
PIXEL_MEASURES, PIXEL_SPACING = 0x00289110, 0x00280030
SLICE_THICKNESS, BETWEEN_SLICES = 0x00180050, 0x00180088
PLANE_POSITION, IMAGE_POSITION = 0x00209113, 0x00200032
PLANE_ORIENTATION, IMAGE_ORIENTATION = 0x00209116, 0x00200037
FRAME_ANATOMY, FRAME_LATERALITY = 0x00209071, 0x00209072
FRAME_LOCATION, REFERENCE_COORDINATES = 0x00220031, 0x00220032
IMAGE_ORIENTATION_EYE, TRANSVERSE_DEPTH = 0x00220039, 0x00220041
FRAME_CONTENT, DIMENSION_INDEX = 0x00209111, 0x00209157
STACK_ID, IN_STACK_POSITION, TEMPORAL_POSITION = 0x00209056, 0x00209057, 0x00209128
REFERENCED_IMAGE, REFERENCED_INSTANCE = 0x00081140, 0x00081155
PIXEL_DATA = (0x7FE00010, 0x7FE00008, 0x7FE00009)  # integers, floats, doubles
EXTENDED_OFFSETS = 0x7FE00001

_SEQUENCES = {
    SHARED_GROUPS,
    FRAME_GROUPS,
    PIXEL_MEASURES,
    PLANE_POSITION,
    PLANE_ORIENTATION,
    FRAME_ANATOMY,
    FRAME_LOCATION,
    REFERENCED_IMAGE,
    FRAME_CONTENT,
}
_IMPLICIT_VR = {
    REFERENCE_COORDINATES: "FL",
    TRANSVERSE_DEPTH: "FL",
    DIMENSION_INDEX: "UL",
    IN_STACK_POSITION: "UL",
    TEMPORAL_POSITION: "UL",
}
_BINARY = {"FL": "f4", "FD": "f8", "UL": "u4"}
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_DEEPEST = 16  # nested sequences; functional groups need four


@dataclass(frozen=True)
class Value:
    """What an element holds, undecoded."""

    vr: str
    data: bytes


@dataclass(frozen=True)
class PixelElement:
    """Where in the file the pixel data lie; ``length`` is None for encapsulated frames."""

    tag: int
    start: int
    length: int | None


@dataclass(frozen=True)
class Encoding:
    """How elements are stored."""

    implicit: bool
    little: bool

    @property
    def order(self) -> str:
        """Byte order as `struct` and numpy write it."""
        return "<" if self.little else ">"


class Walk:
    """Reads elements of a buffer one after another.

    Raises
    ------
    ValueError, struct.error
        If an element reaches beyond the buffer or sequences are nested without end.
    """

    def __init__(self, buffer: Buffer, encoding: Encoding) -> None:
        self.buffer = buffer
        self.size = len(buffer)
        self.implicit = encoding.implicit
        self._tag = struct.Struct(f"{encoding.order}HH").unpack_from
        self._short = struct.Struct(f"{encoding.order}H").unpack_from
        self._long = struct.Struct(f"{encoding.order}L").unpack_from

    def top_level(self, position: int) -> tuple[Item, PixelElement | None]:
        """Elements from ``position`` to the pixel data, and these; None if the file ends without."""
        found: Item = {}
        while position + 8 <= self.size:
            tag, vr, length, start = self._header(position)
            if tag in PIXEL_DATA:
                return found, PixelElement(tag, start, None if length == _UNDEFINED else length)
            position = self._element(tag, vr, length, start, self.size, found, 1)
        return found, None

    def group(self, position: int, number: int) -> tuple[Item, int]:
        """Elements of one group from ``position`` on, and where the next group starts."""
        found: Item = {}
        while position + 8 <= self.size:
            tag, vr, length, start = self._header(position)
            if tag >> 16 != number:
                break
            position = self._element(tag, vr, length, start, self.size, found, 1)
        return found, position

    def _header(self, position: int) -> tuple[int, bytes, int, int]:
        group, element = self._tag(self.buffer, position)
        tag = group << 16 | element
        if self.implicit or group == 0xFFFE:
            return tag, b"", self._long(self.buffer, position + 4)[0], position + 8
        vr = bytes(self.buffer[position + 4 : position + 6])
        if vr in _LONG:
            return tag, vr, self._long(self.buffer, position + 8)[0], position + 12
        return tag, vr, self._short(self.buffer, position + 6)[0], position + 8

    def _element(
        self, tag: int, vr: bytes, length: int, start: int, end: int, into: Item, depth: int
    ) -> int:
        """Keep one element; return where the next one starts."""
        if length != _UNDEFINED and start + length > end:
            raise ValueError("an element reaches beyond what holds it")
        if tag in _SEQUENCES or length == _UNDEFINED:
            # What is of unknown type (UN) is stored without types (PS3.5 6.2.2).
            walk = Walk(self.buffer, Encoding(True, True)) if vr == b"UN" else self
            items, position = walk._items(start, length, end, depth)
            if tag in _SEQUENCES:
                into[tag] = items
            return position
        if vr != b"SQ" and length <= 1 << 20:
            name = vr.decode("latin-1") if vr else _IMPLICIT_VR.get(tag, "")
            into[tag] = Value(name, bytes(self.buffer[start : start + length]))
        return start + length

    def _items(self, position: int, length: int, end: int, depth: int) -> tuple[list[Item], int]:
        if depth > _DEEPEST:
            raise ValueError("sequences are nested without end")
        items: list[Item] = []
        until = end if length == _UNDEFINED else position + length
        while position < until:
            tag, _, size, start = self._header(position)
            if tag == _SEQUENCE_END and length == _UNDEFINED:
                return items, start
            if tag != _ITEM:
                raise ValueError("a sequence holds something else than items")
            item, position = self._item(start, size, until, depth)
            items.append(item)
        if length == _UNDEFINED:
            raise ValueError("a sequence has no end")
        return items, until

    def _item(self, position: int, length: int, end: int, depth: int) -> tuple[Item, int]:
        item: Item = {}
        until = end if length == _UNDEFINED else position + length
        if until > end:
            raise ValueError("an item reaches beyond its sequence")
        while position < until:
            tag, vr, size, start = self._header(position)
            if tag == _ITEM_END and length == _UNDEFINED:
                return item, start
            position = self._element(tag, vr, size, start, until, item, depth + 1)
        if length == _UNDEFINED:
            raise ValueError("an item has no end")
        return item, until


def items(item: Item, tag: int) -> list[Item]:
    """Items of a sequence; none if it is missing."""
    found = item.get(tag)
    return found if isinstance(found, list) else []


def text(item: Item, tag: int) -> str:
    """Value of an element as ASCII text; '' if it is missing."""
    found = item.get(tag)
    return found.data.decode("ascii", "replace").strip("\0 ") if isinstance(found, Value) else ""


def numbers(item: Item, tag: int, order: str = "<") -> tuple[float, ...]:
    """Values of a numeric element; () if it is missing or holds anything but finite numbers."""
    found = item.get(tag)
    if not isinstance(found, Value):
        return ()
    try:
        if found.vr in _BINARY:
            values = np.frombuffer(found.data, order + _BINARY[found.vr]).tolist()
        else:
            values = [float(part) for part in found.data.decode("ascii").strip("\0 ").split("\\")]
    except ValueError:
        return ()
    return tuple(values) if all(math.isfinite(value) for value in values) else ()
