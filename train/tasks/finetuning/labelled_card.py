"""The card of a model for the labels at hand: names, number of outputs, scale of regression targets."""

from __future__ import annotations

import dataclasses

import numpy as np

from octcube_core.checkpoints.card import Label, ModelCard, Target
from octcube_core.errors import InputError
from train.data.labels import Labels
from train.tasks.finetuning.losses import TrainingLabels


def labelled_card(
    card: ModelCard, labels: Labels, columns: list[str], training: TrainingLabels
) -> ModelCard:
    """A recipe's card, completed.

    Labels or targets that the card does not name are named as their columns; if it names some, they must be those of
    the data, in their order. Regression targets get the mean and the standard deviation of the training split.

    Parameters
    ----------
    card : as the recipe gives it
    labels : what the data module reads
    columns : of the label table
    training : the training split's labels, in these columns

    Raises
    ------
    InputError
        If card and data contradict each other.
    """
    if labels.kind == "regression":
        if card.labels:
            raise InputError(
                "The card has labels, but data.labels.kind is regression; give targets."
            )
        targets = card.targets or tuple(Target(name, name) for name in columns)
        _check_names("targets", [each.abbreviation for each in targets], columns)
        card = dataclasses.replace(card, targets=_standardised(targets, training))
        return with_outputs(card)
    if card.targets:
        raise InputError(
            f"The card has targets, but data.labels.kind is {labels.kind}; give labels."
        )
    exclusive = labels.kind == "multiclass"
    names = list(labels.classes or []) if exclusive else columns
    given = card.labels or tuple(Label(name, name) for name in names)
    _check_names("labels", [each.abbreviation for each in given], names)
    return with_outputs(dataclasses.replace(card, labels=given, exclusive=exclusive))


def with_outputs(card: ModelCard) -> ModelCard:
    """The card with as many outputs as its labels or targets need; InputError if it says another number than 0."""
    shape = card.architecture
    for part in card.transformers:
        if part.embed_dim % part.num_heads:
            raise InputError(
                f"embed_dim {part.embed_dim} is no multiple of {part.num_heads} heads."
            )
    if card.alignment is not None:
        if not card.alignment.regression_hidden:
            raise InputError(
                "A model of several modalities needs card.alignment.regression_hidden, the width of its head."
            )
        return card
    if shape.outputs not in (0, card.outputs):
        what = "labels" if card.labels else "targets"
        count = len(card.labels or card.targets)
        raise InputError(f"{count} {what} need {card.outputs} outputs, not {shape.outputs}.")
    return dataclasses.replace(card, architecture=dataclasses.replace(shape, outputs=card.outputs))


def _check_names(what: str, said: list[str], found: list[str]) -> None:
    if said != found:
        raise InputError(
            f"data.labels must be the card's {what} in their order: {', '.join(said)}; not {', '.join(found[:12])}."
        )


def _standardised(targets: tuple[Target, ...], training: TrainingLabels) -> tuple[Target, ...]:
    done = []
    for target, values in zip(targets, training.values.T.astype(np.float64), strict=True):
        known = values[np.isfinite(values)]
        if len(known) < 2 or known.std() == 0:
            raise InputError(
                f"The training split has no two different values of {target.abbreviation}; choose another split."
            )
        done.append(dataclasses.replace(target, mean=float(known.mean()), scale=float(known.std())))
    return tuple(done)
