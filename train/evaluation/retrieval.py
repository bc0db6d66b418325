"""``python -m train evaluate retrieval``: what an aligned model finds, in one cohort or from one to another."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from octcube_core.errors import InputError
from octcube_core.models.coep import COEPModel
from octcube_core.models.family import Model
from train.data.store import VolumeStore
from train.evaluation.aligned import aligned_figures
from train.evaluation.cohorts import Cohort, cohorts
from train.evaluation.comparison import Embeddings, comparisons
from train.evaluation.evaluate_arguments import Arguments
from train.evaluation.figures import MEAN
from train.evaluation.predictions import embed
from train.evaluation.results import about, print_table, title_of, write_results

SIDES, AGREEMENT = "laterality_accuracy", "label_agreement"


def evaluate_retrieval(models: list[Model], store: VolumeStore, arguments: Arguments) -> None:
    """Embed the exams, then write and print the figures of every ordered pair of modalities.

    Raises
    ------
    InputError
        If it is not one aligned model, or no pair of modalities has a query and two candidates.
    """
    if len(models) > 1:
        raise InputError("Retrieval is that of one model; give one --model.")
    model = models[0]
    if not isinstance(model, COEPModel):
        raise InputError(
            f"{model.card.name} is not aligned, so it finds no pairs; give a model of python -m train coep."
        )
    query, index = cohorts(store, arguments)
    first = _embedded(model, query, arguments)
    second = first if query is index else _embedded(model, index, arguments)
    tables = [
        aligned_figures(comparison, arguments.bootstrap)
        for comparison in comparisons(query, index, (first, second), arguments)
    ]
    if not tables:
        raise InputError(
            "Fewer than two exams of the split have two of the model's modalities."
            if query is index
            else "The index has fewer than two exams with a modality of the model, or the queries have none."
        )
    table = pd.concat(tables, ignore_index=True)
    patients = query.exams["patient"].to_numpy(object)
    result = about(models, store, patients, arguments) | {"kind": "retrieval"}
    embeddings = _embeddings_table(query, first)
    if query is not index:
        result |= {"query": _described(query), "index": _described(index)}
        both = {"query": embeddings, "index": _embeddings_table(index, second)}
        embeddings = pd.concat(
            [part.assign(cohort=name) for name, part in both.items()], ignore_index=True
        )
    if note := _without_pairs(table, query, index):
        result["note"] = note
    write_results(arguments.out, result | {"targets": _as_json(table)}, table, embeddings)
    _print(table, title_of(result), note)


def _embedded(model: COEPModel, cohort: Cohort, arguments: Arguments) -> Embeddings:
    return embed(
        model,
        cohort.store,
        cohort.rows,
        batch_size=arguments.batch_size,
        workers=arguments.workers,
    )


def _embeddings_table(cohort: Cohort, embeddings: Embeddings) -> pd.DataFrame:
    """Row of the manifest, eye, patient, and the embedding of each modality, missing where an exam lacks it."""
    exams = cohort.exams
    identity = {"row": cohort.rows, "eye": exams["eye"].to_numpy()}
    identity["patient"] = exams["patient"].to_numpy()
    return pd.DataFrame(
        identity
        | {
            name: [None if np.isnan(each[0]) else each for each in values]
            for name, values in embeddings.items()
        }
    )


def _described(cohort: Cohort) -> dict[str, Any]:
    return {
        "store": cohort.store.folder.resolve().name,
        "device": cohort.device,
        "exams": len(cohort.rows),
        "patients": cohort.exams["patient"].nunique(),
    }


def _without_pairs(table: pd.DataFrame, query: Cohort, index: Cohort) -> str:
    """One sentence about the pairs of modalities that have no recall, or nothing."""
    pairs = table[table["chance"].isna()].groupby("target", sort=False)["metric"].apply(set)
    without = [target for target, metrics in pairs.items() if "mean_rank" not in metrics]
    if not without:
        return ""
    where = "" if len(without) == len(pairs) else f" from {', '.join(without)}"
    salts = {cohort.store.salt for cohort in (query, index)} - {""}  # of a store without, unknown
    why = ", as the two stores hash patients with different salts" if len(salts) > 1 else ""
    return f"Recall and mean rank are left out{where}: no eye that queries is in the index at the same visit{why}."


def _as_json(table: pd.DataFrame) -> dict[str, Any]:
    """Figures by target and metric, null for what is missing."""
    targets: dict[str, Any] = {}
    for row in table.itertuples(index=False):
        names = ["value", "low", "high", "queries", "candidates"]
        if not np.isnan(row.chance):
            names.append("chance")
        targets.setdefault(row.target, {})[row.metric] = {
            name: None if np.isnan(getattr(row, name)) else getattr(row, name) for name in names
        }
    return targets


def _print(table: pd.DataFrame, title: str, note: str) -> None:
    """Recall, sides and, as means over the labels, label agreement: a narrow table each."""
    sides = table["metric"].str.startswith(SIDES)
    agreement = table["metric"].str.startswith(AGREEMENT)
    own = table[~sides & ~agreement]
    if len(own):
        print_table(own, title)
    print_table(_short(table[sides], SIDES), "Laterality accuracy, the own pair left out")
    means = table[agreement & table["target"].str.endswith(f", {MEAN}")]
    if len(means):
        chance = means.drop_duplicates("target").assign(metric="by chance", low=np.nan)
        chance["value"] = chance["chance"]
        print_table(
            pd.concat([_short(means, AGREEMENT), chance]),
            "Label agreement with other patients, mean of the labels",
        )
    if note:
        Console(stderr=True, highlight=False, soft_wrap=True).print(note)


def _short(table: pd.DataFrame, name: str) -> pd.DataFrame:
    return table.assign(metric=table["metric"].str.removeprefix(name))
