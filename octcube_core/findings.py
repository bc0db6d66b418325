"""What a model says about an exam, read from the outputs of its towers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.models.coep import COEPModel
from octcube_core.models.family import Model
from octcube_core.models.heads import label_probabilities, target_values
from octcube_core.objectives import Objective, aligned_objectives, head_objectives, joint_outputs
from octcube_core.results import DiseaseScore, Measurement
from octcube_core.saliency import CachedTail


@dataclass(frozen=True)
class Findings:
    """What a model says, and what of it can be explained; ``normal`` as ``Analysis.normal_probability``."""

    objectives: Sequence[Objective] = ()
    scores: tuple[DiseaseScore, ...] = ()
    normal: float | None = None
    measurements: tuple[Measurement, ...] = ()

    @property
    def top_target(self) -> str | None:
        """As ``Analysis.top_target``."""
        # The first of several that are equally probable.
        disease = max(self.scores, key=lambda score: score.probability, default=None)
        found = disease or next(iter(self.measurements), None)
        return None if found is None else found.abbreviation


def normal_probability(probabilities: NDArray[np.float32]) -> float:
    """Probability of a normal eye as the OCTCube reference reports it.

    1 - the highest disease probability if any exceeds 0.5, else the mean of the probabilities of absence.
    """
    highest = float(probabilities.max())
    return 1.0 - highest if highest > 0.5 else float(np.mean(1.0 - probabilities))


def findings(model: Model, tails: Mapping[str, CachedTail]) -> Findings:
    """What a model says, from its towers' outputs by modality; InputError if they are not finite."""
    outputs = {modality: tail.outputs.detach() for modality, tail in tails.items()}
    if not all(bool(torch.isfinite(output).all()) for output in outputs.values()):
        if next(model.parameters()).dtype == torch.float32:
            raise InputError(
                "The model's results are not finite numbers; its file is damaged, fetch or train it again."
            )
        raise InputError("The model's results are not finite in this precision; run it in fp32.")
    if isinstance(model, COEPModel):
        similarities, objectives = aligned_objectives(model, outputs)
        if model.regression is None:
            return Findings(objectives, measurements=tuple(similarities))
        return _said(model.card, joint_outputs(model, outputs), objectives, similarities)
    if not model.card.outputs:
        return Findings()
    (modality,) = outputs
    return _said(model.card, outputs[modality], head_objectives(model.card, modality))


def _said(
    card: ModelCard,
    outputs: torch.Tensor,
    objectives: Sequence[Objective],
    similarities: Sequence[Measurement] = (),
) -> Findings:
    """What a head's outputs (1, n) say, as probabilities and in units."""
    outputs = outputs.detach().float().cpu()
    probabilities: NDArray[np.float32] = label_probabilities(outputs, card)[0].numpy()
    values = zip(card.targets, target_values(outputs, card)[0].tolist(), strict=True)
    measured = (
        Measurement(each.name, each.abbreviation, value, each.unit) for each, value in values
    )
    return Findings(
        objectives,
        _scores(probabilities, card),
        normal_probability(probabilities) if card.reports_normal else None,
        (*similarities, *measured),
    )


def _scores(probabilities: NDArray[np.float32], card: ModelCard) -> tuple[DiseaseScore, ...]:
    return tuple(
        DiseaseScore(
            label.name, label.abbreviation, label.icd10, float(probability), label.threshold
        )
        for label, probability in zip(card.labels, probabilities, strict=True)
    )


def embeddings_of(model: Model, tails: Mapping[str, CachedTail]) -> dict[str, NDArray[np.float32]]:
    """By modality: the mean over tokens of an encoder with a head, the outputs of every other model."""
    if model.card.kind in ("classifier", "regression"):
        return {modality: tail.pooled for modality, tail in tails.items()}
    return {
        modality: tail.outputs.detach().float().cpu().numpy()[0] for modality, tail in tails.items()
    }
