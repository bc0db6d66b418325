"""MATLAB 7.3 files, which are HDF5; read with h5py.

HDF5 lists the axes of a MATLAB array in reverse. The HDF5 library follows external files and inflates without bound, so
that it is asked for the places of the values only; they are inflated here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.readers import mapped
from octcube_core.readers.failures import check_volume_bytes
from octcube_core.readers.inflate import Inflater
from octcube_core.readers.optional import optional_library

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_MAX_VARIABLES = 10_000
_MAX_FACT = 8192
_MAX_CHUNKS = 1_000_000
_GZIP, _SHUFFLE = 1, 2


class MatlabV73:
    """Variables of a file by name.

    Raises
    ------
    ExamReadError
        If h5py is not installed.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._h5py = optional_library("h5py", path)
        self._file = self._h5py.File(path, "r")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the numeric variables, in MATLAB's order of the axes."""
        return {
            name: tuple(int(size) for size in found.shape[::-1])
            for name, found in self._members(self._file).items()
            if isinstance(found, self._h5py.Dataset)
            and found.shape is not None
            and found.dtype.kind in "uif"
            and found.attrs.get("MATLAB_class", b"") not in (b"char", b"cell")
            and not found.attrs.get("MATLAB_empty", 0)
        }

    def read(self, name: str) -> NDArray[Any]:
        """Values of a variable, in MATLAB's order of the axes."""
        return self._values(self._file[name]).T

    def facts(self, names: Iterable[str]) -> dict[str, Any]:
        """Numbers, lists of numbers and texts among the variables and the fields of their structs."""
        top = self._members(self._file)
        structs = [found for found in top.values() if isinstance(found, self._h5py.Group)]
        facts: dict[str, Any] = {}
        for members in (top, *map(self._members, structs)):
            for name in names:
                found = members.get(name)
                if not isinstance(found, self._h5py.Dataset) or name in facts:
                    continue
                if found.dtype.kind in "uif" and found.shape and found.size <= _MAX_FACT:
                    values = self._values(found).ravel().tolist()
                    text = found.attrs.get("MATLAB_class") == b"char"
                    facts[name] = "".join(map(chr, values)) if text else values
        return facts

    def _members(self, group: Any) -> dict[str, Any]:
        """What lies in the file itself: links to other files are never followed."""
        if len(group) > _MAX_VARIABLES:
            raise ExamReadError(f"{self._path.name} holds too many variables; save one volume.")
        return {
            name: group[name]
            for name in group
            if not name.startswith("#")
            and isinstance(group.get(name, getlink=True), self._h5py.HardLink)
        }

    def _values(self, found: Any) -> NDArray[Any]:
        layout = found.id.get_create_plist()
        if found.is_virtual or layout.get_external_count():
            raise ExamReadError(f"{self._path.name} keeps its voxels in other files; save it anew.")
        size = self._path.stat().st_size
        if found.chunks is None:
            offset = found.id.get_offset()
            if layout.get_layout() == self._h5py.h5d.COMPACT:
                return np.asarray(found[()])
            stated = math.prod(found.shape) * found.dtype.itemsize
            if offset is None or found.id.get_storage_size() != stated:
                raise EOFError  # no place was ever taken: HDF5 would show zeros
            return mapped.stored_array(self._path, found.dtype, found.shape, offset)
        check_volume_bytes(self._path, found.shape, found.dtype.itemsize, stored=size)
        check_volume_bytes(self._path, found.chunks, found.dtype.itemsize, stored=size)
        return self._from_chunks(found, _filters(layout))

    def _from_chunks(self, found: Any, filters: list[int]) -> NDArray[Any]:
        counts = [
            math.ceil(all_ / one) for all_, one in zip(found.shape, found.chunks, strict=True)
        ]
        if math.prod(counts) > _MAX_CHUNKS:
            raise ValueError("chunks")
        if found.id.get_num_chunks() != math.prod(counts):
            raise EOFError  # HDF5 would show zeros for those that are missing
        values = np.empty(found.shape, found.dtype)
        for index in product(*map(range, counts)):
            start = tuple(i * one for i, one in zip(index, found.chunks, strict=True))
            mask, content = found.id.read_direct_chunk(start)
            applied = [kind for bit, kind in enumerate(filters) if not mask >> bit & 1]
            chunk = _unfiltered(content, applied, found.dtype, found.chunks)
            room = tuple(slice(at, at + one) for at, one in zip(start, found.chunks, strict=True))
            target = values[room]
            target[...] = chunk[tuple(map(slice, target.shape))]
        return values


def _filters(layout: Any) -> list[int]:
    kinds = [layout.get_filter(index)[0] for index in range(layout.get_nfilters())]
    if not set(kinds) <= {_GZIP, _SHUFFLE}:
        raise ExamReadError("Its compression is none that MATLAB uses; save it from MATLAB again.")
    return kinds


def _unfiltered(
    content: bytes, filters: list[int], dtype: np.dtype[Any], chunk: tuple[int, ...]
) -> NDArray[Any]:
    size = math.prod(chunk) * dtype.itemsize
    values = np.frombuffer(content, np.uint8)
    for kind in reversed(filters):
        if kind == _GZIP:
            inflater = Inflater(BytesIO(values.tobytes()).read)
            values = inflater.into(size)
            inflater.finish(0)
        else:
            values = values.reshape(dtype.itemsize, -1).T.reshape(-1)
    if values.size != size:
        raise EOFError
    return np.ascontiguousarray(values).view(dtype).reshape(chunk)
