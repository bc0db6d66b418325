"""Compressed bytes -> an array of a known size, and never more memory than that."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_PIECE = 1024**2
ZLIB, GZIP = zlib.MAX_WBITS, zlib.MAX_WBITS | 16


class Inflater:
    """Reads a zlib or gzip stream piece by piece.

    Parameters
    ----------
    source : callable
        Returns up to that many compressed bytes, and none at the end; such as ``file.read``.
    form : int
        `ZLIB` or `GZIP`.
    """

    def __init__(self, source: Callable[[int], bytes], form: int = ZLIB) -> None:
        self._source, self._form = source, form
        self._stream = zlib.decompressobj(form)
        self._waiting = b""

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end of the stream.

        Raises
        ------
        zlib.error, EOFError
            If the stream is damaged or cut short.
        """
        return b"".join(self._pieces(size))

    def into(self, size: int) -> NDArray[Any]:
        """Return exactly `size` bytes as an array of uint8.

        Raises
        ------
        zlib.error, EOFError
            Also if the stream ends before.
        """
        values = np.empty(size, np.uint8)
        filled = 0
        for piece in self._pieces(size):
            values[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
            filled += len(piece)
        if filled < size:
            raise EOFError
        return values

    def finish(self, beyond: int = _PIECE) -> None:
        """Read up to the checksum at the end.

        Raises
        ------
        zlib.error, EOFError, ValueError
            If it is wrong or missing, or more than `beyond` bytes come before.
        """
        for piece in self._pieces(beyond + 1):
            beyond -= len(piece)
            if beyond < 0:
                raise ValueError("more bytes than stated")

    def _pieces(self, size: int) -> Iterator[bytes]:
        while size > 0:
            if self._stream.eof:
                follows = self._stream.unused_data or self._source(_PIECE)
                if self._form != GZIP or not follows.strip(b"\0"):
                    return  # gzip alone may hold several streams, one after another
                self._stream, self._waiting = zlib.decompressobj(self._form), follows
            waiting = self._waiting or self._source(_PIECE)
            piece = self._stream.decompress(waiting, min(size, _PIECE))
            self._waiting = self._stream.unconsumed_tail
            if not (piece or waiting or self._stream.eof):
                raise EOFError
            size -= len(piece)
            if piece:
                yield piece


def reader_of(file: BinaryIO, size: int) -> Callable[[int], bytes]:
    """Source of the next `size` bytes of a file."""
    left = size

    def read(count: int) -> bytes:
        nonlocal left
        piece = file.read(min(count, left))
        left -= len(piece)
        return piece

    return read
