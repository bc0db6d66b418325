"""How long an index takes to open, damage looked for, and how much memory it then holds."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

from octcube_core.bench.memory import peak_bytes
from octcube_core.bench.retrieval.archive import FEATURES, Archive, identity
from octcube_core.bench.retrieval.search import CASES
from octcube_core.bench.setup import Figure
from octcube_core.errors import OCTCubeError
from octcube_core.retrieval.index import EmbeddingIndex

PROMISED_ITEMS = 100_000
ALLOWED_S = 1.0
ALLOWED_MATRICES = 1.5  # two would mean that the matrix is held twice
REPEATS = 7
REPEATS_OF_LARGE = 3

_CHILD = "import sys; from octcube_core.bench.retrieval.opening import child; child(sys.argv[1])"


def measure(path: Path, archive: Archive) -> tuple[list[Figure], dict[str, Any]]:
    """Open the index again and again, and once in a process of its own, whose memory is looked at."""
    memory = _in_fresh_process(path)  # reads the file into the system's cache, too
    repeats = REPEATS if archive.items <= PROMISED_ITEMS else REPEATS_OF_LARGE
    seconds = [_seconds(path) for _ in range(repeats)]
    promised = archive.items == PROMISED_ITEMS
    figures = [
        Figure(
            "opening",
            median(seconds),
            "s",
            ALLOWED_S if promised else None,
            note=f"median of {repeats}, file of {path.stat().st_size / 1e9:.2f} GB in the system's cache",
        )
    ]
    if memory["peak_bytes"] is not None:
        taken = memory["peak_bytes"] - memory["before_bytes"]
        matrix = archive.items * FEATURES * 4
        large = archive.items >= PROMISED_ITEMS  # of a small one, the rest is more than the matrix
        allowed = ALLOWED_MATRICES if large else None
        name, note = "peak memory of opening and searching", "what a fresh process took more"
        figures += [
            Figure(name, taken / 1e9, "GB", note=note),
            Figure(f"{name} / the matrix", taken / matrix, "x", allowed, note="in float32"),
        ]
    return figures, {"opening_s": seconds, **memory}


def _seconds(path: Path) -> float:
    gc.collect()
    start = time.perf_counter()
    index = EmbeddingIndex(path, create=False)
    elapsed = time.perf_counter() - start
    index.close()
    return elapsed


def _in_fresh_process(path: Path) -> dict[str, Any]:
    ran = subprocess.run([sys.executable, "-c", _CHILD, path], capture_output=True, text=True)
    if ran.returncode:
        reason = (ran.stderr.strip().splitlines() or [f"exit code {ran.returncode}"])[-1]
        raise OCTCubeError(
            f"The index whose memory was to be measured could not be opened ({reason})."
        )
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def child(path: str) -> None:
    """Open the index, search it in every way, and print peaks of memory as JSON; runs in the fresh process."""
    before = peak_bytes()
    with EmbeddingIndex(path, create=False) as index:
        _, (query,) = index.vectors("OCT", most=1)
        for filters in CASES.values():
            index.search(query, filters=filters, exam=identity(0))
    sys.stdout.write(json.dumps({"before_bytes": before, "peak_bytes": peak_bytes()}) + "\n")
