"""A table of results as a file: Parquet or CSV, by the suffix of its name."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from octcube_core.batch.columns import Columns, Row
from octcube_core.errors import InputError
from octcube_core.whole_file import whole_file

SUFFIXES = (".parquet", ".csv")
_ABOUT = b"octcube"  # in the metadata of a Parquet file


def is_table(path: Path) -> bool:
    """Whether results are to be written to this path as a table."""
    return path.suffix.lower() in SUFFIXES


def write_table(
    path: Path, columns: Columns, rows: Sequence[Row], about: Mapping[str, Any]
) -> None:
    """Write a table; it appears when it is whole. InputError if it cannot be written."""
    write = _write_csv if path.suffix.lower() == ".csv" else _write_parquet
    try:
        with whole_file(path) as partial:
            write(partial, columns, rows, about)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).") from error


def read_table(path: Path, columns: Columns) -> list[Row]:
    """The rows of a table that ``write_table`` wrote.

    Raises
    ------
    InputError
        If it is none, or has other columns: it was made with another model or other options.
    """
    read = _read_csv if path.suffix.lower() == ".csv" else _read_parquet
    try:
        names, rows = read(path, columns)
    except (OSError, ValueError, KeyError, csv.Error) as error:  # pyarrow's are among them
        raise InputError(
            f"{path.name} cannot be read as a table of results ({type(error).__name__}); name another file."
        ) from None
    check_columns(path, names, columns)
    return rows


def check_columns(path: Path, names: Sequence[str], columns: Columns) -> None:
    """Raise InputError if results cannot be added to those that are there."""
    if list(names) != list(columns.types):
        raise InputError(
            f"{path.name} has other columns than the results of this model with these options;"
            " go on with the same model and options or name another file."
        )


def _write_parquet(
    path: Path, columns: Columns, rows: Sequence[Row], about: Mapping[str, Any]
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema(
        [(name, kinds[kind]) for name, kind in columns.types.items()],
        metadata={_ABOUT: json.dumps(about).encode()},
    )
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path)


def _read_parquet(path: Path, columns: Columns) -> tuple[list[str], list[Row]]:
    import pyarrow.parquet as pq

    # Of this file alone: read_table would take a folder's names for columns.
    table = pq.ParquetFile(path).read()
    return table.column_names, table.to_pylist()


def _write_csv(path: Path, columns: Columns, rows: Sequence[Row], about: Mapping[str, Any]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(columns.types))
        writer.writeheader()
        writer.writerows(rows)


def _read_csv(path: Path, columns: Columns) -> tuple[list[str], list[Row]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = list(reader.fieldnames or ())
        if names != list(columns.types):
            return names, []
        return names, [
            {name: _parsed(row[name], kind) for name, kind in columns.types.items()}
            for row in reader
        ]


def _parsed(text: str, kind: type) -> Any:
    parse: Callable[[str], Any] = (lambda text: text == "True") if kind is bool else kind
    return parse(text) if text else None
