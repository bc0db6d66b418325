"""Cells of a label table as numbers: yes and no, classes, measured values."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from octcube_core.errors import InputError

YES = frozenset({"1", "yes", "y", "true", "t", "positive", "present"})
NO = frozenset({"0", "no", "n", "false", "f", "negative", "absent"})
UNKNOWN = frozenset({"", "na", "n/a", "nan", "null", "none", "unknown", "<na>"})
UNKNOWN_CLASS = UNKNOWN - {"none"}  # which may be a grade


def parse(
    cells: pd.Series, kind: str, classes: list[str] | None, place: str
) -> NDArray[np.float64]:
    """Cells as numbers, NaN for unknown ones.

    Parameters
    ----------
    cells : words or numbers; their index is the line that an error names
    kind : "binary", "multiclass" or "regression"
    classes : of the multi-class task
    place : what stands before the line's number in an error

    Raises
    ------
    InputError
        Naming the first cell that is not of the kind.
    """
    unknown = UNKNOWN
    if kind == "multiclass":
        unknown = UNKNOWN_CLASS - {name.lower() for name in classes or ()}
    texts = cells_as_text(cells, unknown)
    if kind == "regression":
        values = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64, na_value=np.nan)
        values = np.where(np.isfinite(values), values, np.nan)
        wanted = "a number"
    else:
        codes = _codes(kind, classes)
        folded = texts.str.lower() if kind == "binary" else texts
        values = folded.map(codes).to_numpy(np.float64, na_value=np.nan)
        wanted = (
            "0 or 1, yes or no" if kind == "binary" else f"one of {', '.join(list(codes)[:12])}"
        )
    wrong = np.isnan(values) & texts.notna().to_numpy()
    if wrong.any():
        first = int(wrong.argmax())
        raise InputError(
            f"{place} {cells.index[first]}: {cells.name} is {texts.iloc[first]!r} where {wanted} belongs "
            f"({int(wrong.sum())} such in the column); correct it or leave it empty."
        )
    return values


def cells_as_text(cells: pd.Series, unknown: frozenset[str] = UNKNOWN) -> pd.Series:
    """Cells as stripped text, whole numbers without a point ('2.0' is '2'), unknown ones as missing."""
    if pd.api.types.is_bool_dtype(cells.dtype):
        cells = cells.astype("Int64")
    elif pd.api.types.is_numeric_dtype(cells.dtype):
        cells = pd.Series(
            [_number_text(value) for value in cells], index=cells.index, name=cells.name
        )
    texts = cells.astype("string").str.strip()
    texts = texts.str.replace(r"^([+-]?\d+)\.0+$", r"\1", regex=True)
    return texts.mask(texts.str.lower().isin(unknown))


def classes_of(cells: pd.Series) -> list[str]:
    """The distinct known cells: numbers in their order, else words in that of the alphabet."""
    found = cells_as_text(cells, UNKNOWN_CLASS).dropna().unique().tolist()
    try:
        return sorted(found, key=float)
    except ValueError:
        return sorted(found)


def _codes(kind: str, classes: list[str] | None) -> dict[str, float]:
    if kind == "binary":
        return {**dict.fromkeys(NO, 0.0), **dict.fromkeys(YES, 1.0)}
    assert classes is not None
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise InputError(
            f"A multi-class task needs at least two distinct classes, not {', '.join(classes) or 'none'}."
        )
    return {name: float(number) for number, name in enumerate(classes)}


def _number_text(value: object) -> str | None:
    if pd.isna(value):  # type: ignore[call-overload]
        return None
    number = float(value)  # type: ignore[arg-type]
    return str(int(number)) if number.is_integer() else repr(number)
