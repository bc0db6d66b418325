"""Metrics of an epoch's predictions; what cannot be judged (one class alone, no known value) is NaN and in no mean."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torchmetrics import Metric
from torchmetrics.functional.classification import binary_auroc, binary_average_precision
from torchmetrics.functional.regression import pearson_corrcoef, r2_score
from torchmetrics.utilities import dim_zero_cat

Judge = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Predictions(Metric):
    """All predictions and truths of an epoch, of all processes."""

    full_state_update = False
    predicted: list[torch.Tensor]
    truth: list[torch.Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.add_state("predicted", default=[], dist_reduce_fx="cat")
        self.add_state("truth", default=[], dist_reduce_fx="cat")

    def update(self, predicted: torch.Tensor, truth: torch.Tensor) -> None:
        """Add a batch, both (batch, columns); unknown truths are NaN."""
        self.predicted.append(predicted.detach().float())
        self.truth.append(truth.detach().float())


class LabelMetrics(Predictions):
    """AUROC, AUPRC (average precision) and balanced accuracy of each label, or of each class against the rest.

    Of a class, "balanced accuracy" is its recall, so that their mean is the balanced accuracy of the classes.
    """

    def __init__(self, exclusive: bool) -> None:
        super().__init__()
        self.exclusive = exclusive

    def update(self, predicted: torch.Tensor, truth: torch.Tensor) -> None:
        """Add probabilities (batch, labels) and 0 or 1 for each; of classes, (batch, 1) with the class's number."""
        if self.exclusive:
            numbers = torch.arange(predicted.shape[1], device=truth.device)
            truth = torch.where(truth.isnan(), torch.nan, (truth == numbers).float())
        super().update(predicted, truth)

    def compute(self) -> dict[str, torch.Tensor]:
        """By metric, shape (labels,)."""
        predicted, truth = dim_zero_cat(self.predicted), dim_zero_cat(self.truth)
        decided = (predicted > 0.5).float()
        if self.exclusive:
            decided = F.one_hot(predicted.argmax(1), predicted.shape[1]).float()
        return {
            "auroc": _by_column(_if_varied(_auroc), predicted, truth),
            "auprc": _by_column(_if_varied(_auprc), predicted, truth),
            "balanced_accuracy": _by_column(
                _recall if self.exclusive else _balanced_accuracy, decided, truth
            ),
        }


class RegressionMetrics(Predictions):
    """Mean absolute error (in the target's unit), R^2 and Pearson's correlation of each target."""

    def compute(self) -> dict[str, torch.Tensor]:
        """By metric, shape (targets,)."""
        predicted, truth = dim_zero_cat(self.predicted), dim_zero_cat(self.truth)
        return {
            "mae": _by_column(lambda p, t: (p - t).abs().mean(), predicted, truth),
            "r2": _by_column(_if_varied(r2_score), predicted, truth),
            "pearson": _by_column(_if_varied(pearson_corrcoef), predicted, truth),
        }


def _by_column(judge: Judge, predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """A judgement of each column's known truths, shape (columns,)."""
    columns = zip(predicted.T, truth.T, strict=True)
    return torch.stack([judge(p[~t.isnan()], t[~t.isnan()]) for p, t in columns])


def _if_varied(judge: Judge) -> Judge:
    """The judgement where truths differ, else NaN: torchmetrics itself would count a class that is absent as 0."""

    def judged(predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
        varied = len(truth.unique()) > 1
        return judge(predicted, truth) if varied else predicted.new_tensor(torch.nan)

    return judged


def _auroc(predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return binary_auroc(predicted, truth.int())


def _auprc(predicted: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return binary_average_precision(predicted, truth.int())


def _recall(decided: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return decided[truth == 1].mean()


def _balanced_accuracy(decided: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    return (_recall(decided, truth) + _recall(1 - decided, 1 - truth)) / 2
