"""What the most similar eyes have: the labels of the neighbours, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from octcube_core.retrieval.records import Neighbour


@dataclass(frozen=True)
class LabelVote:
    """How many of the labelled neighbours have a label."""

    label: str
    count: int
    of: int

    @property
    def share(self) -> float:
        """Part of the labelled neighbours, in [0, 1]."""
        return self.count / self.of


def label_votes(neighbours: Sequence[Neighbour]) -> tuple[LabelVote, ...]:
    """Count the neighbours' labels, the most frequent first; an exam that came by two images votes once.

    Neighbours without any label are unknown, not healthy: they are not counted.
    """
    exams = {neighbour.exam: neighbour.labels for neighbour in neighbours if neighbour.labels}
    counts = Counter(label for labels in exams.values() for label in labels)
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return tuple(LabelVote(label, count, len(exams)) for label, count in ranked)
