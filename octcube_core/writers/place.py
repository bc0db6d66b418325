"""Where an exam is written: never over something, and whole or not at all."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from octcube_core.errors import InputError
from octcube_core.export import result_folder


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``out``, which must not exist or be empty, when the block ends well.

    Raises
    ------
    InputError
        ``out`` holds something, is a file, or lies where nothing can be written.
    """
    try:
        if out.is_dir() and any(out.iterdir()):
            raise InputError(f"{out} is not empty; please give a new folder.")
    except OSError as error:
        raise _not_writable(out, error) from None
    with (
        _one_interrupt() as interrupts,
        _writing(out),
        result_folder(out) as folder,
        interrupts.none_after_an_error(),
    ):
        yield folder


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """Give a temporary file name; that file becomes ``out``, which must not exist, when the block ends well.

    Raises
    ------
    InputError
        ``out`` exists or lies where nothing can be written.
    """
    # The end of the name tells what the file is; the whole with more before it may be too long.
    partial = out.with_name(f".partial-{os.getpid()}-{out.name[-50:]}")
    with _one_interrupt() as interrupts:
        try:
            with _writing(out), interrupts.none_after_an_error():
                if out.exists() or out.is_symlink():
                    raise InputError(f"{out} exists already; please give another name.")
                out.parent.mkdir(parents=True, exist_ok=True)
                yield partial
                partial.rename(out)
        finally:
            with suppress(OSError):
                partial.unlink(missing_ok=True)


class _Interrupts:
    """Ctrl-C while files are written: a second one must not stop the removal of what the first left half written."""

    def __init__(self) -> None:
        self.before: Any = None

    @contextmanager
    def none_after_an_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            if threading.current_thread() is threading.main_thread():  # no other may ask
                self.before = signal.signal(signal.SIGINT, signal.SIG_IGN)
            raise


@contextmanager
def _one_interrupt() -> Iterator[_Interrupts]:
    interrupts = _Interrupts()
    try:
        yield interrupts
    finally:
        if interrupts.before is not None:
            signal.signal(signal.SIGINT, interrupts.before)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _not_writable(out, error) from None


def _not_writable(out: Path, error: OSError) -> InputError:
    return InputError(f"Cannot write to {out} ({error.strerror or 'input/output error'}).")
