"""What may be kept of who a patient is and when an exam was: salted hashes, and days on a calendar of their own.

Nobody without the salt, a random text, gets an id or a date back.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import date

_SHIFT_DAYS = 36525  # a century, by at most which dates are moved


def patient_hash(identifier: str, salt: str) -> str:
    """Hash of a patient's id: 64 bits of HMAC-SHA-256 (RFC 2104) in hexadecimal; spaces around the id do not count."""
    digest = hmac.new(salt.encode(), identifier.strip().encode(), hashlib.sha256)
    return digest.hexdigest()[:16]


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
