"""A user's table of labels, and which of its rows belongs to which exam of a store."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from octcube_core.errors import InputError
from octcube_core.identity import patient_hash
from train.data.label_values import cells_as_text
from train.data.store import VolumeStore

_SIDES = {"r": "OD", "right": "OD", "od": "OD", "l": "OS", "left": "OS", "os": "OS"}


def read_table(path: Path) -> pd.DataFrame:
    """A CSV (cells as text) or Parquet table; the index is the line of the file, or the row from 1.

    Raises
    ------
    InputError
        If there is no such file, or it is no such table.
    """
    if not path.is_file():
        raise InputError(f"There is no file {path} of labels.")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            table, first = pd.read_parquet(path), 1
        else:
            separator = "\t" if path.suffix.lower() == ".tsv" else ","
            # As text: ids keep their leading zeros, and "None" may be a class.
            table = pd.read_csv(
                path, sep=separator, dtype="string", keep_default_na=False, encoding="utf-8-sig"
            )
            first = 2
    except (ValueError, OSError, pd.errors.ParserError) as error:
        raise InputError(f"{path} is no table of CSV or Parquet ({_short(error)}).") from error
    table.columns = [str(column).strip() for column in table.columns]
    if table.empty:
        raise InputError(f"{path} has no rows.")
    table.index = pd.RangeIndex(first, first + len(table))
    return table


def align(
    values: pd.DataFrame, source: pd.DataFrame, store: VolumeStore, key: list[str], name: str
) -> tuple[pd.DataFrame, int]:
    """Bring labels of a file's rows to the exams of a store.

    Parameters
    ----------
    values : parsed labels, a row per line of ``source``
    source : the file's table
    store : whose manifest and salt
    key : columns of both
    name : of the file, for errors

    Returns
    -------
    table : values with the manifest's index, NaN where the file has no row
    unmatched : number of the file's rows that belong to no exam

    Raises
    ------
    InputError
        If a key column is missing, two lines of one key contradict each other, or nothing matches.
    """
    manifest = store.manifest
    for table, where in ((source, name), (manifest, "The store's manifest")):
        if missing := [column for column in key if column not in table.columns]:
            raise InputError(f"{where} has no column {missing[0]!r}, which labels.key asks for.")
    theirs = _keys(source, key, store)
    ours = _keys(manifest, key, None)
    values = values.set_axis(source.index)
    known = theirs.notna()
    one_each = _one_row_each(values[known], theirs[known], name)
    matched = theirs.isin(set(ours.dropna()))
    if not matched.any():
        raise InputError(
            f"No row of {name} has the {' and '.join(key)} of an exam of the store; check labels.key, and that the "
            "ids are written as in the exams."
        )
    return one_each.reindex(ours).set_axis(manifest.index), int((~matched).sum())


def _keys(table: pd.DataFrame, key: list[str], store: VolumeStore | None) -> pd.Series:
    """A text for each row that is the same for the same key, missing where a part is missing.

    With a store, the column ``patient`` may hold raw ids.
    """
    parts = []
    for column in key:
        texts = cells_as_text(table[column])
        if column == "laterality":
            texts = texts.str.lower().map(_SIDES)
        if column == "patient" and store is not None:
            texts = patients_in_store(texts, store)
        parts.append(texts)
    joined = parts[0].astype("string")
    for part in parts[1:]:
        joined = joined.str.cat(part.astype("string"), sep="\x1f")
    return joined


def patients_in_store(patients: pd.Series, store: VolumeStore) -> pd.Series:
    """Patients as the manifest calls them, whether given so or by their raw ids."""
    known = set(store.manifest["patient"].astype("string"))
    return patients.map(
        lambda text: text if pd.isna(text) or text in known else patient_hash(text, store.salt)
    )


def _one_row_each(values: pd.DataFrame, keys: pd.Series, name: str) -> pd.DataFrame:
    """One row per key; several lines of a key may complete each other, but not contradict."""
    groups = values.groupby(keys.to_numpy())
    lowest, highest = groups.min(), groups.max()
    contradictory = (lowest.to_numpy() < highest.to_numpy()).any(axis=1)
    if contradictory.any():
        first = lowest.index[contradictory.argmax()]
        column = values.columns[(lowest.loc[first] < highest.loc[first]).argmax()]
        cells = values.loc[keys.to_numpy() == first, column].dropna()
        other = cells.index[(cells != cells.iloc[0]).to_numpy().argmax()]
        raise InputError(
            f"{name} contradicts itself: lines {cells.index[0]} and {other} have the same key and another {column}; "
            "keep one of them, or add a column such as visit or laterality to labels.key."
        )
    return lowest


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
