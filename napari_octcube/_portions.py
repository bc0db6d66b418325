"""Hands over what a thread makes in portions, so that each telling on the owner's thread is short. No Qt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from napari_octcube._inference import Dispatch

T = TypeVar("T")

INTERVAL_S = 0.05  # between two portions


class Portions(Generic[T]):
    """Gathers items from any thread.

    Parameters
    ----------
    most : int
        Items in a portion.
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    on_portion : callable of (items, whether more are waiting)
        On the owner's thread; the items in their order, maybe none.
    """

    def __init__(
        self, most: int, dispatch: Dispatch, on_portion: Callable[[list[T], bool], None]
    ) -> None:
        self._most = most
        self._dispatch = dispatch
        self._on_portion = on_portion
        self._lock = threading.Lock()
        self._pending: list[T] = []
        self._told = False  # whether the owner's thread will come for what is pending

    @property
    def waiting(self) -> bool:
        """Whether items have not been handed over."""
        return bool(self._pending)

    def add(self, item: T) -> None:
        """Hand over an item soon."""
        with self._lock:
            self._pending.append(item)
            self._tell_soon()

    def hand_over(self) -> None:
        """Hand over a portion as soon as the owner's thread has time, be it an empty one."""
        self._dispatch(self._take)

    def _tell_soon(self) -> None:
        if not self._told:
            self._told = True
            timer = threading.Timer(INTERVAL_S, self.hand_over)
            timer.daemon = True
            timer.start()

    def _take(self) -> None:
        with self._lock:
            portion, self._pending = self._pending[: self._most], self._pending[self._most :]
            self._told = False
            more = bool(self._pending)
            if more:
                self._tell_soon()
        self._on_portion(portion, more)
