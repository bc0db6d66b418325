"""The benchmark's result as tables for a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from octcube_core.checkpoints.card import SALIENCY_METHODS
from train.evaluation.sanity import STAGES


def print_tables(result: dict[str, Any], console: Console | None = None) -> None:
    """Print what ``measure`` returned: scores by disease, then how far each way of explaining can be trusted."""
    console = console or Console()
    for table in (_diseases(result), _trust(result), _sanity(result)):
        console.print(table)
    if "fast_mode" in result:
        console.print(_fast_mode(result))


def _diseases(result: dict[str, Any]) -> Table:
    table = _table(
        f"{result['model']}, {result['eyes']} unseen synthetic eyes, seed {result['seed']}; "
        f"pointing of {SALIENCY_METHODS[result['saliency']]} at {result['layer']}",
        "disease",
        ["AUROC", "AUPRC", "prevalence", "pointing", "by chance"],
    )
    keys = ("auroc", "auprc", "prevalence", "pointing", "pointing_chance")
    for name, figures in result["diseases"].items():
        table.add_row(name, *_cells(figures[key] for key in keys))
    means = [result.get(key) for key in ("mean_auroc", "mean_auprc", "")]
    pointing = [result["pointing"], result["pointing_chance"]]
    table.add_row("mean (pointing: focal diseases)", *_cells(means + pointing))
    return table


def _trust(result: dict[str, Any]) -> Table:
    saliency = result["saliency_benchmark"]
    eyes = saliency["perturbation"]["eyes"]
    table = _table(
        f"Saliency over the focal diseases; deletion (lower is better) and insertion (higher is) in {eyes} eyes",
        "saliency",
        ["pointing", "mass", "by\nchance", "deletion", "insertion", "random\norder"],
    )
    keys = ("pointing", "mass", "chance", "deletion", "insertion", "random")
    for figures in saliency["explainers"]:
        table.add_row(_name(figures), *_cells(figures["focal"][key] for key in keys))
    return table


def _sanity(result: dict[str, Any]) -> Table:
    saliency = result["saliency_benchmark"]
    table = _table(
        f"Rank correlation with the maps of random weights (0 is best), {saliency['sanity_eyes']} eyes",
        "saliency",
        list(STAGES),
    )
    for figures in saliency["explainers"]:
        table.add_row(_name(figures), *_cells(figures["sanity"].values()))
    return table


def _fast_mode(result: dict[str, Any]) -> Table:
    fast = result["fast_mode"]
    table = Table(title="Fast mode against full runs", show_header=False)
    rows = {
        "share of tokens kept": fast["kept"],
        "change of the mean AUROC": fast["mean_auroc_change"],
        "largest change of a probability": fast["difference"]["max"],
        "its 99th percentile": fast["difference"]["p99"],
        "its mean": fast["difference"]["mean"],
        "share of decisions changed": fast["decisions_changed"],
        "pointing in fast mode": fast["pointing"],
        "pointing in full": result["pointing"],
    }
    for what, value in rows.items():
        table.add_row(what, "–" if value is None else f"{value:.4f}")
    return table


def _name(figures: dict[str, Any]) -> str:
    return f"{SALIENCY_METHODS[figures['method']]} {figures['layer']}"


def _table(title: str, words: str, numbers: list[str]) -> Table:
    table = Table(title=title)
    table.add_column(words)
    for heading in numbers:
        table.add_column(heading, justify="right")
    return table


def _cells(values: Iterable[float | None]) -> list[str]:
    return ["–" if value is None else f"{value:.3f}" for value in values]
