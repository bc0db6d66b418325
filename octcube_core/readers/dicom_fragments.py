"""Compressed frames put together from the fragments of a DICOM file.

pydicom trusts the offset table, and one that lies gives other pixels without an error; hence this.
"""

from __future__ import annotations

import struct
from io import BytesIO
from typing import BinaryIO

import numpy as np

from octcube_core.errors import ExamReadError
from octcube_core.readers.dicom_codestream import starts_frame
from octcube_core.readers.dicom_elements import EXTENDED_OFFSETS, Value
from octcube_core.readers.dicom_file import DicomFile

_ITEM = b"\xfe\xff\x00\xe0"
_SEQUENCE_END = b"\xfe\xff\xdd\xe0"


def pixel_bytes(file: DicomFile) -> BinaryIO:
    """The file, or what it inflated to, opened where its pixel data start."""
    assert file.pixels is not None
    stream: BinaryIO = BytesIO(file.inflated) if file.inflated is not None else file.path.open("rb")
    stream.seek(file.pixels.start)
    return stream


def frames_of_fragments(file: DicomFile, frames: int) -> tuple[list[bytes], int]:
    """The compressed bytes of each frame, and how many there are.

    As many fragments as frames are a frame each, whatever an offset table says. Otherwise the table must name
    ``frames`` fragments in their order; without one, the codestreams' first bytes must tell where frames start.
    """
    table, fragments, offsets = _fragments(file)
    if len(fragments) == frames:
        return fragments, frames
    if frames == 1 and fragments:
        return [b"".join(fragments)], 1
    starts = _frame_starts(file, table)
    if not starts:
        starts = [
            offset
            for offset, fragment in zip(offsets, fragments, strict=True)
            if starts_frame(fragment, file.syntax)
        ]
    firsts = set(starts)
    chosen = [index for index, offset in enumerate(offsets) if offset in firsts]
    sound = len(chosen) == len(starts) and sorted(starts) == starts and chosen[:1] == [0]
    if not sound or len(chosen) != frames:
        return [], len(chosen) if sound else len(fragments)
    bounds = zip(chosen, [*chosen[1:], len(fragments)], strict=True)
    return [b"".join(fragments[first:last]) for first, last in bounds], frames


def _fragments(file: DicomFile) -> tuple[bytes, list[bytes], list[int]]:
    """Basic offset table, fragments, and how far each lies behind the first."""
    with pixel_bytes(file) as stream:
        data: bytes = stream.read()
    found: list[bytes] = []
    offsets: list[int] = []
    position = 0
    while position + 8 <= len(data) and data[position : position + 4] != _SEQUENCE_END:
        (length,) = struct.unpack_from("<L", data, position + 4)
        if data[position : position + 4] != _ITEM or position + 8 + length > len(data):
            raise ExamReadError(
                f"{file.path.name} is truncated or damaged: a compressed frame is incomplete; export or copy it again."
            )
        found.append(data[position + 8 : position + 8 + length])
        offsets.append(position)
        position += 8 + length
    if not found:
        raise ExamReadError(
            f"{file.path.name} is truncated: it holds no frames; export or copy it again."
        )
    first = offsets[1] if len(offsets) > 1 else 0
    return found[0], found[1:], [offset - first for offset in offsets[1:]]


def _frame_starts(file: DicomFile, table: bytes) -> list[int]:
    extended = file.rest.get(EXTENDED_OFFSETS)
    if not table and isinstance(extended, Value):
        return [int(offset) for offset in np.frombuffer(extended.data, "<u8")]
    return [int(offset) for offset in np.frombuffer(table, "<u4")]
