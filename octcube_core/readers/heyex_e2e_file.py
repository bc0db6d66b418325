"""Structure of Heidelberg's database file (.E2E): directories of items, each of one patient, study, series and slice.

Heidelberg publishes nothing about it. What is known comes from the public readers uocte, LibE2E, OCT-Converter,
private_eye and eyepy; their accounts of the parts used here agree. Directories are chained backwards from the file's
header. Every length is checked against the file before it is used, and a chain that bites its tail is refused.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from octcube_core.errors import ExamReadError

_FILE_HEADER_BYTES = 36
_DIRECTORY = np.dtype(
    [
        ("magic", "S12"),
        ("version", "<u4"),
        ("unknown", "V20"),
        ("entries", "<u4"),
        ("current", "<u4"),
        ("previous", "<u4"),
        ("unknown_2", "<u4"),
    ]
)
_IDS = [("patient", "<i4"), ("study", "<i4"), ("series", "<i4"), ("slice", "<i4")]
_ENTRY = np.dtype(
    [
        ("position", "<u4"),
        ("start", "<u4"),
        ("size", "<u4"),
        ("unknown", "<u4"),
        *_IDS,
        ("kind", "<u2"),
        ("unknown_2", "<u2"),
        ("type", "<u4"),
        ("unknown_3", "<u4"),
    ]
)
_ITEM_HEADER = np.dtype(
    [
        ("magic", "S12"),
        ("unknown", "<u4"),
        ("header_position", "<u4"),
        ("position", "<u4"),
        ("size", "<u4"),
        ("unknown_2", "<u4"),
        *_IDS,
        ("kind", "<u2"),
        ("unknown_3", "<u2"),
        ("type", "<u4"),
        ("unknown_4", "<u4"),
    ]
)
_MAX_ITEMS = 500_000  # 200 volumes of 200 B-scans have a quarter of it


@dataclass(frozen=True)
class Item:
    """One item of the file: `size` bytes at `start`, of a kind told by `type`."""

    start: int
    size: int
    patient: int
    study: int
    series: int
    slice: int
    type: int

    @property
    def series_key(self) -> tuple[int, int, int]:
        """What all items of one exam share."""
        return self.patient, self.study, self.series


class E2EFile:
    """Items of an open E2E file, in the order in which they were written.

    Attributes
    ----------
    path : Path
    size : int
        Bytes of the file.
    items : list of Item
    """

    def __init__(self, path: Path, file: FileIO, wanted: frozenset[int]) -> None:
        """Read the directories.

        Parameters
        ----------
        path, file
        wanted : set of int
            Types of the items to list.

        Raises
        ------
        ExamReadError
            If the file is truncated or its directories are damaged.
        """
        self.path, self._file = path, file
        self.size = os.fstat(file.fileno()).st_size
        main = self._record(_FILE_HEADER_BYTES, _DIRECTORY)
        if not bytes(main["magic"]).startswith(b"MDbMDir"):
            raise self.damaged()
        self.items: list[Item] = []
        for entries in reversed(self._directories(int(main["current"]))):
            self._list(entries, wanted)

    def _directories(self, position: int) -> list[np.ndarray[Any, Any]]:
        """Entries of each directory, the newest first."""
        found: list[np.ndarray[Any, Any]] = []
        seen: set[int] = set()
        total = 0
        while position:
            if position in seen:
                raise self.damaged()
            seen.add(position)
            directory = self._record(position, _DIRECTORY)
            if not bytes(directory["magic"]).startswith(b"MDbDir"):
                raise self.damaged()
            size = int(directory["entries"]) * _ENTRY.itemsize
            total += size
            if total > self.size:
                raise self.damaged()  # or overlapping directories would list items without end
            found.append(np.frombuffer(self.read(position + _DIRECTORY.itemsize, size), _ENTRY))
            position = int(directory["previous"])
        return found

    def _list(self, entries: np.ndarray[Any, Any], wanted: frozenset[int]) -> None:
        entries = entries[entries["start"] > entries["position"]]  # the others were deleted
        ends = entries["start"].astype(np.int64) + entries["size"] + _ITEM_HEADER.itemsize
        if (ends > self.size).any():
            raise self.truncated()
        entries = entries[np.isin(entries["type"], list(wanted))]
        if len(self.items) + len(entries) > _MAX_ITEMS:
            raise self.damaged()
        for entry in entries:
            start, size = int(entry["start"]), int(entry["size"])
            header = self._record(start, _ITEM_HEADER)
            ids = ("patient", "study", "series", "slice", "type")
            if not bytes(header["magic"]).startswith(b"MDbData") or any(
                header[name] != entry[name] for name in ids
            ):
                raise self.damaged()
            start += _ITEM_HEADER.itemsize
            self.items.append(Item(start, size, *(int(entry[name]) for name in ids)))

    def read(self, start: int, size: int) -> bytes:
        """Bytes of the file, all of them.

        Raises
        ------
        ExamReadError
            If the file ends before.
        """
        if start + size > self.size:
            raise self.truncated()
        self._file.seek(start)
        parts = []
        while size:
            part = self._file.read(size)
            if not part:
                raise self.truncated()
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def payload(self, item: Item, most: int) -> bytes:
        """First bytes of an item, `most` at most."""
        return self.read(item.start, min(item.size, most))

    def record(self, item: Item, kind: np.dtype[Any]) -> Any:
        """The record at the start of an item.

        Raises
        ------
        ExamReadError
            If the item is shorter.
        """
        if item.size < kind.itemsize:
            raise self.damaged()
        return self._record(item.start, kind)

    def _record(self, start: int, kind: np.dtype[Any]) -> Any:
        return np.frombuffer(self.read(start, kind.itemsize), kind)[0]

    def truncated(self) -> ExamReadError:
        """Error for a file that ends too early."""
        return ExamReadError(
            f"{self.path.name} is truncated: items that it lists lie behind its end; export or copy it again."
        )

    def damaged(self) -> ExamReadError:
        """Error for a file that contradicts itself."""
        return ExamReadError(
            f"{self.path.name} is damaged: its directory contradicts its contents; export or copy it again."
        )
