"""Losses of labels and of regression targets, in which unknown (NaN) labels have no part.

Each is a sum over a batch divided by what a batch of its size holds on average in the training data, not by what it
happens to hold: only so is the mean over processes, or over accumulated batches, the loss of the joint batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from octcube_core.errors import InputError

RegressionKind = Literal["l1", "l2", "l1+l2"]
ClassWeights = Literal["balanced"] | list[float] | None


@dataclass(frozen=True)
class TrainingLabels:
    """What the losses know of the training split's labels.

    Attributes
    ----------
    values : float array, shape (exams, columns), NaN where unknown
    """

    values: NDArray[np.float32]

    @property
    def known(self) -> NDArray[np.float64]:
        """Share of the exams whose label is known, shape (columns,)."""
        return np.isfinite(self.values).mean(axis=0)


class LabelLoss(nn.Module):
    """Cross-entropy of every label's pair of logits, or of one softmax over classes.

    Parameters
    ----------
    labels : number of labels, or of classes
    exclusive : whether they are classes
    smoothing : of the targets (Szegedy et al., arXiv:1512.00567)
    weights : "balanced" weighs each answer with the inverse of its frequency (1 on average); or a weight for each
        class, or for the presence of each label; None weighs all alike
    training : what "balanced" and unknown labels are counted in; None: all are known
    """

    weight: torch.Tensor

    def __init__(
        self,
        labels: int,
        exclusive: bool,
        smoothing: float = 0.0,
        weights: ClassWeights = None,
        training: TrainingLabels | None = None,
    ) -> None:
        super().__init__()
        self.exclusive = exclusive
        self.smoothing = smoothing
        self.known = 1.0 if training is None else float(training.known.mean())
        self.register_buffer(
            "weight", answer_weights(labels, exclusive, weights, training), persistent=False
        )

    def forward(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss of logits (batch, 2 * labels) or (batch, classes) and labels (batch, labels) or (batch, 1)."""
        labels = labels.float()
        known = ~labels.isnan()
        answers = labels.nan_to_num().long()
        rows = logits.float().unflatten(-1, (*labels.shape[1:], -1)).flatten(0, 1)
        errors = F.cross_entropy(
            rows, answers.flatten(), label_smoothing=self.smoothing, reduction="none"
        ).view_as(labels)
        weight = self.weight.expand(len(labels), -1, -1).gather(2, answers[..., None])[..., 0]
        return (errors * weight * known).sum() / (labels.numel() * self.known)


def answer_weights(
    labels: int, exclusive: bool, weights: ClassWeights, training: TrainingLabels | None
) -> torch.Tensor:
    """Weight of each answer, shape (1, classes), or (labels, 2) for absent and present; InputError if it cannot be."""
    columns, answers = (1, labels) if exclusive else (labels, 2)
    if weights is None or (weights == "balanced" and training is None):
        return torch.ones(columns, answers)
    if weights == "balanced":
        assert training is not None
        counts = np.stack([(training.values == answer).sum(0) for answer in range(answers)], 1)
        total = counts.sum(1, keepdims=True)
        # As in scikit-learn; an answer that never comes has no weight to speak of.
        return torch.from_numpy(total / (answers * np.maximum(counts, 1))).float()
    if len(weights) != labels:
        kind = "class" if exclusive else "label"
        raise InputError(
            f"model.class_weights has {len(weights)} numbers; give one for each {kind}, {labels} in all."
        )
    given = torch.tensor(weights)
    return given[None] if exclusive else torch.stack([torch.ones(labels), given], dim=1)


class RegressionLoss(nn.Module):
    """Errors of standardised targets, summed over the targets with a weight for each.

    Parameters
    ----------
    kind : absolute error, squared error, or their sum
    mean, scale : of each target, in its unit; the network's outputs are (value - mean) / scale
    weights : of each target
    training : what unknown values are counted in; None: all are known
    """

    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor

    def __init__(
        self,
        kind: RegressionKind,
        mean: Sequence[float],
        scale: Sequence[float],
        weights: Sequence[float],
        training: TrainingLabels | None = None,
    ) -> None:
        super().__init__()
        self.kind = kind
        known = np.ones(len(mean)) if training is None else training.known
        shared = [weight / share for weight, share in zip(weights, known, strict=True)]
        for name, values in (("mean", mean), ("scale", scale), ("weight", shared)):
            self.register_buffer(name, torch.tensor(values), persistent=False)

    def forward(self, outputs: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
        """Loss of outputs (batch, targets) and the true values in their units."""
        known = ~values.isnan()
        wanted = (values - self.mean) / self.scale
        difference = torch.where(known, outputs.float() - wanted, 0.0)
        errors = torch.zeros_like(difference)
        if self.kind in ("l1", "l1+l2"):
            errors = errors + difference.abs()
        if self.kind in ("l2", "l1+l2"):
            errors = errors + difference.square()
        return (errors.mean(dim=0) * self.weight).sum()
