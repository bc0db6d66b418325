"""Filters as SQL: which rows of the tables may be found."""

from __future__ import annotations

from typing import Any

from octcube_core.retrieval.records import Filters, Identity


def conditions(filters: Filters, of: Identity | None) -> tuple[str, list[Any]]:
    """Conditions on an exam ``e``, each after AND, and their values; ``of`` is whom the query shows."""
    found: list[str] = []
    values: list[Any] = []

    def require(condition: str, *given: Any) -> None:
        found.append(f"AND {condition}")
        values.extend(given)

    if filters.laterality is not None:
        require("e.laterality = %s", filters.laterality)
    if filters.device is not None:
        require("e.device = %s", filters.device)
    if filters.label is not None:
        require(
            "EXISTS (SELECT 1 FROM labels l WHERE l.exam = e.id AND l.label = %s)", filters.label
        )
    if filters.leave_out is not None and of is not None:
        require("e.content <> %s", of.content)
        if filters.leave_out != "exam" and of.patient is not None:
            same, given = _same(filters, of)
            # Of an unknown patient, the comparison is unknown: not the same.
            require(f"({same}) IS NOT TRUE", *given)
    return " ".join(found), values


def _same(filters: Filters, of: Identity) -> tuple[str, list[Any]]:
    """What an exam must be to be left out with the query."""
    if filters.leave_out == "eye" and of.laterality is not None:
        side = "(e.laterality IS NULL OR e.laterality = %s)"
        return f"e.patient = %s AND {side}", [of.patient, of.laterality]
    if filters.leave_out == "visit" and of.visit_day is not None:
        day = "(e.visit_day IS NULL OR e.visit_day = %s)"
        return f"e.patient = %s AND {day}", [of.patient, of.visit_day]
    return "e.patient = %s", [of.patient]
