"""Scores as a table for a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest
from aligned import aligned_analysis

from octcube_core.results import Analysis
from octcube_core.scores_csv import scores_csv


def rows_of(analysis: Analysis) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(scores_csv(analysis), newline="")))


def test_a_row_per_disease_the_likeliest_first_then_the_normal_eye(
    known_analysis: Analysis,
) -> None:
    rows = rows_of(known_analysis)
    assert [(row["abbreviation"], row["verdict"]) for row in rows] == [
        ("DME", "present"),
        ("AMD", "present"),
        ("ERM", "absent"),
        ("", ""),
    ]
    assert [float(row["value"]) for row in rows] == pytest.approx([0.91, 0.45, 0.02, 0.09])
    assert float(rows[1]["threshold"]) == 0.4
    assert rows[0]["key_bscans_from_1"].split()[0] == "7"
    assert (rows[2]["key_bscans_from_1"], rows[3]["name"]) == ("", "Normal eye")
    assert {row["disclaimer"] for row in rows} == {"Research use only; not for diagnosis"}
    assert {row["model"] for row in rows} == {"toy 1.2 (synthetic)"}


def test_values_have_their_units(known_analysis: Analysis) -> None:
    similarity, growth = rows_of(aligned_analysis(known_analysis))
    assert (float(growth["value"]), growth["unit"], growth["verdict"]) == (1.5, "mm²/year", "")
    assert (similarity["name"], similarity["unit"]) == ("Similarity of OCT and IR", "")
