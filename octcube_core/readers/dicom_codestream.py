"""What the header of a compressed frame claims, before a decoder takes memory for it."""

from __future__ import annotations

import struct

from pydicom import uid

JPEG_FAMILY = frozenset(
    {
        uid.JPEG2000,
        uid.JPEG2000Lossless,
        uid.JPEGLSLossless,
        uid.JPEGLSNearLossless,
        uid.JPEGBaseline8Bit,
        uid.JPEGExtended12Bit,
        uid.JPEGLossless,
        uid.JPEGLosslessSV1,
    }
)
END_OF_IMAGE = b"\xff\xd9"

_JPEG_2000 = b"\xff\x4f\xff\x51"  # start of codestream, then its size
_JPEG = b"\xff\xd8"
_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"  # box before a JPEG 2000 codestream
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} | {0xF7}  # 0xF7 is that of JPEG-LS
_BOXES = 65536  # in which a JP2 file has its codestream


def starts_frame(fragment: bytes, syntax: uid.UID) -> bool:
    """Whether a fragment is the first of its frame; False where this cannot be told (RLE)."""
    return syntax in JPEG_FAMILY and fragment.startswith((_JPEG_2000, _JP2, _JPEG + b"\xff"))


def claimed_size(frame: bytes, syntax: uid.UID) -> tuple[int, int, int] | None:
    """(rows, columns, samples) by the codestream; None where it has no such header (RLE).

    Raises
    ------
    ValueError, struct.error
        If the codestream is none.
    """
    if syntax not in JPEG_FAMILY:
        return None
    # Only a JPEG 2000 file starts with boxes; in the data of others the same bytes mean nothing.
    boxed = not frame.startswith(_JPEG + b"\xff")
    start = frame.find(_JPEG_2000, 0, _BOXES) if boxed else -1
    if start >= 0:
        right, bottom, left, top = struct.unpack_from(">4L", frame, start + 8)
        (samples,) = struct.unpack_from(">H", frame, start + 40)
        return bottom - top, right - left, samples
    if frame[:2] != _JPEG:
        raise ValueError("no JPEG codestream")
    position = 2
    while position + 4 <= len(frame):
        marker, kind, length = struct.unpack_from(">BBH", frame, position)
        if marker != 0xFF:
            raise ValueError("a JPEG marker is missing")
        if kind == 0xFF:  # fill byte
            position += 1
        elif kind in _FRAME_HEADERS:
            rows, columns, samples = struct.unpack_from(">HHB", frame, position + 5)
            return rows, columns, samples
        else:
            position += 2 + length
    raise ValueError("a JPEG frame states no size")
