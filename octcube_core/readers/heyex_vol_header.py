"""Layout of Heidelberg's .vol export: a header, the fundus image, and B-scans each with a header of its own.

The fields are those of Heidelberg's 'Special Function: Exporting Raw Data', as the public readers of octSegmentation,
HeyexImport and eyepy have them; they are the same in the versions HSF-OCT-100 to 103.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from octcube_core.errors import ExamReadError
from octcube_core.exam import Laterality, Patient, ScanPattern
from octcube_core.readers.heyex_locations import SCAN_PATTERNS

FILE_HEADER = np.dtype(
    [
        ("version", "S12"),
        ("width", "<u4"),
        ("bscans", "<u4"),
        ("depth", "<u4"),
        ("lateral_mm", "<f8"),
        ("between_mm", "<f8"),
        ("axial_mm", "<f8"),
        ("fundus_columns", "<u4"),
        ("fundus_rows", "<u4"),
        ("fundus_column_mm", "<f8"),
        ("fundus_row_mm", "<f8"),
        ("field_degrees", "<u4"),
        ("focus", "<f8"),
        ("eye", "S4"),
        ("exam_time", "<u8"),  # 100 ns since 1601
        ("pattern", "<i4"),
        ("bscan_header_bytes", "<u4"),
        ("scan_id", "S16"),
        ("reference_id", "S16"),
        ("database_id", "<u4"),
        ("patient_id", "S24"),
        ("birth_date", "<f8"),  # days since 30 December 1899
        ("visit", "<u4"),
        ("visit_id", "S24"),
        ("visit_date", "<f8"),
        ("grid_type", "<u4"),
        ("grid_offset", "<u4"),
        ("grid_type_2", "<u4"),
        ("grid_offset_2", "<u4"),
        ("progression_id", "S34"),
        ("spare", "V1790"),
    ]
)
BSCAN_HEADER = np.dtype(
    [
        ("version", "S12"),
        ("header_bytes", "<u4"),
        ("start_x_mm", "<f8"),
        ("start_y_mm", "<f8"),
        ("end_x_mm", "<f8"),
        ("end_y_mm", "<f8"),
        ("layers", "<u4"),
        ("layers_offset", "<u4"),
        ("quality", "<f4"),
        ("shift", "<u4"),
        ("alignment", "<f4", 6),
        ("spare", "V168"),
    ]
)
_MAGIC = (b"HSF-", b"ep-v")  # Heidelberg's, and that of eyepy, which writes such files too
_SAMPLE_BYTES = 4
_SMALLEST_PART = 64


@dataclass(frozen=True)
class VolLayout:
    """Header of a .vol file and where its parts lie.

    Attributes
    ----------
    header : record of `FILE_HEADER`
    bscan_headers : array of `BSCAN_HEADER`, shape (bscans,)
    first_bscan, stride, bscan_header_bytes : int
        In bytes: the first B-scan's place, from one B-scan to the next, and from its start to its samples.
    """

    header: Any
    bscan_headers: np.ndarray[Any, Any]
    first_bscan: int
    stride: int
    bscan_header_bytes: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of (B-scans, depth samples, A-scans)."""
        header = self.header
        return int(header["bscans"]), int(header["depth"]), int(header["width"])

    @property
    def fundus_shape(self) -> tuple[int, int]:
        """Number of (rows, columns)."""
        return int(self.header["fundus_rows"]), int(self.header["fundus_columns"])

    @property
    def laterality(self) -> Laterality | None:
        """Eye as stored."""
        eye = bytes(self.header["eye"]).strip(b" \0").upper()
        return "OD" if eye == b"OD" else "OS" if eye == b"OS" else None

    @property
    def pattern(self) -> ScanPattern | None:
        """Scan pattern as stored; None for 'unknown' (0) and numbers that are not published."""
        return SCAN_PATTERNS.get(int(self.header["pattern"]))

    @property
    def patient(self) -> Patient:
        """Who and when."""
        header = self.header
        identity = bytes(header["patient_id"]).split(b"\0")[0].decode("latin-1").strip()
        seconds = float(header["exam_time"]) * 1e-7
        return Patient(
            id=identity or None,
            birth_date=_date(datetime(1899, 12, 30), float(header["birth_date"]) * 86400),
            exam_date=_date(datetime(1601, 1, 1), seconds),
        )


