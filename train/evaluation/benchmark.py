"""``python -m train benchmark``: measure a model and its saliency on synthetic eyes that no training has seen."""

from __future__ import annotations

import argparse
import json
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from sklearn.metrics import average_precision_score, roc_auc_score

import octcube_core as oc
from octcube_core.checkpoints.card import SALIENCY_LAYERS, SALIENCY_METHODS, ModelCard
from octcube_core.errors import InputError
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.phantom import DISEASES, SyntheticExam, make_exam
from octcube_core.worker_processes import worker_pool
from train.data import loading_benchmark
from train.data.phantoms import BENCHMARK_EYES
from train.evaluation.explaining import Explainer
from train.evaluation.fast_mode import FastMode
from train.evaluation.saliency_benchmark import Plan, SaliencyBenchmark
from train.evaluation.tables import print_tables


def main(argv: list[str]) -> None:
    """Parse the arguments, measure, print tables or JSON."""
    if "--data" in argv:
        loading_benchmark.main(argv)
        return
    arguments = _parser().parse_args(argv)
    if arguments.n < 1 or arguments.seed < 0:
        raise InputError("The benchmark needs at least one eye and a seed that is not negative.")
    if (
        arguments.perturbation_steps < 1
        or min(arguments.perturbation_eyes, arguments.sanity_eyes) < 0
    ):
        raise InputError(
            "Perturbation needs at least one step, and numbers of eyes are not negative."
        )
    methods = _chosen(arguments.methods, SALIENCY_METHODS, "methods")
    layers = _chosen(arguments.layers, SALIENCY_LAYERS, "layers")
    model = oc.load_model(arguments.model, device=arguments.device, precision=arguments.precision)
    card = model.card
    if not isinstance(model, OCTCubeClassifier) or not card.labels or card.architecture.planar:
        raise InputError(
            f"{card.name} scores no diseases of OCT volumes, so there is nothing to measure; see evaluate."
        )
    shown = Explainer(
        arguments.saliency or model.card.saliency, arguments.layer or model.card.saliency_layer
    )
    others = [Explainer(method, layer) for layer in layers for method in methods]
    plan = Plan(
        list(dict.fromkeys([shown, *others])),
        arguments.perturbation_eyes,
        arguments.perturbation_steps,
        arguments.sanity_eyes,
        arguments.seed,
    )
    result = measure(model, arguments.n, plan, fast=arguments.fast)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print_tables(result)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train benchmark", description=__doc__)
    parser.add_argument(
        "--data",
        action="store_true",
        help="measure how fast a store is read instead; see --data --help",
    )
    parser.add_argument("--model", default="demo", help="name or file of a model")
    parser.add_argument("--n", type=int, default=200, help="number of eyes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument(
        "--saliency",
        choices=tuple(SALIENCY_METHODS),
        help="whose pointing stands beside each disease's scores; default: what the model's card says",
    )
    parser.add_argument(
        "--layer", choices=SALIENCY_LAYERS, help="the same for the layer; default: the card's"
    )
    parser.add_argument(
        "--methods",
        default="all",
        help=f"saliency methods to compare, separated by commas: all or {', '.join(SALIENCY_METHODS)}",
    )
    parser.add_argument(
        "--layers", default="all", help=f"their layers: all or {', '.join(SALIENCY_LAYERS)}"
    )
    parser.add_argument(
        "--perturbation-eyes",
        type=int,
        default=20,
        help="eyes for deletion and insertion, which take hundreds of forward passes each; default: 20",
    )
    parser.add_argument("--perturbation-steps", type=int, default=10, help="steps of those curves")
    parser.add_argument(
        "--sanity-eyes", type=int, default=20, help="eyes for maps of random weights; default: 20"
    )
    parser.add_argument(
        "--fast", action="store_true", help="run every eye in fast mode too, and compare"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    return parser


def _chosen(words: str, known: Collection[str], what: str) -> list[str]:
    if words == "all":
        return list(known)
    chosen = [word.strip() for word in words.split(",")]
    if unknown := [word for word in chosen if word not in known]:
        raise InputError(
            f"Unknown saliency {what} {', '.join(map(repr, unknown))}; known are {', '.join(known)}."
        )
    return chosen


def measure(
    model: OCTCubeClassifier, count: int, plan: Plan, *, fast: bool = False
) -> dict[str, Any]:
    """Score and explain ``count`` unseen synthetic eyes as the viewer does, and compare with the truth.

    Returns
    -------
    dict
        ``mean_auroc``, ``mean_auprc``; ``pointing``, the hit rate of the plan's first explainer pooled over the focal
        diseases and eyes; per disease AUROC, AUPRC, prevalence and, over the eyes that have it, the pointing game's
        hit rate and its chance level (the share of tokens that touch the lesion); in ``saliency_benchmark`` the
        figures of all explainers; in ``fast_mode``, if asked for, the comparison of ``FastMode``. A figure that these
        eyes cannot give is None.
    """
    names = _names(model.card)
    truth = np.zeros((count, len(names)), bool)
    scores = np.zeros((count, len(names)))
    saliency = SaliencyBenchmark(model, plan)
    comparison = FastMode(model, plan.explainers[0]) if fast else None
    exams = _exams(count, plan.seed)
    for row, exam in enumerate(
        track(exams, "Unseen eyes", total=count, console=Console(stderr=True))
    ):
        truth[row] = [name in exam.truth.diseases for name in names]
        scores[row] = saliency.add(row, exam)
        if comparison is not None:
            comparison.add(exam)
    judged = saliency.result()
    shown = judged["explainers"][0]
    diseases = {
        name: {
            **_ranking(truth[:, column], scores[:, column]),
            "prevalence": float(truth[:, column].mean()),
            "pointing": shown["diseases"][name]["pointing"],
            "pointing_chance": shown["diseases"][name]["chance"],
        }
        for column, name in enumerate(names)
    }
    return {
        "model": model.card.title,
        "saliency": shown["method"],
        "layer": shown["layer"],
        "eyes": count,
        "seed": plan.seed,
        "mean_auroc": _mean([figures["auroc"] for figures in diseases.values()]),
        "mean_auprc": _mean([figures["auprc"] for figures in diseases.values()]),
        "pointing": shown["focal"]["pointing"],
        "pointing_chance": shown["focal"]["chance"],
        "diseases": diseases,
        "saliency_benchmark": judged,
        **({} if comparison is None else {"fast_mode": comparison.result(truth, scores)}),
    }


def _names(card: ModelCard) -> list[str]:
    names = [label.abbreviation for label in card.labels]
    if unknown := [name for name in names if name not in DISEASES]:
        raise InputError(
            f"Synthetic eyes know no disease {unknown[0]!r}, so this model cannot be measured on them."
        )
    return names


def _exams(count: int, seed: int) -> Iterator[SyntheticExam]:
    """The benchmark's eyes, one at a time, the next ones made meanwhile by another process."""
    with worker_pool(1) as pool:
        ahead = [pool.submit(make_exam, (BENCHMARK_EYES, seed, n)) for n in range(min(3, count))]
        for number in range(count):
            exam = ahead.pop(0).result()
            if number + 3 < count:
                ahead.append(pool.submit(make_exam, (BENCHMARK_EYES, seed, number + 3)))
            yield exam


def _ranking(truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, float | None]:
    if truth.all() or not truth.any():
        return {"auroc": None, "auprc": None}
    return {
        "auroc": float(roc_auc_score(truth, scores)),
        "auprc": float(average_precision_score(truth, scores)),
    }


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
