"""How long a search takes, against the bare product of the same matrix with the query and ``argpartition``."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.bench.retrieval.archive import MODALITY, Archive, identity
from octcube_core.bench.setup import Figure
from octcube_core.retrieval.index import EmbeddingIndex
from octcube_core.retrieval.records import Filters

K = 10
ALLOWED_RATIO = 1.3
ALLOWED_MS = 20.0
FASTEST_PROMISED = 100_000
PROMISED_ITEMS = (100_000, 1_000_000)
REPEATS = 61
REPEATS_OF_LARGE = 31

# What is asked, by how much passes: everything, half, and one in thirty, of which alone the product is made.
CASES = {
    "no filter": Filters(leave_out=None),
    "laterality, not the same patient": Filters(laterality="OD", leave_out="patient"),
    "laterality, device, label, not the same patient": Filters(
        laterality="OD", device="device 1", label="label 2", leave_out="patient"
    ),
}


def measure(path: Path, archive: Archive) -> tuple[list[Figure], dict[str, Any]]:
    """Time both in turn, each time with another query; a search gives neighbours with labels and all."""
    repeats = REPEATS if archive.items <= FASTEST_PROMISED else REPEATS_OF_LARGE
    queries = _queries(archive)
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    with EmbeddingIndex(path, create=False) as index:
        _, matrix = index.vectors(MODALITY)
        for name, filters in CASES.items():
            found = _race(index, matrix, queries, filters, repeats)
            details[name] = found
            allowed = ALLOWED_RATIO if archive.items in PROMISED_ITEMS else None
            note = f"medians of {repeats}, bare product {found['bare_ms']:.3g} ms"
            figures.append(
                Figure(f"search / bare product, {name}", found["ratio"], "x", allowed, note=note)
            )
            allowed = ALLOWED_MS if archive.items == FASTEST_PROMISED else None
            figures.append(Figure(f"search, {name}", found["search_ms"], "ms", allowed))
    return figures, {"search": details}


def _queries(archive: Archive) -> list[tuple[int, NDArray[np.float32]]]:
    """Numbers and vectors of items, scaled to length 1 as a search would."""
    vectors = archive.first_block()
    chosen = np.random.default_rng(1).integers(0, len(vectors), REPEATS + 1)
    return [(int(number), vectors[number] / np.linalg.norm(vectors[number])) for number in chosen]


def _race(
    index: EmbeddingIndex,
    matrix: NDArray[np.float32],
    queries: list[tuple[int, NDArray[np.float32]]],
    filters: Filters,
    repeats: int,
) -> dict[str, float]:
    def ours() -> object:
        return index.search(query, to=MODALITY, k=K, filters=filters, exam=identity(number))

    def bare() -> object:
        similarity = matrix @ query
        return np.argpartition(similarity, len(similarity) - K)[-K:]

    number, query = queries[-1]
    first, _ = _seconds(ours), _seconds(bare)
    search: list[float] = []
    product: list[float] = []
    for turn in range(repeats):
        number, query = queries[turn]
        for is_ours in (True, False) if turn % 2 else (False, True):
            (search if is_ours else product).append(_seconds(ours if is_ours else bare))
    return {
        "ratio": median(a / b for a, b in zip(search, product, strict=True)),
        "search_ms": 1e3 * median(search),
        "bare_ms": 1e3 * median(product),
        "first_ms": 1e3 * first,  # which also looks up who has the label
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    kept = work()  # freeing it is no part of searching
    elapsed = time.perf_counter() - start
    del kept
    return elapsed
