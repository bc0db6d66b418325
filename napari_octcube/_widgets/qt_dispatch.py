"""Runs functions on the Qt thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from qtpy.QtCore import QObject, Qt, Signal


class QtDispatcher(QObject):
    """Call it from any thread with a function, which then runs on the thread of this object.

    Once its parent is deleted the functions are dropped, so that a late answer finds no dead widget.
    """

    _posted = Signal(object)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._posted.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def __call__(self, function: Callable[[], None]) -> None:
        """Queue a function."""
        with contextlib.suppress(RuntimeError):  # the Qt object is deleted
            self._posted.emit(function)

    def _run(self, function: Callable[[], None]) -> None:
        function()
