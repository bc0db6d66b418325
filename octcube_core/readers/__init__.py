"""Any supported OCT file or folder -> `Exam`.

Formats are told apart by their content; the suffix matters only where a format has no signature.
Each format has one module with ``read(path) -> Exam``, imported when a file of it is opened, so
that importing this package loads no image library.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam
from octcube_core.readers.failures import reading

__all__ = ["detect_format", "read_exam"]

_HEAD_BYTES = 132  # up to the end of DICOM's signature
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_IMAGE = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM")
_CLAIMING_SUFFIXES = {".dcm", ".dicom", ".tif", ".tiff", ".npy", ".png", ".jpg", ".jpeg", ".bmp"}


class _ReaderModule(Protocol):
    def read(self, path: Path) -> Exam: ...


@dataclass(frozen=True)
class _Format:
    name: str
    module: str
    matches: Callable[[bytes, Path], bool]


def _is_dicom(head: bytes, path: Path) -> bool:
    if head[128:132] == b"DICM":
        return True
    # Some exports lack the preamble and start with group 0002 or 0008, little endian.
    return path.suffix.lower() in (".dcm", ".dicom") and head[:2] in (b"\x02\0", b"\x08\0")


_FORMATS = (
    _Format("DICOM", "dicom", _is_dicom),
    _Format("TIFF", "tiff", lambda head, _: head.startswith(_TIFF)),
    _Format("NumPy", "numpy_file", lambda head, _: head.startswith(b"\x93NUMPY")),
    _Format("image", "image", lambda head, _: head.startswith(_IMAGE)),
)
_FOLDER = _Format("folder", "folder", lambda _head, path: path.is_dir())


def _find_format(path: Path) -> _Format | None:
    if path.is_dir():
        return _FOLDER
    if not path.is_file():
        return None  # a pipe or a device would block
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    return next((entry for entry in _FORMATS if entry.matches(head, path)), None)


def detect_format(path: str | os.PathLike[str]) -> str | None:
    """Name of the format of a file or folder, or None if it is none that can be read.

    A folder is always 'folder', whatever it holds. Never raises: an unreadable path gives None.
    """
    try:
        found = _find_format(Path(path).expanduser())
    except (OSError, ValueError, RuntimeError):
        return None
    return found.name if found else None


def read_exam(path: str | os.PathLike[str]) -> Exam:
    """Read one eye's exam.

    Parameters
    ----------
    path : str or path
        A DICOM, TIFF or OME-TIFF, NumPy (.npy) or image file, or a folder of B-scan images.

    Returns
    -------
    Exam
        ``volume.voxels`` has shape (bscan, depth, width); spacings are in mm and None where the
        file does not state them. ``warnings`` says what a user should know about the file.

    Raises
    ------
    ExamReadError
        If the path is missing, unreadable, damaged or of no supported format, in one sentence.
    """
    path = Path(path)
    with reading(path, "an OCT exam"):
        path = path.expanduser()
        if path.name in ("", ".."):
            path = path.resolve()  # '.' has no name to tell the user
        if not path.exists():
            raise ExamReadError(f"{path} does not exist; check the path.")
        found = _find_format(path)
        if found is None:
            raise ExamReadError(_unknown_format(path))
        module = importlib.import_module(f"{__name__}.{found.module}")
        try:
            return cast(_ReaderModule, module).read(path)
        except ExamReadError as error:
            if path.name in str(error):
                raise
            raise ExamReadError(f"{path.name}: {error}") from None
    raise AssertionError("unreachable")


def _unknown_format(path: Path) -> str:
    if path.is_file() and path.stat().st_size == 0:
        return f"{path.name} is empty; export or copy it again."
    supported = "a DICOM, TIFF, OME-TIFF, NumPy (.npy) or image file, or a folder of B-scan images"
    if path.suffix.lower() in _CLAIMING_SUFFIXES:
        return f"{path.name} is no {path.suffix} file inside, whatever its name; open {supported}."
    return f"{path.name} is of a format that is not supported; open {supported}."
