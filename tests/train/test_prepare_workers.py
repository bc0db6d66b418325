"""Processes that die take one exam with them, not the run."""

from __future__ import annotations

import os
import signal

from octcube_core.ordered_pool import OrderedPool


def begin(_offset: int) -> None:
    pass


def work(number: int) -> str:
    if number in (3, 4, 9):
        os.kill(os.getpid(), signal.SIGKILL)
    return f"done {number}"


def lost(number: int) -> str:
    return f"lost {number}"


def test_a_dying_process_loses_its_own_number_and_no_other():
    pool = OrderedPool(work, 2, begin, (0,), lost)
    found = list(pool.results(range(2, 12)))
    assert [number for number, _ in found] == list(range(2, 12))
    assert [result for _, result in found] == [
        f"{'lost' if number in (3, 4, 9) else 'done'} {number}" for number in range(2, 12)
    ]


def test_leaving_early_ends_the_processes():
    pool = OrderedPool(work, 1, begin, (0,), lost)
    results = pool.results(range(100, 10_000))
    assert next(results) == (100, "done 100")
    results.close()
