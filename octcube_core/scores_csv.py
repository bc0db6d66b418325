"""What a model says about one exam as a table for a spreadsheet: a row per disease and per value; no identity."""

from __future__ import annotations

import csv
import io

from octcube_core.results import DISCLAIMER, Analysis

COLUMNS = (
    *("name", "abbreviation", "value", "unit", "threshold", "verdict", "key_bscans_from_1"),
    *("model", "disclaimer"),
)
_KEY_BSCANS = 3


def scores_csv(analysis: Analysis) -> str:
    """The table, the most probable disease first, with a header line; a disease's value is its probability.

    The normal eye has neither threshold nor verdict, and what is no disease has none either. Model and disclaimer
    stand in every row, so that a row that is copied elsewhere keeps them.
    """
    text = io.StringIO()
    table = csv.writer(text)
    table.writerow(COLUMNS)
    about = (analysis.card.title, DISCLAIMER)
    for score in sorted(analysis.scores, key=lambda score: -score.probability):
        verdict = "present" if score.present else "absent"
        row = (f"{score.probability:.6g}", "probability", f"{score.threshold:.6g}", verdict)
        table.writerow(
            (score.name, score.abbreviation, *row, _keys(analysis, score.abbreviation), *about)
        )
    if analysis.normal_probability is not None:
        normal = f"{analysis.normal_probability:.6g}"
        table.writerow(("Normal eye", "", normal, "probability", "", "", "", *about))
    for each in analysis.measurements:
        row = (f"{each.value:.6g}", each.unit, "", "")
        table.writerow(
            (each.name, each.abbreviation, *row, _keys(analysis, each.abbreviation), *about)
        )
    return text.getvalue()


def _keys(analysis: Analysis, target: str) -> str:
    return " ".join(str(key + 1) for key in analysis.key_bscans(target, _KEY_BSCANS))
