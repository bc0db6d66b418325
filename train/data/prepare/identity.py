"""What of a patient's identity a store may hold: salted hashes and the order of visits, nothing else.

The salt is a random text in the store's folder, readable by its owner alone. It is needed to join labels by patient;
whoever publishes a store leaves it out. With ``--salt-file`` several stores share one, so that a patient has the same
hash in all of them.
"""

from __future__ import annotations

import os
import re
import secrets
from datetime import date
from pathlib import Path

from octcube_core.errors import InputError
from octcube_core.exam import Patient
from train.data.patient_hash import patient_hash

_SHIFT_DAYS = 36525  # a century, by at most which dates are moved


def read_salt_file(path: Path) -> str:
    """The salt in a user's file; made, readable by its owner alone, if there is no such file."""
    if not path.exists():
        write_salt(path, secrets.token_hex(16))
    salt = path.read_text(encoding="utf-8", errors="replace").strip()
    if len(salt) < 16:
        raise InputError(
            f"{path} holds no salt of at least 16 characters; name a file that does not exist to have one made."
        )
    return salt


def write_salt(path: Path, salt: str) -> None:
    """Write a salt so that only its owner can read it, at no time anyone else."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(f"{salt}\n")


def shifted_day(exam_date: str | None, patient: str, salt: str) -> int | None:
    """The day of an exam on a calendar of the patient's own: what orders visits without telling when they were.

    Parameters
    ----------
    exam_date : ISO or DICOM date
    patient, salt : the raw id and the salt, which decide how far the calendar is moved

    Returns
    -------
    int or None
        None if the date is unknown or none.
    """
    digits = re.sub(r"\D", "", exam_date or "")[:8]
    try:
        day = date.fromisoformat(digits)
    except ValueError:
        return None
    shift = int(patient_hash(f"calendar of {patient.strip()}", salt), 16) % _SHIFT_DAYS
    return day.toordinal() + shift


def without_identity(text: str, patient: Patient, identifier: str | None, salt: str) -> str:
    """Replace what tells who a patient is, in a path or a sentence, by the hash that the manifest would have.

    Parameters
    ----------
    text : str
    patient : as far as the file tells
    identifier : id by the layout of the folders, if known
    """
    ids = [word for word in (patient.id, identifier) if word]
    names = [part for part in re.split(r"[\^\s,=]+", patient.name or "") if len(part) > 2]
    dates = [day for day in (patient.birth_date, patient.exam_date) if day]
    dates += [re.sub(r"\D", "", day) for day in dates]
    for word in sorted({*ids, *names, *dates} - {""}, key=len, reverse=True):
        replacement = patient_hash(word, salt) if word in ids else "..."
        text = re.sub(
            rf"(?<![^\W_]){re.escape(word.strip())}(?![^\W_])",
            replacement,
            text,
            flags=re.IGNORECASE,
        )
    return text
