"""What goes into an index of embeddings and what comes out of it. numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import Laterality

LeaveOut = Literal["exam", "eye", "visit", "patient"]
LEAVE_OUT: tuple[LeaveOut, ...] = ("exam", "eye", "visit", "patient")


@dataclass(frozen=True)
class Identity:
    """Whose an exam is and of when, as an index knows it: nothing here tells who it is.

    Attributes
    ----------
    content : str
        Hash of the voxels and images.
    patient : str or None
        Salted hash of the id; None if the exam states none.
    visit_day : int or None
        Day on a calendar of the patient's own (``octcube_core.identity.shifted_day``).
    """

    content: str
    patient: str | None = None
    laterality: Laterality | None = None
    visit_day: int | None = None


@dataclass(frozen=True, eq=False)
class IndexedExam:
    """One exam as it goes into an index.

    Attributes
    ----------
    identity : Identity
    embeddings : by modality, float array of shape (features,); scaled to length 1 when stored
    device : str or None
    labels : tuple of str
        What is known of the eye, abbreviations of diseases say.
    scores : dict of str to float
        Probabilities by a model, by abbreviation.
    thumbnails : by modality, a small JPEG
    location : bytes or None
        Where the exam lies, encrypted (``octcube_core.retrieval.secret``).
    stamp : str or None
        Keyed hash of the file's place, size and time of change, by which an unchanged file is known again.
    """

    identity: Identity
    embeddings: Mapping[str, NDArray[np.floating]]
    device: str | None = None
    labels: tuple[str, ...] = ()
    scores: Mapping[str, float] = field(default_factory=dict)
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    location: bytes | None = None
    stamp: str | None = None


@dataclass(frozen=True)
class Filters:
    """Which of the archive's eyes may be found; None lets all through.

    Attributes
    ----------
    laterality : 'OD' or 'OS'
    device : str
        As the exams state it.
    label : str
        A label that the eye must have.
    leave_out : 'exam', 'eye', 'visit', 'patient' or None
        What of the query is not to be found: the exam itself, all exams of the same eye, all of the same visit (both
        eyes), or all of the same patient; the exam itself is part of each. None leaves nothing out. Where the query
        states no patient, only the exam itself can be left out.
    """

    laterality: Laterality | None = None
    device: str | None = None
    label: str | None = None
    leave_out: LeaveOut | None = "exam"

    def __post_init__(self) -> None:
        if self.laterality not in (None, "OD", "OS"):
            raise InputError(f"An eye is OD or OS, not {self.laterality!r}.")
        if self.leave_out not in (None, *LEAVE_OUT):
            raise InputError(
                f"What is left out is one of {', '.join(LEAVE_OUT)}, not {self.leave_out!r}."
            )


@dataclass(frozen=True)
class Location:
    """Where an exam lies: the file or folder, and which exam of it (``ExamEntry.part``)."""

    path: Path
    part: str = ""


@dataclass(frozen=True, eq=False)
class Neighbour:
    """An eye that was found.

    Attributes
    ----------
    similarity : float
        Cosine of the angle between the embeddings, in [-1, 1].
    item, exam : int
        Numbers of the embedding and of its exam in the index.
    modality : str
    identity : Identity
    location : Location or None
        None if it was not noted, or this computer has not the salt of the index.
    """

    similarity: float
    item: int
    exam: int
    modality: str
    identity: Identity
    device: str | None
    labels: tuple[str, ...]
    scores: Mapping[str, float]
    location: Location | None
