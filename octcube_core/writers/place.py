"""Where an exam is written: never over something, and whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
    with result_folder(out) as folder, _writing(out):
        yield folder


@contextmanager
def new_file(out: Path) -> Iterator[Path]:
    """Give a temporary file name; that file becomes ``out``, which must not exist, when the block ends well.

    Raises
    ------
    InputError
        ``out`` exists or lies where nothing can be written.
    """
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}")
    try:
        with _writing(out):
            if out.exists() or out.is_symlink():
                raise InputError(f"{out} exists already; please give another name.")
            out.parent.mkdir(parents=True, exist_ok=True)
            yield partial
            partial.rename(out)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _writing(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _not_writable(out, error) from None


def _not_writable(out: Path, error: OSError) -> InputError:
    return InputError(f"Cannot write to {out} ({error.strerror or 'input/output error'}).")
