"""MATLAB 5 to 7.2 files: a list of elements, each alone or compressed.

By "MAT-File Format" of The MathWorks. Read here and not by scipy, because scipy takes memory for as many bytes as an
element claims, and for as many cells and structs. Here numeric variables are inflated straight into an array whose size
was compared with the bytes that hold it, and nothing else but texts and plain structs is looked into.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.readers import mapped
from octcube_core.readers.failures import check_volume_bytes
from octcube_core.readers.inflate import Inflater, reader_of

_HEADER = 128
_MAX_VARIABLES = 10_000
_MAX_SMALL = 64 * 1024  # bytes of a name, a list of sizes or a fact
_MAX_FIELDS = 512

_MATRIX, _COMPRESSED = 14, 15
_STRUCT, _TEXT, _NUMERIC = 2, 4, range(6, 16)
_COMPLEX, _LOGICAL = 0x08, 0x02
_DTYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}
_ENCODINGS = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16", 18: "utf-32"}

_Read = Callable[[int], bytes]


@dataclass(frozen=True)
class _Variable:
    """Where a variable lies: after its tag, of `size` bytes in the file."""

    kind: int
    shape: tuple[int, ...]
    logical: bool
    offset: int
    size: int
    compressed: bool


class MatlabV5:
    """Variables of a file by name.

    Raises
    ------
    ExamReadError
        If the file ends within a variable.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("rb")
        try:
            self._order = "<" if self._file.read(_HEADER)[126:128] == b"IM" else ">"
            self._variables = self._find()
        except BaseException:
            self._file.close()
            raise

    @staticmethod
    def starts(head: bytes) -> bool:
        """Whether these are the first bytes of such a file."""
        return head[126:128] in (b"IM", b"MI") and head[124:128] in (
            b"\x00\x01IM",
            b"\x01\x00MI",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the numeric variables."""
        return {
            name: variable.shape
            for name, variable in self._variables.items()
            if variable.kind in _NUMERIC
        }

    def read(self, name: str) -> NDArray[Any]:
        """Values of a numeric variable, in MATLAB's order of the axes and the type they are stored in."""
        variable = self._variables[name]
        read, inflater = self._reader(variable)
        self._matrix_head(read)
        kind, size, small = self._tag(read)
        dtype = np.dtype(_DTYPES[kind]).newbyteorder(self._order)  # type: ignore[arg-type]
        if size != math.prod(variable.shape) * dtype.itemsize:
            raise ValueError("size of the values")
        if small:
            flat = np.frombuffer(small[:size], dtype)
        elif inflater is not None:
            check_volume_bytes(self._path, variable.shape, dtype.itemsize, stored=variable.size)
            flat = inflater.into(size).view(dtype)
            inflater.finish()
        else:
            offset = self._file.tell()
            if offset + size > variable.offset + variable.size:
                raise ValueError("size of the values")
            flat = mapped.stored_array(self._path, dtype, (size // dtype.itemsize,), offset)
        values = flat.reshape(variable.shape, order="F")
        return values.astype(bool) if variable.logical else values

    def facts(self, names: Iterable[str]) -> dict[str, Any]:
        """Numbers, lists of numbers and texts among the variables and the fields of their structs."""
        wanted, found = set(names), dict[str, Any]()
        for name, variable in self._variables.items():
            read, _ = self._reader(variable)
            if name in wanted or variable.kind == _STRUCT:
                self._fact(read, name, wanted, found)
        return found

    def _find(self) -> dict[str, _Variable]:
        end = self._path.stat().st_size
        variables: dict[str, _Variable] = {}
        position = _HEADER
        while position < end:
            self._file.seek(position)
            tag = self._file.read(8)
            if len(tag) < 8:
                raise _truncated(self._path)
            kind, size = struct.unpack(self._order + "II", tag)
            if kind not in (_MATRIX, _COMPRESSED) or len(variables) > _MAX_VARIABLES:
                raise ValueError("no variable")
            if position + 8 + size > end:
                raise _truncated(self._path)
            found = _Variable(0, (), False, position + 8, size, kind == _COMPRESSED)
            read, _ = self._reader(found)
            kind, shape, logical, name = self._matrix_head(read)
            variables[name or f" {position}"] = _Variable(
                kind, shape, logical, position + 8, size, found.compressed
            )
            position += 8 + size
        return variables

    def _reader(self, variable: _Variable) -> tuple[_Read, Inflater | None]:
        """Source of the bytes of a variable after its matrix tag."""
        self._file.seek(variable.offset)
        source = reader_of(self._file, variable.size)
        if not variable.compressed:
            return source, None
        inflater = Inflater(source)
        kind, _size = struct.unpack(self._order + "II", _exactly(inflater.read, 8))
        if kind != _MATRIX:
            raise ValueError("no matrix")
        return inflater.read, inflater

    def _matrix_head(self, read: _Read) -> tuple[int, tuple[int, ...], bool, str]:
        """Class, shape, whether logical, and name; the class is 0 where there is nothing to read."""
        flags = self._small(read)[1]
        kind, bits = struct.unpack(self._order + "I", flags[:4])[0] & 0xFF, 0
        bits = struct.unpack(self._order + "I", flags[:4])[0] >> 8 & 0xFF
        if kind not in (_STRUCT, _TEXT, *_NUMERIC):
            return 0, (), False, ""
        sizes = np.frombuffer(self._small(read)[1], self._order + "i4")
        name = self._small(read)[1].decode("latin-1")
        if len(sizes) < 2 or sizes.min() < 0:
            raise ValueError("sizes")
        shape = tuple(int(size) for size in sizes)
        while len(shape) > 2 and shape[-1] == 1:
            shape = shape[:-1]
        if kind in _NUMERIC and bits & _COMPLEX:
            kind = 0
        return kind, shape, bool(bits & _LOGICAL), name

    def _tag(self, read: _Read) -> tuple[int, int, bytes]:
        """Type and size of an element, and its bytes if they are packed into the tag."""
        tag = _exactly(read, 8)
        kind, size = struct.unpack(self._order + "II", tag)
        if kind >> 16:
            return kind & 0xFFFF, min(kind >> 16, 4), tag[4:]
        return kind, size, b""

    def _small(self, read: _Read) -> tuple[int, bytes]:
        """Type and bytes of a short element."""
        kind, size, packed = self._tag(read)
        if packed:
            return kind, packed[:size]
        if size > _MAX_SMALL:
            raise ValueError("too long")
        return kind, _exactly(read, size + -size % 8)[:size]

    def _fact(self, read: _Read, name: str, wanted: set[str], found: dict[str, Any]) -> None:
        kind, shape, _, _ = self._matrix_head(read)
        if kind == _STRUCT and math.prod(shape) == 1:
            length = int.from_bytes(self._small(read)[1], "little" if self._order == "<" else "big")
            text = self._small(read)[1]
            if not 0 < length <= _MAX_SMALL or len(text) > length * _MAX_FIELDS:
                raise ValueError("fields")
            for start in range(0, len(text), length):
                field = text[start : start + length].split(b"\0")[0].decode("latin-1")
                tag, size, _ = self._tag(read)
                if tag != _MATRIX or size > _MAX_SMALL:
                    return  # the fields behind a large one are no facts
                inside = _exactly(read, size)
                if field in wanted and size:
                    self._fact(_source(inside), field, wanted - found.keys(), found)
        elif name in wanted and name not in found and math.prod(shape) <= _MAX_SMALL // 8:
            if kind == _TEXT:
                found[name] = self._text(read)
            elif kind in _NUMERIC:
                tag, values = self._small(read)
                dtype = np.dtype(_DTYPES[tag]).newbyteorder(self._order)  # type: ignore[arg-type]
                found[name] = np.frombuffer(values, dtype).tolist()

    def _text(self, read: _Read) -> str:
        kind, content = self._small(read)
        code = _ENCODINGS[kind]
        code += {"<": "-le", ">": "-be"}[self._order] if code in ("utf-16", "utf-32") else ""
        return content.decode(code, "replace")


def _source(content: bytes) -> _Read:
    rest = memoryview(content)

    def read(size: int) -> bytes:
        nonlocal rest
        piece, rest = rest[:size], rest[size:]
        return bytes(piece)

    return read


def _exactly(read: _Read, size: int) -> bytes:
    content = read(size)
    if len(content) < size:
        raise EOFError
    return content


def _truncated(path: Path) -> ExamReadError:
    return ExamReadError(f"{path.name} is truncated: it ends within a variable; copy it again.")
