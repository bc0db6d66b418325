"""``python -m train icd-labels``: diagnosis codes of patients as labels, one column per ICD-10 category."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from octcube_core.checkpoints.card import Label
from octcube_core.errors import InputError
from octcube_core.whole_file import whole_file
from train.data.icd import categories, category_name
from train.data.label_file import patients_in_store, read_table
from train.data.label_values import cells_as_text
from train.data.salt import SALT
from train.data.store import VolumeStore

SHOWN = 10  # unmapped codes that are named


@dataclass(frozen=True)
class CodeLabels:
    """What came out of a table of codes.

    Attributes
    ----------
    table : column ``patient``, then one of 0 and 1 for each label, in the order of ``labels``
    labels : for a model card; the abbreviation is the category
    rows : of the table of codes with a patient and a code
    unmapped : codes without a category, and how many rows have each
    rare : number of categories that fewer patients have than the minimum
    """

    table: pd.DataFrame
    labels: tuple[Label, ...]
    rows: int
    unmapped: Counter[str]
    rare: int


def main(argv: list[str]) -> None:
    """Parse the arguments, make the labels, say what could not be mapped."""
    parser = argparse.ArgumentParser(prog="python -m train icd-labels", description=__doc__)
    parser.add_argument(
        "codes",
        type=Path,
        help="CSV or Parquet, a row per diagnosis: patient, code, perhaps version (9 or 10); other columns, such as "
        "dates, are not used",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="label table to write, .parquet; names beside it, .json",
    )
    parser.add_argument(
        "--minimum-count", type=int, default=1, help="patients a label must have; default: 1"
    )
    parser.add_argument(
        "--store",
        type=Path,
        required=True,
        help="store of the patients: only they count, and their ids are written as its hashes",
    )
    arguments = parser.parse_args(argv)
    if arguments.minimum_count < 1:
        raise InputError("--minimum-count is at least 1.")
    if arguments.out.suffix != ".parquet":
        raise InputError(f"{arguments.out} must be called .parquet.")
    store = VolumeStore.open(arguments.store)
    codes = _in_store(_read_codes(arguments.codes), store, arguments.codes)
    found = code_labels(codes, arguments.minimum_count)
    _write(arguments.out, found, arguments.minimum_count)
    _report(arguments.out, found, arguments.minimum_count)


def code_labels(codes: pd.DataFrame, minimum_count: int = 1) -> CodeLabels:
    """Level-1 ICD-10 labels of patients; a patient has a label whose codes have it once or more.

    Parameters
    ----------
    codes : columns ``patient`` and ``code`` (texts), perhaps ``version`` ("9" or "10", missing if unknown)
    minimum_count : patients that a label must have

    Raises
    ------
    InputError
        If no label is left.
    """
    versions = codes["version"] if "version" in codes else pd.Series("auto", index=codes.index)
    pairs = pd.DataFrame({"code": codes["code"], "version": versions.fillna("auto")})
    known = {pair: categories(*pair) for pair in set(pairs.itertuples(index=False, name=None))}
    found = pd.Series([known[pair] for pair in pairs.itertuples(index=False, name=None)])
    missing = ~found.map(bool).to_numpy()
    unmapped = Counter(codes["code"][missing].str.upper())
    long = pd.DataFrame({"patient": codes["patient"].to_numpy(), "category": found}).explode(
        "category"
    )
    present = pd.crosstab(long["patient"], long["category"]) > 0
    present = present.reindex(sorted(codes["patient"].unique()), fill_value=False)
    kept = present.columns[present.sum() >= minimum_count]
    if not len(kept):
        raise InputError(
            f"No ICD-10 category has {minimum_count} patients ({len(codes)} rows, {missing.sum()} of them of unknown "
            "codes); check the codes or lower --minimum-count."
        )
    table = (
        present[kept].astype("uint8").rename_axis(columns=None).rename_axis("patient").reset_index()
    )
    labels = tuple(Label(category_name(name), name, (name,)) for name in kept)
    return CodeLabels(table, labels, len(codes), unmapped, present.shape[1] - len(kept))


def _read_codes(path: Path) -> pd.DataFrame:
    table = read_table(path)
    if lacking := [name for name in ("patient", "code") if name not in table.columns]:
        raise InputError(
            f"{path} has no column {lacking[0]!r}; a table of diagnosis codes has patient and code."
        )
    # A code as it stands, since cells_as_text would make 250 of 250.00.
    code = table["code"].astype("string").str.strip()
    codes = pd.DataFrame({"patient": cells_as_text(table["patient"]), "code": code})
    if "version" in table.columns:
        versions = cells_as_text(table["version"])
        if unknown := sorted(set(versions.dropna()) - {"9", "10"}):
            raise InputError(f"{path} has the version {unknown[0]!r} of ICD where 9 or 10 belongs.")
        codes["version"] = versions.astype(object)
    codes = codes[codes["patient"].notna() & codes["code"].fillna("").ne("")]
    if codes.empty:
        raise InputError(f"{path} has no row with a patient and a code.")
    return codes


def _in_store(codes: pd.DataFrame, store: VolumeStore, path: Path) -> pd.DataFrame:
    patients = patients_in_store(codes["patient"], store)
    inside = patients.isin(set(store.manifest["patient"].astype("string")))
    if not inside.any():
        raise InputError(
            f"No patient of {path} is in the store {store.folder}; check that the ids are written as in the exams, and "
            f"that the store has its {SALT}."
        )
    return codes.assign(patient=patients)[inside]


def names_file(path: Path) -> Path:
    """Where the names of the labels of a table stand."""
    return path.with_suffix(".json")


def _write(path: Path, found: CodeLabels, minimum_count: int) -> None:
    names = {
        "labels": [asdict(label) for label in found.labels],
        "patients": {name: int(found.table[name].sum()) for name in found.table.columns[1:]},
        "minimum_count": minimum_count,
        "rows": found.rows,
        "unmapped": dict(found.unmapped.most_common()),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for target, write in (
            (names_file(path), lambda at: at.write_text(json.dumps(names, indent=1) + "\n")),
            (path, lambda at: found.table.to_parquet(at, index=False)),
        ):
            with whole_file(target) as partial:
                write(partial)
    except OSError as error:
        raise InputError(f"{path} cannot be written ({error.strerror}).") from error


def _report(path: Path, found: CodeLabels, minimum_count: int) -> None:
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(
        f"{len(found.labels)} labels of {len(found.table)} patients from {found.rows} codes; {found.rare} categories "
        f"have fewer than {minimum_count} patients."
    )
    if found.unmapped:
        most = ", ".join(f"{code} ({count})" for code, count in found.unmapped.most_common(SHOWN))
        rest = " and others" if len(found.unmapped) > SHOWN else ""
        console.print(
            f"{found.unmapped.total()} codes have no ICD-10 category, of {len(found.unmapped)} kinds: {most}{rest}."
        )
    print(f"Wrote {path} and {names_file(path).name}")
