"""MATLAB 4 files: matrices only, so that a volume is one B-scan. By "MAT-File Format" of The MathWorks."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.readers import mapped

_DTYPES = ("f8", "f4", "i4", "i2", "u2", "u1")
_TEXT = 1
_MAX_NAME = 1024
_MAX_FACT = 8192


@dataclass(frozen=True)
class _Matrix:
    dtype: np.dtype[Any]
    kind: int
    shape: tuple[int, int]
    offset: int


class MatlabV4:
    """Variables of a file by name."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._matrices: dict[str, _Matrix] = {}
        position, end = 0, path.stat().st_size
        with path.open("rb") as file:
            while position < end:
                file.seek(position)
                name, matrix, imaginary = _matrix(file.read(20 + _MAX_NAME), position)
                rows, columns = matrix.shape
                size = rows * columns * matrix.dtype.itemsize * (2 if imaginary else 1)
                position = matrix.offset + size
                if position > end:
                    raise ExamReadError(
                        f"{path.name} is truncated: it ends within a variable; copy it again."
                    )
                if not imaginary:
                    self._matrices[name] = matrix

    @staticmethod
    def starts(head: bytes) -> bool:
        """Whether these are the first bytes of such a file."""
        try:
            _matrix(head, 0)
        except (ValueError, struct.error):
            return False
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def arrays(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the numeric variables."""
        return {name: found.shape for name, found in self._matrices.items() if not found.kind}

    def read(self, name: str) -> NDArray[Any]:
        """Values of a variable, in MATLAB's order of the axes."""
        found = self._matrices[name]
        return mapped.stored_array(self._path, found.dtype, found.shape, found.offset, order="F")

    def facts(self, names: Iterable[str]) -> dict[str, Any]:
        """Numbers, lists of numbers and texts among the variables."""
        facts: dict[str, Any] = {}
        for name in names:
            found = self._matrices.get(name)
            if found is not None and found.shape[0] * found.shape[1] <= _MAX_FACT:
                values = self.read(name).ravel(order="F").tolist()
                text = found.kind == _TEXT
                facts[name] = "".join(chr(int(code)) for code in values) if text else values
        return facts


def _matrix(head: bytes, position: int) -> tuple[str, _Matrix, bool]:
    """Name, place and whether it has an imaginary part, from the header of a variable."""
    for order in "<>":
        code, rows, columns, imaginary, length = struct.unpack_from(order + "5i", head)
        machine, rest = divmod(code, 1000)
        reserved, rest = divmod(rest, 100)
        kind_of_number, kind = divmod(rest, 10)
        plausible = (
            machine == (order == ">")
            and not reserved
            and 0 <= kind_of_number < len(_DTYPES)
            and kind in (0, 1)
            and imaginary in (0, 1)
            and rows >= 0
            and columns >= 0
            and 1 < length <= _MAX_NAME
        )
        if plausible:
            dtype = np.dtype(_DTYPES[kind_of_number]).newbyteorder("<" if order == "<" else ">")
            name = head[20 : 20 + length].rstrip(b"\0").decode("latin-1")
            if not name.isidentifier():
                break
            return (
                name,
                _Matrix(dtype, kind, (rows, columns), position + 20 + length),
                bool(imaginary),
            )
    raise ValueError("no matrix")
