"""The text header of a MetaImage file: ``Key = value`` lines, ended by ElementDataFile.

By the format's public description (MetaIO of ITK). The header is read here and not by ITK because ITK follows any
path that ElementDataFile names and takes memory by the header's word.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octcube_core.errors import ExamReadError
from octcube_core.exam import Spacing

_MAX_HEADER = 64 * 1024
_MAX_FILES = 100_000
_TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_LONG": "i4",  # of 4 bytes in MetaIO, whatever the computer
    "MET_ULONG": "u4",
    "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


@dataclass(frozen=True)
class MetaImageHeader:
    """What a header states.

    Attributes
    ----------
    shape : tuple of int
        Sizes of the axes, the slowest first, which is the reverse of DimSize.
    spacing_mm : tuple of float or None
        Of the same axes; None where not stated.
    dtype : numpy.dtype
    compressed : bool
    skipped : int
        Bytes before the voxels in each data file; -1 if the voxels are its last bytes.
    files : tuple of Path
        Data files; empty if the voxels follow the header.
    end : int
        Length of the header in bytes.
    """

    shape: tuple[int, ...]
    spacing_mm: tuple[Spacing, ...]
    dtype: np.dtype[np.generic]
    compressed: bool
    skipped: int
    files: tuple[Path, ...]
    end: int


def read_header(path: Path) -> MetaImageHeader:
    """Read and check a header.

    Raises
    ------
    ExamReadError
        If it is no header, of a kind that is not supported, or names files outside its folder.
    """
    with path.open("rb") as file:
        text = file.read(_MAX_HEADER)
    entries, end, listed = _entries(path, text)
    axes = _integers(path, entries, "DimSize")
    if int(entries.get("NDims", len(axes))) != len(axes) or not 2 <= len(axes) <= 4:
        raise _wrong(path, "DimSize")
    if min(axes) < 1 or (len(axes) == 4 and axes[3] != 1):
        raise ExamReadError(
            f"{path.name} states the sizes {' x '.join(map(str, axes))}; export one volume of three axes."
        )
    axes = axes[:3]
    if entries.get("ElementNumberOfChannels", "1") != "1":
        raise ExamReadError(f"{path.name} holds voxels of several channels; export grey ones.")
    if _flag(entries, "BinaryData", True) is False:
        raise ExamReadError(f"{path.name} holds its voxels as text; export it in binary form.")
    kind = _TYPES.get(entries.get("ElementType", ""))
    if kind is None:
        raise _wrong(path, "ElementType")
    big = _flag(entries, "BinaryDataByteOrderMSB", False) or _flag(
        entries, "ElementByteOrderMSB", False
    )
    return MetaImageHeader(
        axes[::-1],
        _spacing(path, entries, len(axes))[::-1],
        np.dtype(kind).newbyteorder(">" if big else "<"),
        _flag(entries, "CompressedData", False),
        int(entries.get("HeaderSize", "0")),
        _files(path, entries["ElementDataFile"], listed, axes),
        end,
    )


def _entries(path: Path, text: bytes) -> tuple[dict[str, str], int, list[str]]:
    """Entries by key, length of the header, and the lines after it where it lists files."""
    entries: dict[str, str] = {}
    position = 0
    while (end := text.find(b"\n", position)) >= 0 or position < len(text):
        end = len(text) if end < 0 else end
        line = text[position:end].decode("latin-1").strip()
        position = end + 1
        key, separator, value = line.partition("=")
        if not separator:
            if line:
                break
            continue
        entries[key.strip()] = value.strip()
        if key.strip() == "ElementDataFile":
            rest = text[position:].decode("latin-1").split("\n")
            return entries, position, [name.strip() for name in rest if name.strip()]
    raise ExamReadError(
        f"{path.name} is no complete MetaImage header: it does not name its ElementDataFile; "
        "export or copy it again."
    )


def _wrong(path: Path, key: str) -> ExamReadError:
    return ExamReadError(
        f"{path.name} has a {key} that is wrong or not supported; export it again."
    )


def _integers(path: Path, entries: dict[str, str], key: str) -> tuple[int, ...]:
    try:
        return tuple(int(value) for value in entries.get(key, "").split())
    except ValueError:
        raise _wrong(path, key) from None


def _flag(entries: dict[str, str], key: str, default: bool) -> bool:
    value = entries.get(key)
    return default if value is None else value[:1].lower() in ("t", "1")


def _spacing(path: Path, entries: dict[str, str], axes: int) -> tuple[Spacing, ...]:
    stated = entries.get("ElementSpacing", entries.get("ElementSize"))
    if stated is None:
        return (None,) * axes
    try:
        values = [float(value) for value in stated.split()][:axes]
    except ValueError:
        raise _wrong(path, "ElementSpacing") from None
    if len(values) < axes:
        raise _wrong(path, "ElementSpacing")
    if not all(math.isfinite(value) and value > 0 for value in values):
        raise _wrong(path, "ElementSpacing")
    return tuple(values)


def _files(path: Path, stated: str, listed: list[str], axes: tuple[int, ...]) -> tuple[Path, ...]:
    if stated.upper() == "LOCAL":
        return ()
    first, *rest = stated.split() or [""]
    if first.upper() == "LIST":
        names = listed[: axes[-1] + 1]
        if rest and rest[0] != str(len(axes) - 1) and not rest[0].endswith("D"):
            raise _wrong(path, "ElementDataFile")
    elif re.search(r"%0?\d*d", first):
        names = _numbered(path, first, rest, axes[-1])
    else:
        names = [stated]
    return tuple(_beside(path, name) for name in names)


def _numbered(path: Path, pattern: str, limits: list[str], slices: int) -> list[str]:
    """Names by a pattern such as 'oct_%03d.raw', its first and last number, and the step."""
    try:
        first, last, step = (
            int(value) for value in (limits + ["1", str(slices), "1"][len(limits) :])[:3]
        )
    except ValueError:
        raise _wrong(path, "ElementDataFile") from None
    match = re.fullmatch(r"([^%]*)%(0?)(\d{0,2})d([^%]*)", pattern)
    if match is None or step < 1 or not 0 <= last - first < _MAX_FILES * step:
        raise _wrong(path, "ElementDataFile")
    before, zero, width, after = match.groups()
    numbers = range(first, last + 1, step)
    fill = "0" if zero else ""
    return [f"{before}{number:{fill}{width}d}{after}" for number in numbers]


def _beside(path: Path, name: str) -> Path:
    parts = Path(name.replace("\\", "/")).parts
    if not parts or Path(name).is_absolute() or ".." in parts or ":" in parts[0] or "\0" in name:
        raise ExamReadError(
            f"{path.name} names its voxels outside its folder; put both files into one folder and name the data file "
            "alone in ElementDataFile."
        )
    file = path.parent.joinpath(*parts)
    if not file.exists():
        raise ExamReadError(
            f"{path.name} needs the file {file.name} beside it, which is missing; copy both files."
        )
    if not file.is_file() or path.parent.resolve() not in file.resolve().parents:
        raise ExamReadError(f"{path.name} names {file.name}, which is no file of its folder.")
    return file
