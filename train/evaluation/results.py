"""The results folder of ``python -m train evaluate``, and the main figures in the terminal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from octcube_core.export import result_folder
from octcube_core.models.family import Model
from train.data.store import VolumeStore
from train.evaluation.evaluate_arguments import Arguments
from train.evaluation.figures import ALL, MEAN

PREDICTIONS, METRICS = "predictions.parquet", "metrics"
SHOWN = ("auroc", "auprc", "balanced_accuracy", "accuracy", "ece", "r2", "mae", "pearson")
MOST_SHOWN = 20  # targets in the printed table


def about(
    models: list[Model], store: VolumeStore, patients: NDArray[np.object_], arguments: Arguments
) -> dict[str, Any]:
    """What was evaluated, and how."""
    bootstrap = arguments.bootstrap
    return {
        "models": [model.card.title for model in models],
        "store": store.folder.resolve().name,
        "split": arguments.split,
        "exams": len(patients),
        "patients": len(set(patients)),
        "bootstrap": {
            "unit": "patient",
            "resamples": bootstrap.resamples,
            "level": bootstrap.level,
            "method": bootstrap.method,
            "seed": bootstrap.seed,
        },
    }


def write_results(
    out: Path, result: dict[str, Any], table: pd.DataFrame, predictions: pd.DataFrame
) -> None:
    """Write the folder: metrics.json, metrics.parquet and predictions.parquet, all or none."""
    with result_folder(out) as folder:
        text = json.dumps(result, indent=1, ensure_ascii=False, allow_nan=False)
        (folder / f"{METRICS}.json").write_text(text + "\n", encoding="utf-8")
        table.to_parquet(folder / f"{METRICS}.parquet", index=False)
        predictions.to_parquet(folder / PREDICTIONS, index=False)
    print(f"Wrote {out}")


def title_of(result: dict[str, Any]) -> str:
    """Heading of the printed table."""
    return f"{', '.join(result['models'])}: {result['split']}, {result['exams']} exams"


def print_table(table: pd.DataFrame, title: str) -> None:
    """The main figures of the first targets, on stderr."""
    metrics = [name for name in SHOWN if name in set(table["metric"])] or list(
        dict.fromkeys(table["metric"])
    )
    targets = list(dict.fromkeys(table["target"]))
    targets = [name for name in targets if name not in (MEAN, ALL)][:MOST_SHOWN] + [
        name for name in targets if name in (MEAN, ALL)
    ]
    shown = Table(title=title)
    shown.add_column("")
    for metric in metrics:
        shown.add_column(metric, justify="right")
    cells = {(row.target, row.metric): row for row in table.itertuples(index=False)}
    for target in targets:
        shown.add_row(target, *(_cell(cells.get((target, metric))) for metric in metrics))
    Console(stderr=True).print(shown)


def _cell(row: Any) -> str:
    if row is None or np.isnan(row.value):
        return "–"
    if np.isnan(row.low):
        return f"{row.value:.3f}"
    return f"{row.value:.3f}\n{row.low:.3f}–{row.high:.3f}"
