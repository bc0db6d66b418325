"""A classifier's probabilities for many exams, without saliency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from octcube_core import memory
from octcube_core.errors import InputError
from octcube_core.models.family import Model
from octcube_core.models.heads import label_probabilities
from octcube_core.models.octcube import OCTCubeClassifier


def check_scorer(model: Model) -> None:
    """Raise InputError if a model scores nothing."""
    if not model.card.labels or not isinstance(model, OCTCubeClassifier):
        raise InputError(f"{model.card.name} scores no diseases; name a classifier.")


def score_inputs(
    model: Model, exams: Sequence[Mapping[str, torch.Tensor]]
) -> list[dict[str, float]]:
    """Probability of each label of a classifier, by abbreviation, for each exam's ``embedding_inputs``.

    None of an exam without inputs: it has not what the classifier looks at. Raises as ``check_scorer``.
    """
    check_scorer(model)
    labels = model.card.labels
    found: list[dict[str, float]] = []
    for inputs in exams:
        if not inputs:
            found.append({})
            continue
        (value,) = inputs.values()

        def run(value: torch.Tensor = value) -> torch.Tensor:
            with torch.inference_mode():
                outputs: torch.Tensor = model(value.to(next(model.parameters()).device))
            return outputs.float().cpu()

        probabilities = label_probabilities(memory.run(model, run, lambda: None), model.card)[0]
        found.append(
            {label.abbreviation: float(p) for label, p in zip(labels, probabilities, strict=True)}
        )
    return found
