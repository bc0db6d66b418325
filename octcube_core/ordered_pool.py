"""Jobs in several processes, results in the order of the jobs, whatever becomes of a process."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Generic, TypeVar

from octcube_core.worker_processes import worker_pool

Result = TypeVar("Result")

# What to say of an exam whose process died.
LOST = "It ended the process that read it; the file is damaged, or memory ran out."


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
        self._start = start, arguments
        self._lost = lost

    def results(self, numbers: Sequence[int]) -> Generator[tuple[int, Result], None, None]:
        """Yield each number with its result, in order; a few are worked on ahead, so memory does not grow."""
        ahead = 2 * self._workers
        done: dict[int, Result] = {}
        position = 0
        while position < len(numbers):
            with worker_pool(self._workers, *self._start) as pool:
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
            with worker_pool(1, *self._start) as pool:
                for number in suspects[len(done) :]:
                    try:
                        done[number] = pool.submit(self._function, number).result()
                    except BrokenProcessPool:
                        done[number] = self._lost(number)
                        break
        return done


def _finished(running: dict[int, Future[Result]]) -> dict[int, Result]:
    return {
        number: future.result()
        for number, future in running.items()
        if future.done() and not future.cancelled() and future.exception() is None
    }
