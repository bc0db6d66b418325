"""`Exam` -> DICOM, OME-TIFF or a folder of images; without the patient's identity unless it is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from octcube_core.errors import InputError

if TYPE_CHECKING:  # the command line asks for the names below whatever it does
    from octcube_core.exam import Exam

__all__ = ["TARGETS", "TRANSFER_SYNTAXES", "write_exam"]

TARGETS = ("dicom", "ome-tiff", "folder")
TRANSFER_SYNTAXES = ("explicit", "implicit", "jpeg2000", "jpegls", "rle")


def write_exam(
    exam: Exam,
    out: str | os.PathLike[str],
    to: str,
    *,
    keep_identity: bool = False,
    transfer_syntax: str = "explicit",
) -> tuple[str, ...]:
    """Write an exam; ``out`` appears whole or not at all.

    Parameters
    ----------
    exam : Exam
    out : str or path
        A folder, new or empty, for 'dicom' and 'folder'; a new file that ends in .ome.tif for 'ome-tiff'.
    to : 'dicom', 'ome-tiff' or 'folder'
        See `octcube_core.writers.dicom`, ``.ome_tiff`` and ``.folder`` for what each holds.
    keep_identity : bool
        Write name, id, birth date and date of the exam into the DICOM files.
    transfer_syntax : str
        How DICOM files are stored: one of ``TRANSFER_SYNTAXES``, all without loss.

    Returns
    -------
    tuple of str
        What the format could not say as the exam says it, and what differs when the export is opened, one sentence
        each.

    Raises
    ------
    InputError
        If an option is wrong or does not apply, ``out`` exists or cannot be written, or the format cannot hold the
        exam.
    """
    if to not in TARGETS:
        raise InputError(f"Unknown format {to!r} to write; choose one of {', '.join(TARGETS)}.")
    if transfer_syntax not in TRANSFER_SYNTAXES:
        known = ", ".join(TRANSFER_SYNTAXES)
        raise InputError(f"Unknown transfer syntax {transfer_syntax!r}; choose one of {known}.")
    if to != "dicom" and transfer_syntax != "explicit":
        raise InputError("Only DICOM files have a transfer syntax; leave the option out.")
    if to != "dicom" and keep_identity:
        raise InputError("Only DICOM files can keep the patient's identity; leave the option out.")
    from octcube_core.writers.displayable import displayable

    ready = displayable(exam)
    path = Path(out).expanduser()
    if to == "dicom":
        from octcube_core.writers.dicom import write_dicom

        return write_dicom(ready, path, keep_identity, transfer_syntax)
    if to == "ome-tiff":
        from octcube_core.writers.ome_tiff import write_ome_tiff

        return write_ome_tiff(ready, path)
    from octcube_core.writers.folder import write_folder

    return write_folder(ready, path)
