"""How exact and how fast the graph of pgvector is, against the exact neighbours, for each kind of archive."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from statistics import median
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from octcube_core.bench.retrieval.archive import MODALITY, MODEL, Archive, Kind, identity
from octcube_core.bench.retrieval.filling import LARGE
from octcube_core.bench.setup import Figure
from octcube_core.retrieval.index import EmbeddingIndex
from octcube_core.retrieval.postgres_database import EF_SEARCH
from octcube_core.retrieval.records import Filters

K = 10
QUERIES = 200
PROMISED_ITEMS = 100_000
AT_LEAST = 0.98
_KINDS: tuple[Kind, ...] = ("eye-like", "gaussian")
_CASES = {
    "": Filters(leave_out="exam"),
    ", laterality, not the same patient": Filters(laterality="OD", leave_out="patient"),
}


def measure(url: str, items: int) -> tuple[list[Figure], dict[str, Any]]:
    """Fill an index for each kind of archive, ask it, and drop it."""
    figures: list[Figure] = []
    details: dict[str, Any] = {"ef_search": EF_SEARCH, "queries": QUERIES}
    for kind in _KINDS:
        archive = Archive(items, kind, with_pictures=False)
        with _own_schema(url) as address, EmbeddingIndex(address) as index:
            rate = _fill(index, archive)
            note = f"of {items:,} {kind} items"
            figures.append(Figure("insertion into the graph", rate, "items/s", note=note))
            for name, filters in _CASES.items():
                recall, seconds = _asked(index, archive, filters)
                promised = kind == "eye-like" and items == PROMISED_ITEMS
                figures.append(
                    Figure(
                        f"recall@{K}{name}",
                        recall,
                        "",
                        AT_LEAST if promised else None,
                        "at least",
                        f"{note}, {QUERIES} queries",
                    )
                )
                figures.append(Figure(f"query{name}", 1e3 * seconds, "ms", note=note))
    return figures, details


def _fill(index: EmbeddingIndex, archive: Archive) -> float:
    """Add everything, as the graph grows; items a second."""
    spent = 0.0
    for first, vectors in archive.blocks():
        records = archive.records(first, vectors)
        start = time.perf_counter()
        for begin in range(0, len(records), LARGE):
            index.add_records(records[begin : begin + LARGE], MODEL)
        spent += time.perf_counter() - start
    return archive.items / spent


def _asked(index: EmbeddingIndex, archive: Archive, filters: Filters) -> tuple[float, float]:
    """Share of the exact neighbours that are found, and the median seconds of a query."""
    numbers = np.random.default_rng(2).choice(
        archive.items, min(QUERIES, archive.items), replace=False
    )
    matrix = _stored(archive)
    hits = wanted = 0
    seconds: list[float] = []
    for number in numbers.tolist():
        exact = _exact(matrix, number, filters)
        start = time.perf_counter()
        found = index.search(
            matrix[number], to=MODALITY, k=K, filters=filters, exam=identity(number)
        )
        seconds.append(time.perf_counter() - start)
        hits += len(exact & {int(neighbour.identity.content, 16) for neighbour in found})
        wanted += len(exact)
    return hits / wanted, median(seconds)


def _stored(archive: Archive) -> NDArray[np.float32]:
    """All vectors as an index has them: in half precision, compared by their angles."""
    vectors = np.concatenate([block for _, block in archive.blocks()])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors = vectors.astype(np.float16).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _exact(matrix: NDArray[np.float32], number: int, filters: Filters) -> set[int]:
    """The numbers of the nearest items, by comparing with all."""
    similarity = matrix @ matrix[number]
    similarity[number] = -np.inf
    mine = identity(number)
    best: list[int] = []
    for place in np.argsort(-similarity)[: 20 * K].tolist():
        other = identity(place)
        if filters.laterality not in (None, other.laterality) or place == number:
            continue
        if filters.leave_out == "patient" and other.patient == mine.patient:
            continue
        best.append(place)
    return set(best[:K])


@contextmanager
def _own_schema(url: str) -> Iterator[str]:
    """The URL of a schema that nobody has, dropped afterwards."""
    schema = f"octcube_bench_{uuid.uuid4().hex[:12]}"
    parts = urlsplit(url)
    options = [(name, value) for name, value in parse_qsl(parts.query) if name != "schema"]
    server = urlunsplit(parts._replace(query=urlencode(options)))
    try:
        yield urlunsplit(parts._replace(query=urlencode([*options, ("schema", schema)])))
    except BaseException:
        with suppress(Exception):  # what went wrong first is what matters
            _drop(server, schema)
        raise
    _drop(server, schema)


def _drop(server: str, schema: str) -> None:
    import psycopg
    from psycopg import sql

    with psycopg.connect(server, autocommit=True) as connection:
        statement = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema))
        connection.execute(statement)
