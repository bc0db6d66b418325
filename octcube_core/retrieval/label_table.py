"""What is known of the eyes in an archive, from a table: one row per exam."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

from octcube_core.errors import InputError

PATH, LABELS = "path", "labels"
_PRESENT, _ABSENT = {"1", "1.0", "true", "yes"}, {"", "0", "0.0", "false", "no", "nan"}


class LabelTable:
    """Labels by the path of the exam's file, or of a folder that holds it."""

    def __init__(self, labels: Mapping[Path, tuple[str, ...]] | None = None) -> None:
        self._labels = dict(labels or {})

    def __len__(self) -> int:
        return len(self._labels)

    def of(self, path: Path) -> tuple[str, ...]:
        """Labels of an exam's file, or of the nearest folder around it that the table names; none if there is none."""
        return self.named(path) or ()

    def named(self, path: Path) -> tuple[str, ...] | None:
        """The same; None if the table names neither the file nor a folder around it."""
        place = path.resolve()
        named = (each for each in (place, *place.parents) if each in self._labels)
        return self._labels.get(next(named, place))

    @classmethod
    def read(cls, file: Path) -> LabelTable:
        """Read a CSV or TSV file.

        Its column ``path`` names the exams, relative to the table's folder or absolute. Beside it there is a column
        ``labels`` with words separated by semicolons, or a column of 0 and 1 for each label.

        Raises
        ------
        InputError
            If it cannot be read or has no such columns.
        """
        try:
            with file.open(newline="", encoding="utf-8-sig") as opened:
                separator = "\t" if "\t" in opened.readline() else ","
                opened.seek(0)
                rows = list(csv.DictReader(opened, delimiter=separator))
        except OSError as error:
            raise InputError(f"The labels {file} cannot be read ({error.strerror}).") from error
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{file} is no table of labels (CSV in UTF-8).") from error
        if not rows or PATH not in rows[0]:
            raise InputError(
                f"{file.name} needs a column {PATH!r}, and a column {LABELS!r} or one of 0 and 1 for each label."
            )
        folder = file.absolute().parent
        labels: dict[Path, tuple[str, ...]] = {}
        for number, row in enumerate(rows, start=2):
            place = (row[PATH] or "").strip()
            if not place or "\0" in place:
                raise InputError(
                    f"Line {number} of {file.name} names no file or folder of an exam."
                )
            path = (folder / place).resolve()
            labels[path] = labels.get(path, ()) + _labels_of(row, number, file)
        return cls(labels)


def _labels_of(row: Mapping[str, str], number: int, file: Path) -> tuple[str, ...]:
    if LABELS in row:
        return tuple(word.strip() for word in (row[LABELS] or "").split(";") if word.strip())
    found = []
    for name, value in row.items():
        if name in (PATH, None):
            continue
        word = (value or "").strip().lower()
        if word in _PRESENT:
            found.append(name)
        elif word not in _ABSENT:
            raise InputError(
                f"Line {number} of {file.name} has {value!r} in column {name!r}; give 0 or 1, or remove the column."
            )
    return tuple(found)
