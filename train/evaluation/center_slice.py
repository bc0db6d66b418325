"""``python -m train center-slice``: what all the other B-scans are worth beside the one in the middle.

Two models of the same recipe, one of whole volumes and one of the middle B-scan alone (``data.center_slice``), are
compared by the predictions that ``evaluate`` wrote of the same exams. As in the paper (Liu et al., arXiv:2408.11227).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from octcube_core.errors import InputError
from train.evaluation.bootstrap import intervals
from train.evaluation.results import PREDICTIONS
from train.evaluation.weighted import Floats, ranking

GOAL = 4  # diseases in which the middle B-scan alone must do clearly worse


def main(argv: list[str]) -> None:
    """Parse the arguments, compare, print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m train center-slice", description=__doc__)
    add = parser.add_argument
    add("--volume", type=Path, required=True, help="results of evaluate, of the model of volumes")
    add("--center", type=Path, required=True, help="the same of the model of the middle B-scan")
    add("--resamples", type=int, default=1000, help="of the patients (default 1000)")
    add("--seed", type=int, default=0, help="of the resamples")
    add("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    volume, center = (_read(folder) for folder in (arguments.volume, arguments.center))
    found = compare(volume, center, resamples=arguments.resamples, seed=arguments.seed)
    if arguments.json:
        print(json.dumps(found, indent=1, allow_nan=False))
    else:
        _print(found)


def compare(
    volume: pd.DataFrame, center: pd.DataFrame, *, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """AUROC of two models of diseases on the same exams, and the difference with an interval over patients.

    Parameters
    ----------
    volume, center : ``predictions.parquet`` of ``evaluate``: a row per exam, in the same order
    resamples, seed : of the bootstrap, in which both models see the same patients

    Returns
    -------
    dict
        ``diseases``: for each ``volume`` and ``center`` (AUROC), ``difference`` with ``low`` and ``high`` (95 %), and
        ``clearly_worse``: whether the middle B-scan's AUROC is lower and the interval leaves 0 out;
        ``clearly_worse``: in how many; ``goal``; ``exams``, ``patients``.

    Raises
    ------
    InputError
        If the two are not of the same exams, or not of the same diseases.
    """
    names = [column.removeprefix("truth/") for column in volume if column.startswith("truth/")]
    same = list(volume.columns) == list(center.columns) and len(volume) == len(center)
    shared = ["row", "eye", *(f"truth/{name}" for name in names)]
    if not same or not volume[shared].equals(center[shared]):
        raise InputError(
            "The two results are not of the same exams and labels; evaluate both models on the same split."
        )
    if not names or any(f"predicted/{name}" not in volume for name in names):
        raise InputError("These are no predictions of diseases (binary labels).")
    diseases = {}
    for name in names:
        known = volume[f"truth/{name}"].notna().to_numpy()
        truth = volume.loc[known, f"truth/{name}"].to_numpy() == 1
        scores = [
            table.loc[known, f"predicted/{name}"].to_numpy(float) for table in (volume, center)
        ]

        def figures(weight: Floats, truth=truth, scores=scores) -> dict[str, Floats]:
            of_volume, of_center = (ranking(truth, score, weight)[0] for score in scores)
            return {"volume": of_volume, "center": of_center, "difference": of_volume - of_center}

        patients = volume.loc[known, "patient"].to_numpy(object)
        found = intervals(figures, patients, resamples=resamples, seed=seed)
        difference = found["difference"]
        diseases[name] = {
            "volume": _finite(found["volume"].value),
            "center": _finite(found["center"].value),
            "difference": _finite(difference.value),
            "low": _finite(difference.low),
            "high": _finite(difference.high),
            "clearly_worse": bool(difference.low > 0),
        }
    return {
        "exams": len(volume),
        "patients": int(volume["patient"].nunique()),
        "goal": GOAL,
        "clearly_worse": sum(figures["clearly_worse"] for figures in diseases.values()),
        "diseases": diseases,
    }


def _finite(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _read(folder: Path) -> pd.DataFrame:
    path = folder / PREDICTIONS
    if not path.is_file():
        raise InputError(f"{folder} holds no {PREDICTIONS}; make it with python -m train evaluate.")
    return pd.read_parquet(path)


def _print(found: dict[str, Any]) -> None:
    table = Table(
        title=f"AUROC in {found['exams']} exams: clearly worse without the other B-scans in {found['clearly_worse']} "
        f"diseases (goal: {found['goal']})"
    )
    table.add_column("disease")
    for heading in ("volume", "middle B-scan", "difference", "95 % interval", "clearly worse"):
        table.add_column(heading, justify="right")
    for name, figures in found["diseases"].items():
        values = [figures[key] for key in ("volume", "center", "difference", "low", "high")]
        shown = ["–" if value is None else f"{value:.3f}" for value in values]
        worse = "yes" if figures["clearly_worse"] else "no"
        table.add_row(name, *shown[:3], f"{shown[3]} to {shown[4]}", worse)
    Console().print(table)
