"""From a neighbour back to its exam."""

from __future__ import annotations

from octcube_core.errors import ExamReadError, InputError
from octcube_core.exam import Exam
from octcube_core.readers import find_exams
from octcube_core.retrieval.records import Neighbour
from octcube_core.retrieval.secret import Secret


def reopen(neighbour: Neighbour, secret: Secret | None) -> Exam:
    """Read a neighbour's exam from where it was when it was indexed.

    Parameters
    ----------
    neighbour : Neighbour
    secret : Secret or None
        Of the index (``EmbeddingIndex.secret``).

    Raises
    ------
    InputError
        If the place is unknown, or another exam lies there now.
    ExamReadError
        If there is no exam, or it cannot be read.
    """
    where = neighbour.location
    if secret is None:
        raise InputError(
            "This computer has not the salt of the archive, so it cannot tell where the exam lies; copy the salt from"
            " where the archive was made (octcube index --db ... shows it, --salt FILE takes it)."
        )
    if where is None:
        raise InputError(
            "The archive does not know where this exam lies; it was added without a file."
        )
    if not where.path.exists():
        raise ExamReadError(
            f"{where.path} is no longer there; index the folder in which the exam lies now, and it is found again."
        )
    entries = list(find_exams(where.path))
    # An exam that was added by itself does not say which of its file it is.
    likely = [entry for entry in entries if entry.part == where.part] or entries
    for entry in likely:
        exam = entry.read()
        if secret.content(exam) == neighbour.identity.content:
            return exam
    raise InputError(
        f"Another exam lies at {where.path} than when it was indexed; index its folder again."
    )
