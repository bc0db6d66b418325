"""How many items a second go into an index: in batches as ``octcube index`` adds them, and in large ones."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from octcube_core.bench.retrieval.archive import MODEL, Archive
from octcube_core.bench.setup import Figure
from octcube_core.retrieval.fill import BATCH
from octcube_core.retrieval.index import EmbeddingIndex

PROMISED_ITEMS = 100_000
AT_LEAST = 5000
LARGE = 1000  # items in a large batch
MOST_WITH_PICTURES = 100_000  # thumbnails of more would fill the disk and change nothing else
_IN_SMALL = 5  # one in so many blocks goes in by small batches
_MOST_IN_SMALL = 5  # blocks


def measure(path: Path, archive: Archive) -> tuple[list[Figure], dict[str, Any]]:
    """Make an index of the archive; what is made is timed without the making of the records.

    Small and large batches take turns, so that both meet the same sizes of the file and the same other work.
    """
    seconds = {BATCH: 0.0, LARGE: 0.0}
    added = {BATCH: 0, LARGE: 0}
    with EmbeddingIndex(path) as index:
        for number, (first, vectors) in enumerate(archive.blocks()):
            records = archive.records(first, vectors)
            small = number % _IN_SMALL == 0 and number // _IN_SMALL < _MOST_IN_SMALL
            batch = BATCH if small else LARGE
            start = time.perf_counter()
            for begin in range(0, len(records), batch):
                index.add_records(records[begin : begin + batch], MODEL)
            seconds[batch] += time.perf_counter() - start
            added[batch] += len(records)
    figures = [
        Figure(
            f"insertion in batches of {batch:,}",
            added[batch] / seconds[batch],
            "items/s",
            AT_LEAST if archive.items == PROMISED_ITEMS else None,
            "at least",
            f"{added[batch]:,} items {'with' if archive.with_pictures else 'without'} thumbnails",
        )
        for batch in seconds
        if added[batch]
    ]
    return figures, {
        "file_gb": path.stat().st_size / 1e9,
        "insertion_s": {str(batch): value for batch, value in seconds.items()},
    }
