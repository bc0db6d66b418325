"""Calibrated probabilities and operating thresholds, learnt from a validation split, for a model's card."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.models.heads import label_probabilities
from train.evaluation.metrics import binary_figures, multiclass_figures
from train.evaluation.weighted import Floats

LEAST, MOST = 0.05, 20.0  # a temperature outside says that there is too little to learn it from


@dataclass(frozen=True)
class Operating:
    """What decides each disease's threshold: Youden's J, or a sensitivity or specificity to reach."""

    sensitivity: float | None = None
    specificity: float | None = None

    @property
    def rule(self) -> str:
        """In words."""
        if self.sensitivity is not None:
            return f"sensitivity of at least {self.sensitivity:g}"
        if self.specificity is not None:
            return f"specificity of at least {self.specificity:g}"
        return "Youden's J"


def calibrated(
    card: ModelCard,
    outputs: torch.Tensor,
    truth: Floats,
    patients: NDArray[np.object_],
    operating: Operating,
    data: str,
) -> ModelCard:
    """The card with a temperature and, for diseases, thresholds learnt from exams that no weight was trained on.

    Parameters
    ----------
    card : with labels
    outputs : of the model, shape (exams, outputs)
    truth : as in ``figures.Scored``
    patients : shape (exams,)
    operating : rule of the thresholds
    data : what the exams are, for the card's notes

    Raises
    ------
    InputError
        If the card has no labels, or no exam has one.
    """
    if not card.labels:
        raise InputError(f"{card.name} scores no labels, so there is nothing to calibrate.")
    logits, classes = class_logits(card, outputs, truth)
    if not len(classes):
        raise InputError("No exam of the validation split has a known label to calibrate with.")
    temperature = fit_temperature(logits, classes)
    after = replace(card, temperature=temperature)
    fixed: list[str] = []
    if not card.exclusive:
        scores = label_probabilities(outputs, after).double().numpy()
        labels = []
        for label, column, score in zip(card.labels, truth.T, scores.T, strict=True):
            known = ~np.isnan(column)
            found = operating_threshold(column[known] == 1, score[known], operating)
            if found is None:
                fixed.append(label.abbreviation)
            labels.append(label if found is None else replace(label, threshold=found))
        after = replace(after, labels=tuple(labels))
    note: dict[str, Any] = {
        "method": "temperature scaling (Guo et al., arXiv:1706.04599)",
        "thresholds": "the most probable class" if card.exclusive else operating.rule,
        "thresholds_kept": fixed,
        "data": data,
        "exams": int((~np.isnan(truth)).any(axis=1).sum()),
        "patients": len(set(patients[(~np.isnan(truth)).any(axis=1)])),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "before": quality(card, outputs, truth),
        "after": quality(after, outputs, truth),
    }
    return replace(after, notes={**card.notes, "calibration": note})


def class_logits(
    card: ModelCard, outputs: torch.Tensor, truth: Floats
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, classes) and the right class (n,) of every known label; those of diseases are pairs, all pooled."""
    logits = outputs[:, : card.logits].double()
    known = torch.from_numpy(~np.isnan(truth))
    right = torch.from_numpy(np.nan_to_num(truth)).long()
    if card.exclusive:
        return logits[known[:, 0]], right[known[:, 0], 0]
    return logits.unflatten(-1, (-1, 2))[known], right[known]


def fit_temperature(logits: torch.Tensor, classes: torch.Tensor) -> float:
    """The temperature of the least log loss (Guo et al., arXiv:1706.04599), by L-BFGS; never a larger one than 1 gives.

    Parameters
    ----------
    logits : shape (n, classes), as of temperature 1
    classes : the right one's number, shape (n,)
    """
    logits, log_scale = logits.double(), torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [log_scale], max_iter=200, tolerance_grad=1e-10, line_search_fn="strong_wolfe"
    )

    def loss(scale: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(logits * scale.exp(), classes)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        value = loss(log_scale)
        value.backward()
        return value

    optimiser.step(closure)
    found = float(np.clip(np.exp(-log_scale.item()), LEAST, MOST))
    with torch.no_grad():
        better = loss(torch.tensor(-np.log(found))) < loss(torch.zeros(()))
    return found if bool(better) else 1.0


def operating_threshold(
    present: NDArray[np.bool_], score: Floats, operating: Operating
) -> float | None:
    """The probability from which on a disease counts as present; None without both positive and negative exams.

    Between two exams' probabilities it lies in the middle. Youden's J: Cancer 3 (1950) 32,
    doi:10.1002/1097-0142(1950)3:1<32::AID-CNCR2820030106>3.0.CO;2-3. Of a sensitivity to reach, it is the highest
    threshold that does; of a specificity, the lowest.
    """
    if present.all() or not present.any():
        return None
    distinct = np.unique(score)
    cuts = np.concatenate(
        [[distinct[0]], (distinct[:-1] + distinct[1:]) / 2, [np.nextafter(distinct[-1], 2)]]
    )
    cuts = np.clip(cuts, 0, 1)
    positives, negatives = np.sort(score[present]), np.sort(score[~present])
    sensitivity = 1 - np.searchsorted(positives, cuts) / len(positives)
    specificity = np.searchsorted(negatives, cuts) / len(negatives)
    if operating.sensitivity is not None:
        return float(cuts[np.flatnonzero(sensitivity >= operating.sensitivity)[-1]])
    if operating.specificity is not None:
        return float(cuts[np.flatnonzero(specificity >= operating.specificity)[0]])
    return float(cuts[(sensitivity + specificity).argmax()])


def quality(card: ModelCard, outputs: torch.Tensor, truth: Floats) -> dict[str, float]:
    """Log loss and expected calibration error, for diseases their means over all known labels together."""
    probabilities = label_probabilities(outputs, card).double().numpy()
    known = ~np.isnan(truth)
    if card.exclusive:
        rows = known[:, 0]
        found = multiclass_figures(
            truth[rows, 0].astype(np.int64), probabilities[rows], np.ones((1, int(rows.sum())))
        )
    else:
        weight = np.ones((1, int(known.sum())))
        found = binary_figures(truth[known], probabilities[known], 0.5, weight)
    return {name: float(found[name][0]) for name in ("log_loss", "ece")}
