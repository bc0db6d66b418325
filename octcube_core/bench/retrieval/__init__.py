"""``octcube bench --retrieval``: how fast an index of embeddings is filled, opened and searched, with what is allowed.

The archives are synthetic and lie in a temporary folder, with their salts.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from octcube_core.bench.retrieval import filling, opening, postgres, room, search
from octcube_core.bench.retrieval.archive import FEATURES, Archive
from octcube_core.bench.setup import Figure
from octcube_core.errors import InputError
from octcube_core.progress import OnProgress
from octcube_core.retrieval.secret import CONFIGURATION_VARIABLE
from octcube_core.worker_processes import available_cores

__all__ = ["FEWEST_ITEMS", "PROMISED_ITEMS", "measure"]

PROMISED_ITEMS = (100_000, 1_000_000)
FEWEST_ITEMS = 100
_POSTGRES_COST = 25.0  # time of an item in the two graphs of PostgreSQL over that in SQLite


def measure(
    items: Sequence[int] = PROMISED_ITEMS,
    *,
    postgres_url: str | None = None,
    on_progress: OnProgress | None = None,
) -> dict[str, Any]:
    """Fill, open and search indices of synthetic embeddings.

    Parameters
    ----------
    items : sequence of int
        Sizes of the archives, at least 100 each. Promises are about 100,000 and 1,000,000.
    postgres_url : str, optional
        A server with pgvector, measured with the smallest archive in a schema that is dropped afterwards.
    on_progress : callable, optional
        Called with a stage and the fraction of the whole that is done.

    Returns
    -------
    dict
        Ready for JSON. ``figures`` as in ``octcube_core.bench.measure``; ``parts``: details, or why a part was skipped.

    Raises
    ------
    InputError
        If an archive is too small.
    EmbeddingIndexError
        If the server cannot be used.
    """
    if not items or min(items) < FEWEST_ITEMS:
        raise InputError(f"Measure with at least {FEWEST_ITEMS} items.")
    steps = [("SQLite", count, float(count)) for count in sorted(set(items))]
    if postgres_url is not None:
        steps.append(("PostgreSQL", min(items), _POSTGRES_COST * min(items)))
    total = sum(share for _, _, share in steps)
    figures: list[dict[str, Any]] = []
    parts: dict[str, Any] = {}
    done = 0.0
    for engine, count, share in steps:
        if on_progress is not None:
            on_progress(f"Measuring {count:,} items in {engine}", done / total)
        done += share
        with TemporaryDirectory(prefix="octcube-bench-") as folder, _own_salts(Path(folder)):
            if engine == "SQLite":
                part, (found, details) = f"{count:,} items", _sqlite(Path(folder), count)
            elif postgres_url is not None:
                part, (found, details) = engine, postgres.measure(postgres_url, count)
        figures += [{"part": part, **figure.to_dict()} for figure in found]
        parts[part] = details
    if postgres_url is None:
        parts["PostgreSQL"] = {"skipped": "no server was named (--postgres URL)"}
    return {**_surroundings(items), "figures": figures, "parts": parts}


def _sqlite(folder: Path, items: int) -> tuple[list[Figure], dict[str, Any]]:
    archive = Archive(items, "eye-like", with_pictures=items <= filling.MOST_WITH_PICTURES)
    if lacking := room.lacking(folder, archive):
        return [], {"skipped": lacking}
    path = folder / "bench.octindex"
    figures: list[Figure] = []
    details: dict[str, Any] = {}
    for part in (filling.measure, opening.measure, search.measure):
        found, more = part(path, archive)
        figures += found
        details |= more
    return figures, details


@contextmanager
def _own_salts(folder: Path) -> Iterator[None]:
    """Keep the salts of the indices in a folder instead of the user's configuration."""
    before = os.environ.get(CONFIGURATION_VARIABLE)
    os.environ[CONFIGURATION_VARIABLE] = str(folder / "configuration")
    try:
        yield
    finally:
        if before is None:
            del os.environ[CONFIGURATION_VARIABLE]
        else:
            os.environ[CONFIGURATION_VARIABLE] = before


def _surroundings(items: Sequence[int]) -> dict[str, Any]:
    return {
        "items": sorted(set(items)),
        "features": FEATURES,
        "cores": available_cores(),
        # Above the number of cores, something else was running too.
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "numpy": np.__version__,
        "sqlite": sqlite3.sqlite_version,
    }
