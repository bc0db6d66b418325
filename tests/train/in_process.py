"""A pool of no processes, for tests of what is made and not of how many make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any


class InProcess:
    """Stands in for ``octcube_core.ordered_pool.OrderedPool``: the same results, without seconds of imports."""

    def __init__(
        self,
        function: Callable[[int], Any],
        _workers: int,
        start: Callable[..., None],
        arguments: tuple[Any, ...],
        _lost: Callable[[int], Any],
    ) -> None:
        self._function, self._start, self._arguments = function, start, arguments

    def results(self, numbers: Sequence[int]) -> Iterator[tuple[int, Any]]:
        self._start(*self._arguments)
        for number in numbers:
            yield number, self._function(number)
