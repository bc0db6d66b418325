"""Rows of a sharded zarr v3 array, copied straight into the memory that needs them.

zarr decodes a chunk through an event loop and several copies, which cost many times what the copying does. Where a
chunk is one row, uncompressed or compressed by Zstandard alone, this maps a shard into memory, reads its index once,
and then copies or decompresses each row into its place in a batch. Any other array is read by zarr.
"""

from __future__ import annotations

import mmap
from collections import OrderedDict
from pathlib import Path

import google_crc32c
import numpy as np
import zarr
from numcodecs import zstd
from numpy.typing import NDArray
from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec, ZstdCodec

from octcube_core.errors import InputError

NO_CHUNK = 2**64 - 1  # offset of a chunk that holds nothing but the fill value
MAPPED_SHARDS = 64  # at once and array: each holds a file open, and a process may have few


class ShardedRows:
    """Rows of a local uint8 array whose first axis counts them.

    Parameters
    ----------
    path : folder of the zarr array

    Raises
    ------
    InputError
        There is no such array, or it is no uint8.
    """

    def __init__(self, path: Path) -> None:
        try:
            array = zarr.open_array(path, mode="r")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{path} is no readable zarr array; restore it from a copy, or make the store again."
            ) from error
        if array.dtype != np.uint8:
            raise InputError(f"{path} holds {array.dtype}, but a store's arrays are uint8.")
        self.path = path
        self.shape = array.shape
        self._array = array
        self._per_shard, self._compressed = _direct_layout(array)
        self._mapped: OrderedDict[int, _Shard] = OrderedDict()

    def read_into(self, row: int, out: NDArray[np.uint8], *, must_exist: bool) -> None:
        """Read one row into ``out``, a C-contiguous array of the row's shape.

        Raises
        ------
        InputError
            The row's shard is damaged, or missing although it ``must_exist``; where it need not, zeros are read.
        """
        if self._per_shard is None:
            out[...] = self._array[row]
            return
        number, slot = divmod(row, self._per_shard)
        shard = self._mapped.get(number)
        if shard is None:
            file = self.path.joinpath("c", str(number), *["0"] * (len(self.shape) - 1))
            if not file.is_file():
                if must_exist:
                    raise _damaged(file, "is missing")
                out[...] = 0
                return
            shard = self._mapped[number] = _Shard(file, self._per_shard)
            if len(self._mapped) > MAPPED_SHARDS:
                self._mapped.popitem(last=False)
        shard.read_into(slot, out, self._compressed)


class _Shard:
    """A mapped file of chunks, which ends in their index: offset and size of each, then a CRC-32C."""

    def __init__(self, file: Path, count: int) -> None:
        self.file = file
        with file.open("rb") as opened:
            if file.stat().st_size < 16 * count + 4:
                raise _damaged(file, "is cut short")
            self._memory = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
        index = self._memory[-16 * count - 4 : -4]
        if google_crc32c.value(index) != int.from_bytes(self._memory[-4:], "little"):
            raise _damaged(file, "is cut short or damaged, as its index fails the checksum")
        self._index = np.frombuffer(index, "<u8").reshape(count, 2).tolist()
        self._bytes = np.frombuffer(self._memory, np.uint8)
        self._announced = [False] * count

    def read_into(self, slot: int, out: NDArray[np.uint8], compressed: bool) -> None:
        offset, size = self._index[slot]
        if offset == NO_CHUNK:
            out[...] = 0
            return
        if offset + size > len(self._bytes):
            raise _damaged(self.file, "is cut short")
        if not self._announced[slot]:
            self._announce(offset, size)
            self._announced[slot] = True
        stored = self._bytes[offset : offset + size]
        if not compressed:
            if size != out.nbytes:
                raise _damaged(self.file, "holds rows of another size")
            out.reshape(-1)[...] = stored
            return
        try:
            zstd.decompress(stored, out)
        except (RuntimeError, ValueError) as error:
            raise _damaged(self.file, "cannot be decompressed") from error

    def _announce(self, offset: int, size: int) -> None:
        """Have the disk read the whole row at once: page by page a network's disk is slow."""
        if hasattr(mmap, "MADV_WILLNEED"):
            start = offset - offset % mmap.PAGESIZE
            self._memory.madvise(mmap.MADV_WILLNEED, start, offset + size - start)


def _direct_layout(array: zarr.Array) -> tuple[int | None, bool]:
    """Rows per shard, or None where only zarr can read; and whether Zstandard compressed them."""
    codecs = array.metadata.codecs
    if len(codecs) != 1 or not isinstance(codecs[0], ShardingCodec) or array.shards is None:
        return None, False
    sharding = codecs[0]
    row, names = array.shape[1:], array.metadata.chunk_key_encoding.to_dict()
    inner = [type(codec) for codec in sharding.codecs]
    direct = (
        sharding.chunk_shape == (1, *row)
        and array.shards[1:] == row
        and names == {"name": "default", "configuration": {"separator": "/"}}
        and inner in ([BytesCodec], [BytesCodec, ZstdCodec])
        and [type(codec) for codec in sharding.index_codecs] == [BytesCodec, Crc32cCodec]
        and sharding.index_location.value == "end"
        and array.fill_value == 0
    )
    return (array.shards[0] if direct else None), len(inner) == 2


def _damaged(file: Path, how: str) -> InputError:
    return InputError(f"The shard {file} {how}; restore it from a copy, or make the store again.")
