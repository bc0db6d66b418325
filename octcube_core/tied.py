"""Ends a command with the program that started it, however that ended: also killed it closes the pipe to our input."""

from __future__ import annotations

import os
import signal
import threading
import time

VARIABLE = "OCTCUBE_ENDS_WITH_INPUT"  # set by who starts the command and holds a pipe to its standard input
PATIENCE_S = 5.0  # to remove what is half written
TERMINATED = 143


def end_with_input() -> None:
    """Watch standard input, if the variable is set, and end as by SIGTERM when it is closed."""
    if os.environ.pop(VARIABLE, None):  # not for processes that this one starts
        threading.Thread(target=_wait, name="tied", daemon=True).start()


def _wait() -> None:
    try:
        # Unlike sys.stdin it holds no lock that the interpreter wants at its end.
        while os.read(0, 1024):
            pass
    except OSError:
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_S)
    os._exit(TERMINATED)
