"""Labels of a store's exams, from the manifest itself or from a user's CSV or Parquet file."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from lightning.pytorch.utilities import rank_zero_info

from octcube_core.errors import InputError
from train.data.label_file import align, read_table
from train.data.label_values import classes_of, parse
from train.data.store import VolumeStore

Kind = Literal["binary", "multiclass", "regression"]


@dataclass
class Labels:
    """What a supervised task learns.

    Parameters
    ----------
    kind : "binary" (each column is a task of its own: present or absent), "multiclass" (one column, one class per
        exam) or "regression" (numbers)
    columns : label columns, in the order of the model's outputs; empty for every column of the file but the key, which
        ``table`` then sets this attribute to
    file : CSV or Parquet file with a row per ``key``; None takes columns of the store's manifest
    key : columns by which the file's rows find their exams: any of patient, eye, visit, laterality, or another of the
        manifest. Under ``patient`` the file may have the raw ids, which are hashed with the store's salt
    classes : of the multi-class task, in the order of the model's outputs; None finds them (numbers in their order,
        words in that of the alphabet), and ``table`` then sets this attribute to what it found
    auxiliary : columns of a regression that are learnt beside the main ones, with the weight of their loss
    """

    kind: Kind
    columns: list[str]
    file: str | None = None
    key: list[str] = field(default_factory=lambda: ["patient"])
    classes: list[str] | None = None
    auxiliary: dict[str, float] = field(default_factory=dict)

    @property
    def all_columns(self) -> list[str]:
        """Main columns, then auxiliary ones."""
        return [*self.columns, *self.auxiliary]

    def table(self, store: VolumeStore) -> pd.DataFrame:
        """Labels of every exam.

        Binary labels are 0 and 1, those of classes the number of the class, unknown ones NaN. How many exams have
        labels is logged.

        Returns
        -------
        DataFrame of float32, with the manifest's index; ``columns``, then ``auxiliary``

        Raises
        ------
        InputError
            If columns are missing, rows contradict each other, a value is not of the kind, or no exam gets a label.
        """
        self._check()
        if self.file is None:
            source, name, rows = store.manifest, "The store's manifest", "row"
        else:
            source, name, rows = read_table(Path(self.file)), self.file, "line"
        if not self.columns:
            self.columns = [
                column
                for column in source.columns
                if column not in self.key and column not in self.auxiliary
            ]
        if missing := [column for column in self.all_columns if column not in source.columns]:
            raise InputError(
                f"{name} has no column {missing[0]!r} of labels; it has {_listed(source.columns)}."
            )
        if self.kind == "multiclass" and self.classes is None:
            self.classes = classes_of(source[self.columns[0]])
        values = pd.DataFrame(
            {
                column: parse(source[column], self.kind, self.classes, f"{name}, {rows}")
                for column in self.all_columns
            }
        )
        unmatched = 0
        if self.file is not None:
            values, unmatched = align(values, source, store, self.key, name)
        table = values.set_axis(store.manifest.index).astype(np.float32)
        if not table.notna().any(axis=None):
            raise InputError(f"{name} has no known label in {_listed(self.all_columns)}.")
        rank_zero_info(f"{name}: {self._counted(table, unmatched)}.")
        return table

    def _counted(self, table: pd.DataFrame, unmatched: int) -> str:
        """How many exams have labels, and what may be a misunderstanding: fewer in some columns, other classes."""
        labelled = int(table.notna().any(axis=1).sum())
        text = f"labels for {labelled} of {len(table)} exams"
        if self.classes is not None:
            counts = table[self.columns[0]].value_counts()
            found = [f"{each} {counts.get(n, 0)}" for n, each in enumerate(self.classes)]
            text += f" ({_listed(found)})"
        known = table.notna().sum()
        if fewer := [f"{each} {known[each]}" for each in table if known[each] < labelled]:
            text += f", fewer for {_listed(fewer)}"
        if unmatched:
            text += f"; {unmatched} of its rows belong to no exam of the store"
        return text

    def _check(self) -> None:
        if not self.columns and self.file is None:
            raise InputError("labels.columns is empty; name at least one column of the manifest.")
        if len(set(self.all_columns)) < len(self.all_columns):
            raise InputError("A label column is named twice; name each once.")
        if self.kind == "multiclass" and len(self.columns) != 1:
            raise InputError(
                f"A multi-class task has one label column, not {len(self.columns)}; for several labels that may be "
                "present together take kind: binary."
            )
        if self.classes is not None and self.kind != "multiclass":
            raise InputError("labels.classes belongs to kind: multiclass; leave it out.")
        if self.auxiliary and self.kind != "regression":
            raise InputError("labels.auxiliary belongs to kind: regression; leave it out.")
        if not all(0 <= weight < np.inf for weight in self.auxiliary.values()):
            raise InputError("The weights of labels.auxiliary are numbers from 0.")
        if self.file is not None and not self.key:
            raise InputError(
                "labels.key is empty; name the column that joins the file's rows to exams."
            )


def _listed(names: object, most: int = 12) -> str:
    texts = [str(name) for name in names]  # type: ignore[attr-defined]
    return ", ".join(texts[:most]) + (f" and {len(texts) - most} more" if len(texts) > most else "")
