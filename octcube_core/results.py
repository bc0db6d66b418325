"""What an analysis returns. numpy only, so that the viewer can hold it without torch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.token_grid import TokenGrid

DISCLAIMER = "Research use only; not for diagnosis"


@dataclass(frozen=True)
class DiseaseScore:
    """One disease's probability against its operating threshold."""

    name: str
    abbreviation: str
    icd10: tuple[str, ...]
    probability: float
    threshold: float

    @property
    def present(self) -> bool:
        """Whether the probability reaches the threshold."""
        return self.probability >= self.threshold


@dataclass(frozen=True, eq=False)
class Analysis:
    """Scores, explanation and embedding of one exam by one model.

    Attributes
    ----------
    scores : tuple of DiseaseScore, in the model's order
    normal_probability : float
        1 - the highest score if any exceeds 0.5, else the mean of the absent probabilities (as the reference).
    saliency : float32 array, shape (disease, z, y, x)
        On the token grid, each disease scaled to a maximum of 1 over the whole volume
        (never per slice); all zero where the model found no positive evidence.
    saliency_peak : float32 array, shape (disease,)
        The maximum of each map before scaling.
    grid : TokenGrid
        Where the tokens lie in the exam.
    embedding : float32 array, shape (features,)
    card : ModelCard
    method : str
        The saliency method, by its name in the literature.
    device, precision : str
        What the model ran on.
    timings_s : dict of str to float
        Seconds per stage.
    warnings : tuple of str
    """

    scores: tuple[DiseaseScore, ...]
    normal_probability: float
    saliency: NDArray[np.float32]
    saliency_peak: NDArray[np.float32]
    grid: TokenGrid
    embedding: NDArray[np.float32]
    card: ModelCard
    method: str
    device: str
    precision: str
    timings_s: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def index(self, abbreviation: str) -> int:
        """Position of a disease in ``scores`` and ``saliency``."""
        for position, score in enumerate(self.scores):
            if score.abbreviation == abbreviation:
                return position
        known = ", ".join(score.abbreviation for score in self.scores)
        raise InputError(f"This model does not score {abbreviation!r}; it scores {known}.")

    @property
    def top_disease(self) -> str:
        """Abbreviation of the disease with the highest probability."""
        return max(self.scores, key=lambda score: score.probability).abbreviation

    def bscan_importance(self, abbreviation: str) -> NDArray[np.float32]:
        """Mean saliency of each B-scan, shape (bscans,), interpolated between token layers."""
        per_layer = self.saliency[self.index(abbreviation)].mean(axis=(1, 2))
        layers = (
            np.arange(self.grid.shape[0]) * self.grid.step_voxels[0] + self.grid.origin_voxels[0]
        )
        bscans = np.arange(self.grid.volume_shape[0])
        return np.asarray(np.interp(bscans, layers, per_layer), np.float32)

    def key_bscans(self, abbreviation: str, count: int = 3) -> list[int]:
        """B-scans at the centres of the most salient token layers, most salient first."""
        saliency = self.saliency[self.index(abbreviation)]
        if not saliency.any():
            return []
        order = np.argsort(-saliency.mean(axis=(1, 2)), kind="stable")
        bscans = dict.fromkeys(self.grid.bscan_of_token(int(z)) for z in order)
        return list(bscans)[:count]