def _date(epoch: datetime, seconds: float) -> str | None:
    if not (np.isfinite(seconds) and 0 < seconds < 1e11):
        return None
    try:
        return (epoch + timedelta(seconds=seconds)).date().isoformat()
    except OverflowError:
        return None


def read_layout(path: Path, file: FileIO) -> VolLayout:
    """Parse and check the headers of a .vol file, which must hold exactly the B-scans that it states.

    Raises
    ------
    ExamReadError
        If it is truncated or its header contradicts what follows.
    """
    size = os.fstat(file.fileno()).st_size
    if size < FILE_HEADER.itemsize:
        raise _truncated(path)
    header = np.frombuffer(file.read(FILE_HEADER.itemsize), FILE_HEADER)[0]
    bscans, depth, width = int(header["bscans"]), int(header["depth"]), int(header["width"])
    if 0 in (bscans, depth, width):
        raise ExamReadError(f"{path.name} states a volume without voxels; export it again.")
    samples = depth * width * _SAMPLE_BYTES
    first = FILE_HEADER.itemsize + int(header["fundus_rows"]) * int(header["fundus_columns"])
    if first + bscans * (samples + BSCAN_HEADER.itemsize) > size:
        raise _truncated(path)
    leading = _bscan_header(file, first)
    if not bytes(leading["version"]).startswith(_MAGIC):
        raise _damaged(path)
    # eyepy writes a fixed size into the file's header and the true one before each B-scan.
    for header_bytes in dict.fromkeys(
        (int(leading["header_bytes"]), int(header["bscan_header_bytes"]))
    ):
        stride = header_bytes + samples
        end = first + bscans * stride
        if header_bytes < BSCAN_HEADER.itemsize or end > size:
            continue
        headers = _bscan_headers(file, first, stride, bscans, bytes(leading["version"]))
        if headers is not None and _nothing_follows(file, end, size, header):
            return VolLayout(header, headers, first, stride, header_bytes)
    if first + bscans * (int(leading["header_bytes"]) + samples) > size:
        raise _truncated(path)
    raise _damaged(path)


def _bscan_header(file: FileIO, offset: int) -> Any:
    file.seek(offset)
    return np.frombuffer(file.read(BSCAN_HEADER.itemsize), BSCAN_HEADER)[0]


def _bscan_headers(
    file: FileIO, first: int, stride: int, bscans: int, version: bytes
) -> np.ndarray[Any, Any] | None:
    """All headers, or None as soon as one is not where it should be."""
    found = []
    for index in range(bscans):
        header = _bscan_header(file, first + index * stride)
        if bytes(header["version"]) != version:
            return None
        found.append(header)
    return np.array(found, BSCAN_HEADER)


def _nothing_follows(file: FileIO, end: int, size: int, header: Any) -> bool:
    """Whether only a thickness grid follows the last B-scan, if anything: no B-scan that was not counted."""
    if end == size:
        return True
    file.seek(end)
    if file.read(4).startswith(_MAGIC):
        return False
    if int(header["grid_type"]) > 0:
        return True
    # What else may follow is not published, but a few bytes are no part: they shifted the samples before.
    return int(header["bscans"]) > 1 and size - end >= _SMALLEST_PART


def _truncated(path: Path) -> ExamReadError:
    return ExamReadError(
        f"{path.name} is truncated: it is shorter than its header states; export or copy it again."
    )


def _damaged(path: Path) -> ExamReadError:
    return ExamReadError(
        f"{path.name} is damaged: its header contradicts the B-scans that follow; export or copy it again."
    )
