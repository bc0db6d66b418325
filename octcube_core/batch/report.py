"""What a run over many exams did. No torch."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(eq=False)
class TableReport:
    """What was done.

    Attributes
    ----------
    analysed : exams whose results were added
    known : exams that were in the table, unchanged
    failures : (name, one sentence) of exams that could not be read or analysed
    rows : exams in the table, of earlier runs too
    """

    analysed: int = 0
    known: int = 0
    failures: list[tuple[str, str]] = field(default_factory=list)
    rows: int = 0
