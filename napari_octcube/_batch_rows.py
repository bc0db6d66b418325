"""The results of many exams as a table shows them. No Qt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from natsort import natsort_keygen, ns

from octcube_core.batch.columns import PROBABILITY, VALUE

UNKNOWN = "–"
_natural = natsort_keygen(alg=ns.IGNORECASE)


class BatchRow:
    """One exam of a table of results.

    Attributes
    ----------
    path, part : str
        Where it is and which exam of there.
    name : str
        The same as seen from the folder that is analysed.
    values : mapping of str to value
        By column of the table.
    """

    def __init__(self, values: Mapping[str, Any], folder: Path) -> None:
        self.path: str = values["path"]
        self.part: str = values["part"] or ""
        self.name = _name_below(folder, self.path, self.part)
        self.values = values
        self.sort_name = _natural(self.name)

    @property
    def key(self) -> tuple[str, str]:
        """Which exam it is."""
        return self.path, self.part

    @property
    def error(self) -> str:
        """Why there are no results; empty if there are."""
        return self.values["error"] or ""

    @property
    def remarks(self) -> str:
        """What a reader of the results should know."""
        said = (self.values[name] for name in ("error", "notes", "warnings"))
        return " ".join(text for text in said if text)


@dataclass(frozen=True)
class ShownColumn:
    """A column on the screen.

    Attributes
    ----------
    title, tip : str
    name : str
        Of the column of the table; empty for what is made of several.
    is_number : bool
        Whether it is sorted and aligned as a number.
    disease : str
        Abbreviation of the disease that it is about.
    """

    title: str
    tip: str
    name: str = ""
    is_number: bool = False
    disease: str = ""

    def text(self, row: BatchRow) -> str:
        """What stands in the cell of a row."""
        if not self.name:
            return row.remarks
        if self.name == "path":
            return f"⚠ {row.name}" if row.error else row.name
        value = row.values.get(self.name)
        if value is None:
            return "" if row.error else UNKNOWN
        if self.name == "key_bscan":
            return str(value + 1)
        return f"{value:.3f}" if isinstance(value, float) else str(value)

    def sort_key(self, row: BatchRow) -> Any:
        """What a row is sorted by; None goes to the end, whichever way."""
        if self.name == "path":
            return row.sort_name
        if not self.name:
            return row.remarks.lower() or None
        value = row.values.get(self.name)
        return value if self.is_number or value is None else str(value).lower()

    def is_present(self, row: BatchRow) -> bool:
        """Whether the disease of this column reaches its threshold."""
        return bool(self.disease) and self.disease in (row.values.get("present") or "").split("; ")


def shown_columns(
    names: Sequence[str], about: Mapping[str, Mapping[str, Any]]
) -> tuple[ShownColumn, ...]:
    """The columns on the screen for those of a table, with what a model says of its own."""
    diseases = [
        _disease(name, about.get(name, {})) for name in names if name.startswith(PROBABILITY)
    ]
    values = [_value(name, about.get(name, {})) for name in names if name.startswith(VALUE)]
    normal = (
        [ShownColumn("Normal", "Probability of a normal eye", "normal_probability", True)]
        if len(diseases) > 1
        else []
    )
    return (
        ShownColumn("Exam", "File or folder of the exam; a double click opens it", "path"),
        ShownColumn("Eye", "OD is the right eye, OS the left one", "eye"),
        ShownColumn("Scan", "The pattern that the B-scans form", "scan_pattern"),
        *diseases,
        *normal,
        *values,
        ShownColumn(
            "B-scan", "The B-scan that says most, counted from 1", "key_bscan", is_number=True
        ),
        ShownColumn("Remarks", "Why there are no results, or what to know about them"),
    )


def _disease(name: str, about: Mapping[str, Any]) -> ShownColumn:
    abbreviation = name.removeprefix(PROBABILITY)
    tip = f"Probability of {about.get('name', abbreviation)}"
    if "threshold" in about:
        tip += f"; bold from its threshold of {about['threshold']:.2f}"
    return ShownColumn(abbreviation, tip, name, True, abbreviation)


def _value(name: str, about: Mapping[str, Any]) -> ShownColumn:
    title = name.removeprefix(VALUE)
    return ShownColumn(title, about.get("name", title), name, True)


def _name_below(folder: Path, path: str, part: str) -> str:
    try:
        name = Path(path).relative_to(folder.resolve()).as_posix()
    except ValueError:  # of another folder, in a table that goes on
        name = path
    name = Path(path).name if name == "." else name
    return f"{name} ({part})" if part else name
