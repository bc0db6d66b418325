"""``python -m train evaluate``: what a model says about a split, with figures and intervals; or its calibration."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console

import octcube_core as oc
from octcube_core.checkpoints.card import ModelCard
from octcube_core.checkpoints.format import read_checkpoint, write_checkpoint
from octcube_core.checkpoints.hub import locate
from octcube_core.errors import InputError
from octcube_core.models.coep import COEPModel
from octcube_core.models.family import Model
from train.data.labels import Labels
from train.data.splits import Splits
from train.data.store import VolumeStore
from train.evaluation.calibration import Operating, calibrated
from train.evaluation.evaluate_arguments import Arguments, parse
from train.evaluation.figures import Scored, as_json, figures_table, kind_of
from train.evaluation.predictions import can_be_seen, predict, predictions_table, said
from train.evaluation.results import about, print_table, title_of, write_results
from train.evaluation.retrieval import evaluate_retrieval


@dataclass(frozen=True)
class Chosen:
    """The exams of a split and their labels.

    Attributes
    ----------
    rows : of the manifest
    truth : labels of those exams, a column per label or target of the model; one of class numbers for exclusive ones
    """

    store: VolumeStore
    rows: NDArray[np.int64]
    truth: pd.DataFrame

    @property
    def patients(self) -> NDArray[np.object_]:
        """Whose each exam is."""
        return self.store.manifest["patient"].to_numpy(object)[self.rows]


def main(argv: list[str]) -> None:
    """Parse the arguments, predict, then write figures, or a calibrated model."""
    arguments = parse(argv)
    store = VolumeStore.open(arguments.store, arguments.center_slice)
    models = [_load(name, arguments) for name in arguments.model]
    if arguments.calibrate:
        _calibrate(models, store, arguments)
    elif arguments.task == "retrieval" or _only_aligned(models[0]):
        evaluate_retrieval(models, store, arguments)
    else:
        _evaluate(models, store, arguments)


def _only_aligned(model: Model) -> bool:
    return isinstance(model, COEPModel) and not model.card.outputs


def _load(name: str, arguments: Arguments) -> Model:
    return oc.load_model(name, device=arguments.device, precision=arguments.precision)


def choose(
    card: ModelCard, store: VolumeStore, split: str, labels: Labels | None, splits: Splits | None
) -> Chosen:
    """The exams of a split that the model can see and that have a label which it predicts.

    Parameters
    ----------
    card : of a model with labels or targets; they are found among the columns by their abbreviations
    labels : None takes the manifest's columns of those names

    Raises
    ------
    InputError
        If labels and card do not belong together, or the split has no exam with a label.
    """
    names = [each.abbreviation for each in card.labels or card.targets]
    kind = kind_of(card)
    if labels is None:
        if kind == "multiclass":
            raise InputError(
                f"{card.name} tells classes apart; say with --labels.columns which column has them."
            )
        labels = Labels(kind, names)
    if labels.kind != kind:
        raise InputError(
            f"{card.name} is a {kind} model, but the labels are of kind {labels.kind}."
        )
    if kind == "multiclass":
        labels = replace(labels, classes=names)
    table = labels.table(store)
    if kind != "multiclass":
        if missing := [name for name in names if name not in table.columns]:
            raise InputError(f"The labels have no column {missing[0]!r}, which the model predicts.")
        table = table[names]
    division = store.manifest["split"] if splits is None else splits.apply(store.manifest, table)
    usable = table.notna().any(axis=1) & can_be_seen(card, store)
    rows = np.flatnonzero((division == split) & usable)
    if not len(rows):
        raise InputError(
            f"The split {split!r} of {store.folder} has no exam with a label that the model can see."
        )
    return Chosen(store, rows, table.iloc[rows])


def _predicted(models: list[Model], chosen: Chosen, arguments: Arguments) -> NDArray[np.float64]:
    """Probabilities or values of all exams, the mean over the models."""
    first = models[0].card
    names = [each.abbreviation for each in first.labels or first.targets]
    for other in models[1:]:
        others = [each.abbreviation for each in other.card.labels or other.card.targets]
        if others != names or kind_of(other.card) != kind_of(first):
            raise InputError(
                "The models do not predict the same, so their predictions cannot be averaged."
            )
    every = [
        said(
            predict(
                model,
                chosen.store,
                chosen.rows,
                batch_size=arguments.batch_size,
                workers=arguments.workers,
            ),
            model.card,
        )
        for model in models
    ]
    return np.mean(every, axis=0)


def _evaluate(models: list[Model], store: VolumeStore, arguments: Arguments) -> None:
    card = models[0].card
    if not card.outputs:
        raise InputError(f"{card.name} has no head for labels or targets; fine-tune it first.")
    chosen = choose(card, store, arguments.split, arguments.labels, arguments.splits)
    scored = Scored(
        tuple(each.abbreviation for each in card.labels or card.targets),
        chosen.truth.to_numpy(np.float64),
        _predicted(models, chosen, arguments),
        chosen.patients,
        kind_of(card),
        tuple(
            float(np.mean([m.card.labels[n].threshold for m in models]))
            for n in range(len(card.labels))
        ),
    )
    table = figures_table(scored, arguments.bootstrap)
    result = about(models, store, chosen.patients, arguments) | {
        "kind": scored.kind,
        "targets": as_json(table, scored),
    }
    predictions = predictions_table(
        store.manifest, chosen.rows, chosen.truth, scored.predicted, scored.names
    )
    write_results(arguments.out, result, table, predictions)
    print_table(table, title_of(result))


def _calibrate(models: list[Model], store: VolumeStore, arguments: Arguments) -> None:
    """Write the model with a calibrated card."""
    if len(models) > 1:
        raise InputError("Each model is calibrated by itself; give one --model.")
    model = models[0]
    chosen = choose(model.card, store, arguments.split, arguments.labels, arguments.splits)
    outputs = predict(
        model, store, chosen.rows, batch_size=arguments.batch_size, workers=arguments.workers
    )
    path = locate(arguments.model[0])
    if arguments.out.exists() and arguments.out.samefile(path):
        raise InputError(f"{arguments.out} is the model itself; write to another file.")
    _, weights = read_checkpoint(path)
    data = f"{store.folder.resolve().name}, split {arguments.split}"
    operating = Operating(arguments.sensitivity, arguments.specificity)
    card = calibrated(
        model.card, outputs, chosen.truth.to_numpy(np.float64), chosen.patients, operating, data
    )
    if arguments.saliency is not None:
        method, layer = arguments.saliency.split(":")
        card = replace(card, saliency=method, saliency_layer=layer)
    write_checkpoint(arguments.out, card, weights)
    note = card.notes["calibration"]
    before, after = note["before"], note["after"]
    Console(stderr=True, highlight=False, soft_wrap=True).print(
        f"Temperature {card.temperature:.3f}; log loss {before['log_loss']:.4f} -> {after['log_loss']:.4f}, "
        f"calibration error {before['ece']:.4f} -> {after['ece']:.4f}; thresholds by {note['thresholds']}."
    )
    print(f"Wrote {arguments.out}")
