"""Whether a machine has the disk and the memory for an archive."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from octcube_core.bench.retrieval.archive import FEATURES, PICTURE, Archive

_ROW = 1000  # bytes of an item in the file besides embedding and thumbnail, what pages leave empty included
_LOG = 300e6  # bytes, for what is not yet in the file itself
_MATRICES = 2.2  # held at once: the index's own, and a copy for the bare product


def lacking(folder: Path, archive: Archive) -> str:
    """What there is too little of, in words; empty if there is enough."""
    of_each = 2 * FEATURES + _ROW + (1.4 * PICTURE if archive.with_pictures else 0)
    disk = archive.items * of_each + _LOG
    free = shutil.disk_usage(folder).free
    if free < disk:
        return f"it needs {disk / 1e9:.1f} GB in the temporary folder, where {free / 1e9:.1f} GB are free"
    memory = _MATRICES * archive.items * FEATURES * 4
    available = available_memory()
    if available is not None and available < memory:
        return (
            f"it needs {memory / 1e9:.1f} GB of memory, of which {available / 1e9:.1f} GB are free"
        )
    return ""


def available_memory() -> int | None:
    """Bytes of memory that can be had; all there are where that is not told, None where neither is."""
    told = Path("/proc/meminfo")
    if told.is_file():
        for line in told.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
