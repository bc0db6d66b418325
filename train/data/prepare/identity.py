"""What of a patient's identity a store may hold: salted hashes and the order of visits, nothing else."""

from __future__ import annotations

import re

from octcube_core.exam import Patient
from octcube_core.identity import patient_hash


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
