"""What an analysis or an embedding returns. numpy only, so that the viewer can hold it without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.token_grid import PatchGrid, TokenGrid

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


@dataclass(frozen=True)
class Measurement:
    """A result that is no probability: a similarity between two images, or a value predicted by regression."""

    name: str
    abbreviation: str
    value: float
    unit: str = ""

    @property
    def text(self) -> str:
        """The value to three digits, with its unit."""
        return f"{self.value:.3g} {self.unit}".rstrip()


@dataclass(frozen=True, eq=False)
class EnFaceSaliency:
    """What an en-face image contributed to each target.

    Attributes
    ----------
    maps : float32 array, shape (target, rows, columns)
        On the patches, each scaled to a maximum of 1; all zero for a target the image has no part in.
    peaks : float32 array, shape (target,)
        The maximum of each map before scaling.
    grid : PatchGrid
        Where the patches lie in the image.
    """

    maps: NDArray[np.float32]
    peaks: NDArray[np.float32]
    grid: PatchGrid


@dataclass(frozen=True, eq=False)
class Analysis:
    """Scores, explanation and embedding of one exam by one model.

    Attributes
    ----------
    scores : tuple of DiseaseScore, in the model's order
        Empty if the model scores no diseases.
    normal_probability : float or None
        1 - the highest score if any exceeds 0.5, else the mean of the absent probabilities (as the reference); None
        unless the scores are of several eye diseases (``ModelCard.reports_normal``).
    saliency : float32 array, shape (target, z, y, x)
        On the token grid, a map for each of ``targets``, each scaled to a maximum of 1 over the whole volume (never
        per slice); all zero where the model found no positive evidence.
    saliency_peak : float32 array, shape (target,)
        The maximum of each map before scaling.
    grid : TokenGrid
        Where the tokens lie in the exam.
    embedding : float32 array, shape (features,)
        Of the volume (for an encoder of images, of the image).
    card : ModelCard
    method, layer : str
        The saliency method, by its name in the literature, and the norm of the last block that it looked at.
    device, precision : str
        What the model ran on.
    measurements : tuple of Measurement
        Similarities and regression values.
    embeddings : dict of str to float32 array
        By modality, of everything that the model embedded.
    enface : dict of str to EnFaceSaliency
        By modality.
    timings_s : dict of str to float
        Seconds per stage.
    run_notes : tuple of str
        What the run did otherwise than asked, e.g. after memory ran out, or to be faster.
    warnings : tuple of str
    """

    scores: tuple[DiseaseScore, ...]
    normal_probability: float | None
    saliency: NDArray[np.float32]
    saliency_peak: NDArray[np.float32]
    grid: TokenGrid
    embedding: NDArray[np.float32]
    card: ModelCard
    method: str
    device: str
    precision: str
    layer: str
    measurements: tuple[Measurement, ...] = ()
    embeddings: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    enface: dict[str, EnFaceSaliency] = field(default_factory=dict)
    timings_s: dict[str, float] = field(default_factory=dict)
    run_notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[str, ...]:
        """Abbreviations of what is explained: diseases, then measurements."""
        diseases = tuple(score.abbreviation for score in self.scores)
        return diseases + tuple(measurement.abbreviation for measurement in self.measurements)

    def name_of(self, target: str) -> str:
        """Full name of a target."""
        return self.result_of(target).name

    def result_of(self, target: str) -> DiseaseScore | Measurement:
        """What the model says about a target."""
        results: tuple[DiseaseScore | Measurement, ...] = self.scores + self.measurements
        return results[self.index(target)]

    def index(self, abbreviation: str) -> int:
        """Position of a target in ``saliency``, and of a disease in ``scores``."""
        if abbreviation in self.targets:
            return self.targets.index(abbreviation)
        known = ", ".join(self.targets) or "nothing"
        raise InputError(f"This model does not score {abbreviation!r}; it scores {known}.")

    @property
    def top_target(self) -> str | None:
        """The disease with the highest probability, else the first measurement, else None."""
        return next(iter(self.ranked_targets), None)

    @property
    def ranked_targets(self) -> tuple[str, ...]:
        """Diseases, the most probable first, then measurements."""
        diseases = sorted(self.scores, key=lambda score: -score.probability)
        measurements = [measurement.abbreviation for measurement in self.measurements]
        return (*(score.abbreviation for score in diseases), *measurements)

    def leading_targets(self, count: int = 3) -> tuple[str, ...]:
        """The diseases that are present, or else the most probable one, or else the first measurements."""
        present = {score.abbreviation for score in self.scores if score.present}
        if self.scores and not present:
            return self.ranked_targets[:1]
        return tuple(name for name in self.ranked_targets if not present or name in present)[:count]

    def bscan_importance(self, abbreviation: str) -> NDArray[np.float32]:
        """Mean saliency of each B-scan, shape (bscans,), interpolated between token layers."""
        per_layer = self.saliency[self.index(abbreviation)].mean(axis=(1, 2))
        layers = (
            np.arange(self.grid.shape[0]) * self.grid.step_voxels[0] + self.grid.origin_voxels[0]
        )
        bscans = np.arange(self.grid.volume_shape[0])
        return np.asarray(np.interp(bscans, layers, per_layer), np.float32)

    def key_bscans(self, abbreviation: str, count: int = 3) -> list[int]:
        """B-scans at the centres of the most salient token layers, most salient first; none without evidence."""
        return self.grid.key_bscans(self.saliency[self.index(abbreviation)], count)


@dataclass(frozen=True)
class ModelIdentity:
    """Which model made an embedding: embeddings of different models cannot be compared.

    Attributes
    ----------
    title : str
        Name and version, for people.
    hash : str
        Of weights and architecture (``octcube_core.embedding.model_identity``).
    features : int
        Length of its embeddings.
    source : str
        What to give ``load_model`` to have it again: a name or the file's name.
    """

    title: str
    hash: str
    features: int
    source: str = ""


@dataclass(frozen=True, eq=False)
class ExamEmbedding:
    """The embeddings of one exam by one model; by modality, float32 arrays of shape (features,)."""

    vectors: Mapping[str, NDArray[np.float32]]
    model: ModelIdentity

    def of(self, modality: str | None) -> tuple[str, NDArray[np.float32]]:
        """A modality's name and embedding, by default the first; InputError if the exam has no such one."""
        if modality is None:
            modality = next(iter(self.vectors))
        if modality not in self.vectors:
            raise InputError(
                f"{self.model.title} embedded {' and '.join(self.vectors)} of this exam, not {modality}."
            )
        return modality, self.vectors[modality]


def why_no_report(analysis: Analysis) -> str:
    """Why there is nothing to report, in one sentence; empty if there is."""
    if analysis.targets:
        return ""
    return f"{analysis.card.title} gives no scores, so there is nothing to report."
