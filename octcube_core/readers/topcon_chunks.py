"""The named parts ("chunks") of a Topcon .fda or .fds file.

Little endian: "FOCT", "FDA" or "FDS", two uint32 of version; then for each chunk the length of its name (1 byte), its
name, its size (uint32) and its bytes; a length of 0 ends the file. Topcon publishes no description. The fields below
are those on which the documentation of uocte, OCT-Converter, RETIMAT and private_eye agree and that the real files at
hand bear out; what they call unknown is skipped here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from construct import Bytes, Float64l, Int8ul, Int16ul, Int32ul, Padding, Struct
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError

_SIGNATURE_BYTES = 15
_MAX_CHUNKS = 4096  # real files hold about 30

SCAN_JPEG = Struct(
    "mode" / Int8ul,
    Padding(8),
    "width" / Int32ul,
    "height" / Int32ul,
    "frames" / Int32ul,
    Padding(4),
)
SCAN_RAW_03 = Struct(
    "mode" / Int8ul,
    "width" / Int32ul,
    "height" / Int32ul,
    "bits" / Int32ul,
    "frames" / Int32ul,
    "format" / Int8ul,
    "size" / Int32ul,
)
SCAN_RAW_02 = Struct(
    "mode" / Int8ul,
    "width" / Int32ul,
    "height" / Int32ul,
    "bits" / Int32ul,
    "frames" / Int32ul,
    Padding(8),
    "format" / Int8ul,
    "size" / Int32ul,
)
PICTURE = Struct(  # each frame follows with its size
    "width" / Int32ul,
    "height" / Int32ul,
    "bits" / Int32ul,
    "frames" / Int32ul,
    "format" / Int8ul,
)
PARAM_SCAN_04 = Struct(
    Padding(3),
    "fixation" / Int8ul,
    Padding(8),
    "x_mm" / Float64l,
    "y_mm" / Float64l,
    "z_um" / Float64l,
)
PARAM_SCAN_02 = Struct(Padding(21), "x_mm" / Float64l, "y_mm" / Float64l, "z_um" / Float64l)
DATE = Struct("year" / Int16ul, "month" / Int16ul, "day" / Int16ul)
CAPTURE_02 = Struct("eye" / Int8ul, Padding(105), "date" / DATE)
CAPTURE_01 = Struct("eye" / Int8ul, "date" / DATE)
PATIENT_02 = Struct(
    "id" / Bytes(32), "first" / Bytes(32), "last" / Bytes(32), Padding(9), "birth" / DATE
)
HARDWARE = Struct("model" / Bytes(16))
BOX = Struct("left" / Int32ul, "top" / Int32ul, "right" / Int32ul, "bottom" / Int32ul)
REGISTRATION = Struct(Padding(9), "fundus" / BOX, Padding(32), "infrared" / BOX)
REGISTRATION_SCAN_02 = Struct("fundus" / BOX, "infrared" / BOX)


@dataclass(frozen=True)
class Chunks:
    """Where each chunk of a file lies.

    Attributes
    ----------
    path : Path
    data : array of uint8
        The whole file, memory-mapped.
    places : dict of name -> (offset, size)
        The first chunk of each name.
    """

    path: Path
    data: NDArray[np.uint8]
    places: dict[str, tuple[int, int]]

    def payload(self, name: str) -> NDArray[np.uint8] | None:
        """Bytes of a chunk, still in the file, or None if it has none of that name."""
        if name not in self.places:
            return None
        offset, size = self.places[name]
        return self.data[offset : offset + size]

    def fields(self, name: str, layout: Struct) -> Any:
        """Parse the start of a chunk, or None if the file has none of that name."""
        payload = self.payload(name)
        if payload is None:
            return None
        size = layout.sizeof()
        if payload.size < size:
            raise self.damaged(f"its part {name} is too short")
        return layout.parse(payload[:size].tobytes())

    def damaged(self, what: str) -> ExamReadError:
        """The error for a file that contradicts itself."""
        return ExamReadError(f"{self.path.name} is damaged: {what}; copy or export it again.")


def find_chunks(path: Path) -> Chunks:
    """List the chunks of a file without reading them.

    Raises
    ------
    ExamReadError
        If a chunk runs past the end of the file, or the file does not end as it should.
    """
    if path.stat().st_size <= _SIGNATURE_BYTES:
        raise ExamReadError(
            f"{path.name} is truncated: it ends before its first part; copy or export it again."
        )
    data: NDArray[np.uint8] = np.memmap(path, np.uint8, "r")
    chunks = Chunks(path, data, {})
    if data[:7].tobytes() not in (b"FOCTFDA", b"FOCTFDS"):
        raise ExamReadError(f"{path.name} is no Topcon .fda or .fds file; it starts differently.")
    position = _SIGNATURE_BYTES
    for _ in range(_MAX_CHUNKS):
        if position >= data.size:
            raise ExamReadError(
                f"{path.name} is truncated: the mark at its end is missing; copy or export it again."
            )
        length = int(data[position])
        if length == 0:
            return chunks
        start = position + 1 + length + 4
        label = data[position + 1 : start].tobytes()
        name = label[:length]
        size = int.from_bytes(label[length:], "little")
        if len(label) < length + 4 or start + size > data.size:
            raise ExamReadError(
                f"{path.name} is truncated or damaged: a part of it runs past its end; copy or export it again."
            )
        if not (name.startswith(b"@") and name.isascii()):
            raise chunks.damaged("a part of it has no name")
        chunks.places.setdefault(name.decode("ascii"), (start, size))
        position = start + size
    raise chunks.damaged("it has more parts than any such file")
