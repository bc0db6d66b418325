"""Jobs in several processes, results in the order of the jobs, whatever becomes of a process."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class OrderedPool(Generic[Result]):
    """Runs a function on numbers in other processes, and survives those that die.

    Parameters
    ----------
    function : of a number; importable by name
    workers : number of processes
    start, arguments : called once in each process before anything else
    lost : makes the result of a number whose process died, by damaged data that crash a library or for lack of memory
    """

    def __init__(
        self,
        function: Callable[[int], Result],
        workers: int,
        start: Callable[..., None],
        arguments: tuple[Any, ...],
        lost: Callable[[int], Result],
    ) -> None:
        self._function = function
        self._workers = workers
        self._start = (start, *arguments)
        self._lost = lost

    def results(self, numbers: Sequence[int]) -> Iterator[tuple[int, Result]]:
        """Yield each number with its result, in order; a few are worked on ahead, so memory does not grow."""
        ahead = 2 * self._workers
        done: dict[int, Result] = {}
        position = 0
        while position < len(numbers):
            with self._pool(self._workers) as pool:
                running: dict[int, Future[Result]] = {}
                try:
                    while position < len(numbers):
                        for number in numbers[position : position + ahead]:
                            if number not in running and number not in done:
                                running[number] = pool.submit(self._function, number)
                        number = numbers[position]
                        if number not in done:
                            done[number] = running.pop(number).result()
                        yield number, done.pop(number)
                        position += 1
                except BrokenProcessPool:
                    suspects = numbers[position : position + ahead]
                except BaseException:
                    pool.shutdown(wait=False, cancel_futures=True)
                    raise
                else:
                    return
            done |= _finished(running)
            done |= self._one_by_one([number for number in suspects if number not in done])

    def _one_by_one(self, suspects: Sequence[int]) -> dict[int, Result]:
        """Run the numbers among which one has ended a process, so that only that one is lost."""
        done: dict[int, Result] = {}
        while len(done) < len(suspects):
            with self._pool(1) as pool:
                for number in suspects[len(done) :]:
                    try:
                        done[number] = pool.submit(self._function, number).result()
                    except BrokenProcessPool:
                        done[number] = self._lost(number)
                        break
        return done

    def _pool(self, workers: int) -> ProcessPoolExecutor:
        # Spawned, as a fork of a process with running threads can hang.
        context = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(workers, context, _begin, self._start)


def _finished(running: dict[int, Future[Result]]) -> dict[int, Result]:
    return {
        number: future.result()
        for number, future in running.items()
        if future.done() and not future.cancelled() and future.exception() is None
    }


def _begin(start: Callable[..., None], *arguments: Any) -> None:
    """Set up a process: one thread each, as there is one process per core; and none outlives the parent."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
    start(*arguments)


def _end_with_parent() -> None:
    # A killed parent closes no queue: its processes would wait for jobs for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
