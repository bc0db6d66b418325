"""Any supported OCT file or folder -> `Exam`.

Each format has one module, imported when a file of it is opened, so that importing this package loads no image
library; `octcube_core.readers.formats` lists them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

from octcube_core.errors import ExamReadError, InputError
from octcube_core.exam import Exam
from octcube_core.readers.dispatch import entries_of, unknown_format
from octcube_core.readers.entry import ExamEntry
from octcube_core.readers.failures import reading
from octcube_core.readers.formats import FOLDER, Format, find_format
from octcube_core.readers.options import ReadOptions

__all__ = ["ExamEntry", "detect_format", "find_exams", "read_exam", "read_exams"]

_NAMED = 5  # exams of a folder that an error lists


def detect_format(path: str | os.PathLike[str]) -> str | None:
    """Name of the format of a file or folder, or None if it is none that can be read.

    A folder is always 'folder', whatever it holds. Never raises: an unreadable path gives None.
    """
    try:
        found = find_format(Path(path).expanduser())
    except (OSError, ValueError, RuntimeError):
        return None
    return found.name if found else None


def read_exam(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    shape: tuple[int, int, int] | None = None,
    exam: int | None = None,
) -> Exam:
    """Read one eye's exam.

    Parameters
    ----------
    path : str or path
        A file or folder of one of the formats that ``octcube formats`` lists.
    axes : str, optional
        Order of the axes in the file, for formats that do not state it: a permutation of 'zyx' (B-scan, depth,
        width).
    shape : tuple of 3 int, optional
        Number of (B-scans, depth samples, A-scans per B-scan), for raw files that do not state it.
    exam : int, optional
        Which of several exams, counted from 1 in the order of `find_exams`.

    Returns
    -------
    Exam
        ``volume.voxels`` has shape (bscan, depth, width); spacings are in mm and None where the
        file does not state them. ``warnings`` says what a user should know about the file.

    Raises
    ------
    ExamReadError
        If the path is missing, unreadable, damaged, of no supported format, or holds several exams of which none was
        chosen, in one sentence.
    InputError
        If an option is wrong or does not apply to the format.
    """
    path = _named(Path(path))
    found = find_exams(path, axes=axes, shape=shape)
    if exam is None:
        return _only(path, list(islice(found, _NAMED + 1))).read()
    if exam < 1:
        raise InputError("Exams are counted from 1.")
    chosen = next((entry for number, entry in enumerate(found, 1) if number == exam), None)
    if chosen is None:
        raise InputError(f"{path.name} holds fewer than {exam} exams.")
    return chosen.read()


def read_exams(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    shape: tuple[int, int, int] | None = None,
    on_error: Callable[[ExamEntry, ExamReadError], None] | None = None,
) -> Iterator[Exam]:
    """Read every exam of a file or folder, one at a time, in the order of `find_exams`.

    Parameters
    ----------
    path, axes, shape
        As for `read_exam`.
    on_error : callable of (entry, error), optional
        Told of an exam that cannot be read, after which the others follow; without it the error is raised.
    """
    for entry in find_exams(path, axes=axes, shape=shape):
        try:
            exam = entry.read()
        except ExamReadError as error:
            if on_error is None:
                raise
            on_error(entry, error)
        else:
            yield exam


def find_exams(
    path: str | os.PathLike[str],
    *,
    axes: str | None = None,
    shape: tuple[int, int, int] | None = None,
) -> Iterator[ExamEntry]:
    """List the exams in a file or folder without decoding them, one at a time, in natural order of their names.

    Raises
    ------
    ExamReadError
        If the path is missing, unreadable or of no supported format.
    InputError
        If an option is wrong or does not apply to the format.
    """
    path = Path(path)
    options = ReadOptions(axes, shape)
    with reading(path, "an OCT exam"):
        path = _named(path)
        if not path.exists():
            raise ExamReadError(f"{path} does not exist; check the path.")
        found = find_format(path)
        if found is None:
            raise ExamReadError(unknown_format(path))
        _check_options(path, found, options)
        yield from entries_of(path, found, options)


def _named(path: Path) -> Path:
    """The same path with a name to tell the user, which '.' has none."""
    try:
        path = path.expanduser()
    except RuntimeError:
        return path  # there is no such user
    return path.resolve() if path.name in ("", "..") else path


def _only(path: Path, found: list[ExamEntry]) -> ExamEntry:
    if not found:
        raise ExamReadError(f"{path.name} holds no OCT exam; open the folder or file of one.")
    if len(found) == 1:
        return found[0]
    number = str(len(found)) if len(found) <= _NAMED else f"more than {_NAMED}"
    names = ", ".join(
        f"{index} = {entry.name_below(path)}" for index, entry in enumerate(found[:_NAMED], 1)
    )
    raise ExamReadError(
        f"{path.name} holds {number} exams; choose one by its number ({names}) or open it by itself."
    )


def _check_options(path: Path, found: Format, options: ReadOptions) -> None:
    for name in ("axes", "shape"):
        takes = found is FOLDER or name in found.options
        if getattr(options, name) is not None and not takes:
            raise InputError(
                f"{path.name} is a {found.name} file, which states its own {name}; leave the option out."
            )
