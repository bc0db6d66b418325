"""A lock by which only one run at a time makes a store, or a family of models."""

from __future__ import annotations

import os
from pathlib import Path

from octcube_core.errors import InputError


def lock_out_others(lock: Path, target: Path) -> int:
    """Lock a file; closing the file descriptor that is returned, or the end of the process, frees it.

    Parameters
    ----------
    lock : the file, made if it does not exist
    target : what is to be made

    Raises
    ------
    InputError
        If another process has the lock.
    """
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT)
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:  # Windows has none
        pass
    except OSError:
        os.close(descriptor)
        raise InputError(
            f"Another process is making {target} right now; wait until it has ended."
        ) from None
    return descriptor
