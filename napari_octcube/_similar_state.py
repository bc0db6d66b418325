"""What the tab of similar eyes shows, in plain Python. Widgets observe it and never each other. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from psygnal import SignalGroupDescriptor

from napari_octcube._archive import ArchiveFacts
from octcube_core.retrieval.archive_map import ArchiveMap
from octcube_core.retrieval.records import Filters, Identity, Neighbour
from octcube_core.retrieval.votes import LabelVote

NEIGHBOURS = 24


@dataclass(frozen=True, eq=False)
class Found:
    """The answer to one search.

    Attributes
    ----------
    by, to : modality of the query, and of the eyes that were found
    who : whom the query shows
    thumbnails : JPEG files by the number of the item
    """

    by: str
    to: str
    who: Identity
    neighbours: tuple[Neighbour, ...]
    thumbnails: dict[int, bytes]
    votes: tuple[LabelVote, ...]


@dataclass(frozen=True, eq=False)
class ShownMap:
    """The archive on a plane, with the eye in view.

    Attributes
    ----------
    labels : by the number of the exam
    names : tuple of str
        First labels that occur, the most frequent first.
    classes : int array, shape (n,)
        The place of each eye's first label in ``names``, -1 without one.
    here : place of the eye in view, None if it has none
    """

    archive_map: ArchiveMap
    modality: str
    method: str
    labels: dict[int, tuple[str, ...]]
    names: tuple[str, ...]
    classes: NDArray[np.int64]
    here: NDArray[np.float32] | None = None


@dataclass(eq=False)
class SimilarState:
    """What is open, asked, found and going on; ``state.events.<field>`` tells when a field changes.

    Attributes
    ----------
    archive : ArchiveFacts or None
        The open index.
    by, to : str
        Modality of the query, and of the eyes to look among.
    filters : Filters
    count : int
        How many neighbours.
    found : Found or None
        What the last search for the exam in view gave.
    selected : Neighbour or None
    busy : str
        What the user waits for; empty when nothing.
    indexing, fraction : str, float
        How far the indexing of a folder is; empty when none runs.
    new_model : str
        Name of the model by which a new index is made.
    map : ShownMap or None
    beside : Neighbour or None
        The one that is open beside the exam.
    note, error : str
        The last piece of news and the last failure, in one sentence each.
    """

    archive: ArchiveFacts | None = None
    by: str = "OCT"
    to: str = "OCT"
    filters: Filters = field(default_factory=lambda: Filters(leave_out="patient"))
    count: int = NEIGHBOURS
    found: Found | None = None
    selected: Neighbour | None = None
    busy: str = ""
    indexing: str = ""
    fraction: float = 0.0
    new_model: str = "demo-coep"
    map: ShownMap | None = None
    beside: Neighbour | None = None
    note: str = ""
    error: str = ""

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()
