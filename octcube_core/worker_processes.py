"""Processes that work in parallel on exams: how many there are cores for, and how each begins."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any


def available_cores() -> int:
    """Cores that this process may use: under SLURM or in a container fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def worker_pool(
    workers: int, start: Callable[..., None] | None = None, arguments: tuple[Any, ...] = ()
) -> ProcessPoolExecutor:
    """A pool whose processes have one thread each, as there is one per core, and end with their parent.

    Parameters
    ----------
    workers : number of processes
    start, arguments : called once in each process before anything else
    """
    # Spawned, as a fork of a process with running threads can hang.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, context, _begin, (start, arguments))


def _begin(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    if start is not None:
        start(*arguments)


def _end_with_parent() -> None:
    # A killed parent closes no queue: its processes would wait for jobs for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
