"""``python -m train benchmark``: measure a model on synthetic eyes that no training has seen."""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.metrics import average_precision_score, roc_auc_score

import octcube_core as oc
from octcube_core.checkpoints.card import SALIENCY_METHODS
from octcube_core.errors import InputError
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.phantom import DISEASES, SyntheticExam, make_exam
from octcube_core.results import Analysis
from train.data.phantoms import BENCHMARK_EYES
from train.evaluation.pointing import FOCAL, points_at, tokens_in_lesion


def main(argv: list[str]) -> None:
    """Parse the arguments, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m train benchmark", description=__doc__)
    parser.add_argument("--model", default="demo", help="name or file of a model")
    parser.add_argument("--n", type=int, default=200, help="number of eyes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument(
        "--saliency", choices=tuple(SALIENCY_METHODS), help="default: what the model's card says"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    if arguments.n < 1 or arguments.seed < 0:
        raise InputError("The benchmark needs at least one eye and a seed that is not negative.")
    model = oc.load_model(arguments.model, device=arguments.device, precision=arguments.precision)
    result = measure(model, arguments.n, arguments.seed, arguments.saliency)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        _print_table(result)


def measure(
    model: OCTCubeClassifier, count: int, seed: int, saliency: str | None = None
) -> dict[str, Any]:
    """Analyse ``count`` unseen synthetic eyes through the same path as the viewer and score the answers.

    Returns
    -------
    dict
        ``mean_auroc``, ``mean_auprc``, ``pointing`` (hit rate, pooled over the focal
        diseases and eyes) and, per disease,
        AUROC, AUPRC, prevalence and, over the eyes that have it, the pointing game's hit rate and its chance
        level (the share of tokens that touch the lesion). A figure that these eyes cannot give is None.
    """
    names = [label.abbreviation for label in model.card.labels]
    if unknown := [name for name in names if name not in DISEASES]:
        raise InputError(
            f"Synthetic eyes know no disease {unknown[0]!r}, so this model cannot be measured on them."
        )
    truth = np.zeros((count, len(names)), bool)
    scores = np.zeros((count, len(names)))
    hits: dict[str, list[bool]] = {name: [] for name in names}
    chances: dict[str, list[float]] = {name: [] for name in names}
    progress = track(_exams(count, seed), "Unseen eyes", total=count, console=Console(stderr=True))
    for row, exam in enumerate(progress):
        analysis = oc.analyze(exam, model, saliency=saliency)
        truth[row] = [name in exam.truth.diseases for name in names]
        scores[row] = [score.probability for score in analysis.scores]
        _play_pointing_game(exam, analysis, hits, chances)
    diseases = {
        name: {
            **_ranking(truth[:, column], scores[:, column]),
            "prevalence": float(truth[:, column].mean()),
            "pointing": _mean(hits[name]),
            "pointing_chance": _mean(chances[name]),
        }
        for column, name in enumerate(names)
    }
    return {
        "model": model.card.title,
        "saliency": saliency or model.card.saliency,
        "eyes": count,
        "seed": seed,
        "mean_auroc": _mean([d["auroc"] for d in diseases.values() if d["auroc"] is not None]),
        "mean_auprc": _mean([d["auprc"] for d in diseases.values() if d["auprc"] is not None]),
        "pointing": _mean([h for name in names if name in FOCAL for h in hits[name]]),
        "pointing_chance": _mean([c for name in names if name in FOCAL for c in chances[name]]),
        "diseases": diseases,
    }


def _exams(count: int, seed: int) -> Iterator[SyntheticExam]:
    """The benchmark's eyes, one at a time, the next ones made meanwhile by another process."""
    # Spawned, as a fork of a process with torch's threads can hang.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        ahead = [pool.submit(make_exam, (BENCHMARK_EYES, seed, n)) for n in range(min(3, count))]
        for number in range(count):
            exam = ahead.pop(0).result()
            if number + 3 < count:
                ahead.append(pool.submit(make_exam, (BENCHMARK_EYES, seed, number + 3)))
            yield exam


def _play_pointing_game(
    exam: SyntheticExam,
    analysis: Analysis,
    hits: dict[str, list[bool]],
    chances: dict[str, list[float]],
) -> None:
    for name, mask in exam.truth.masks.items():
        if name in hits and mask.any():
            lesion = tokens_in_lesion(mask, analysis.grid)
            hits[name].append(points_at(analysis.saliency[analysis.index(name)], lesion))
            chances[name].append(float(lesion.mean()))


def _ranking(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, float | None]:
    if truth.all() or not truth.any():
        return {"auroc": None, "auprc": None}
    return {
        "auroc": float(roc_auc_score(truth, scores)),
        "auprc": float(average_precision_score(truth, scores)),
    }


def _mean(values: list[Any]) -> float | None:
    return float(np.mean(values)) if values else None


def _print_table(result: dict[str, Any]) -> None:
    table = Table(
        title=f"{result['model']}, {result['eyes']} unseen synthetic eyes, seed {result['seed']}"
    )
    for heading in ("disease", "AUROC", "AUPRC", "prevalence", "pointing", "by chance"):
        table.add_column(heading, justify="left" if heading == "disease" else "right")
    keys = ("auroc", "auprc", "prevalence", "pointing", "pointing_chance")

    def cells(values: list[float | None]) -> list[str]:
        return ["–" if value is None else f"{value:.3f}" for value in values]

    for name, figures in result["diseases"].items():
        table.add_row(name, *cells([figures[key] for key in keys]))
    means = [
        result["mean_auroc"],
        result["mean_auprc"],
        None,
        result["pointing"],
        result["pointing_chance"],
    ]
    table.add_row("mean (pointing: focal diseases)", *cells(means))
    Console().print(table)
