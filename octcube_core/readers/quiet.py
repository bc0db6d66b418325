"""Mutes libraries' warnings while files are read, in any number of threads at once."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

_lock = Lock()
_readers = 0
_filters = warnings.catch_warnings()


@contextmanager
def quiet_warnings() -> Iterator[None]:
    """Ignore all warnings until the last of the threads that asked for it has left.

    The filters of warnings belong to the whole process: saved and restored by each thread for itself, they would end
    up muted for ever, or loud while another thread still reads.
    """
    global _readers, _filters
    with _lock:
        if _readers == 0:
            _filters = warnings.catch_warnings()
            _filters.__enter__()
            warnings.simplefilter("ignore")
        _readers += 1
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if _readers == 0:
                _filters.__exit__(None, None, None)
