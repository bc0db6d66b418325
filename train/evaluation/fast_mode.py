"""What fast mode costs: scores and pointing of every eye with most of its background left out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from octcube_core.analysis import analyze
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.phantom import SyntheticExam
from octcube_core.preprocess import prepare
from octcube_core.tissue import sample_tissue
from train.evaluation.explaining import Explainer
from train.evaluation.pointing import FOCAL, points_at, tokens_in_lesion


class FastMode:
    """Collects eye by eye what ``analyze`` says in fast mode."""

    def __init__(self, model: OCTCubeClassifier, explainer: Explainer) -> None:
        self._model, self._explainer = model, explainer
        self._names = [label.abbreviation for label in model.card.labels]
        self._scores: list[list[float]] = []
        self._kept: list[float] = []
        self._pointing: list[bool] = []

    def add(self, exam: SyntheticExam) -> None:
        """Analyse an eye."""
        method, layer = self._explainer
        analysis = analyze(exam, self._model, saliency=method, layer=layer, fast=True)
        self._scores.append([score.probability for score in analysis.scores])
        volume, grid = prepare(exam, self._model.card)
        sample = sample_tissue(volume[0, 0], grid.cube)
        self._kept.append(1.0 if sample is None else 1 - sample.left_out / len(sample.stand_in))
        masks = {name: mask for name, mask in exam.truth.masks.items() if mask.any()}
        self._pointing += [
            points_at(analysis.saliency[index], tokens_in_lesion(masks[name], grid))
            for index, name in enumerate(self._names)
            if name in FOCAL and name in masks
        ]

    def result(self, truth: NDArray[np.bool_], scores: NDArray[np.float64]) -> dict[str, Any]:
        """Compare with the scores of full runs, which like the truth have the shape (eyes, diseases).

        Returns
        -------
        dict
            ``kept``, the mean share of tokens that took part; ``difference`` of probabilities; ``decisions_changed``,
            the share of scores on the other side of the threshold; ``auroc_change`` of each disease and
            ``mean_auroc_change``, None where these eyes give no AUROC; ``pointing`` over the focal diseases.
        """
        fast = np.array(self._scores)
        difference = np.abs(fast - scores)
        thresholds = np.array([label.threshold for label in self._model.card.labels])
        changes = {
            name: None
            if truth[:, column].all() or not truth[:, column].any()
            else float(
                roc_auc_score(truth[:, column], fast[:, column])
                - roc_auc_score(truth[:, column], scores[:, column])
            )
            for column, name in enumerate(self._names)
        }
        known = [change for change in changes.values() if change is not None]
        return {
            "kept": float(np.mean(self._kept)),
            "difference": {
                "max": float(difference.max()),
                "p99": float(np.quantile(difference, 0.99)),
                "mean": float(difference.mean()),
            },
            "decisions_changed": float(((fast >= thresholds) != (scores >= thresholds)).mean()),
            "auroc_change": changes,
            "mean_auroc_change": float(np.mean(known)) if known else None,
            "pointing": float(np.mean(self._pointing)) if self._pointing else None,
        }
