"""A command of ours in a process of its own, which tells how far it is in lines of text. No Qt."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from napari_octcube._inference import Dispatch
from octcube_core.tied import VARIABLE

ERROR = "octcube: error: "  # before what the command line says of wrong input
ENOUGH_LINES = 5  # of what a failing command said last


def told_in(line: str) -> dict[str, Any]:
    """What a line of JSON tells; nothing if it is a library's word."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def last_line(errors: str) -> str:
    """What a failing command said last; empty if nothing."""
    return "".join(errors.strip().splitlines()[-1:])


class BackgroundCommand:
    """One run of ``python -m ...``, from ``start`` to its end.

    Parameters
    ----------
    arguments : sequence of str
        What follows ``python``.
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    on_line : callable of str
        Gets every line of its output, on the owner's thread.
    on_end : callable of (exit code, last lines of its errors)
        None for a code if it could not be started.
    environment : mapping, optional
        Variables that the command finds beside those of this process.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        dispatch: Dispatch,
        on_line: Callable[[str], None],
        on_end: Callable[[int | None, str], None],
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._environment = environment or {}
        self._arguments = [sys.executable, *arguments]
        self._dispatch = dispatch
        self._on_line = on_line
        self._on_end = on_end
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()
        self._unwanted = False

    def start(self) -> None:
        """Start it; nothing here waits for it."""
        threading.Thread(target=self._serve, name="octcube command", daemon=True).start()

    def stop(self) -> None:
        """End it; what it has finished stays."""
        with self._lock:
            self._unwanted = True
            if self._process is not None:
                with contextlib.suppress(OSError):
                    self._process.terminate()

    def _serve(self) -> None:
        errors: deque[str] = deque(maxlen=ENOUGH_LINES)
        code = None
        with contextlib.suppress(OSError):
            with self._lock:
                if not self._unwanted:
                    self._process = subprocess.Popen(
                        self._arguments,
                        stdin=subprocess.PIPE,  # which closes with this process, even a killed one
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                        errors="replace",
                        env={**os.environ, **self._environment, VARIABLE: "1"},
                    )
                    _lower_priority(self._process.pid)
            if self._process is not None:
                code = self._listen(self._process, errors)
        text = "\n".join(errors)
        self._dispatch(lambda: self._on_end(code, text))

    def _listen(self, process: subprocess.Popen[str], errors: deque[str]) -> int:
        assert process.stdout is not None
        assert process.stderr is not None
        stderr = process.stderr
        reader = threading.Thread(
            target=lambda: errors.extend(line.rstrip() for line in stderr), daemon=True
        )
        reader.start()
        for line in process.stdout:
            self._tell(line.rstrip())
        reader.join()
        code = process.wait()
        if process.stdin is not None:
            process.stdin.close()
        return code

    def _tell(self, line: str) -> None:
        self._dispatch(lambda: self._on_line(line))


def _lower_priority(pid: int) -> None:
    """The viewer must stay fluid on a machine with few cores."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, pid, 10)
