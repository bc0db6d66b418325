"""One exam through one model: scores, saliency of every disease, embedding."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from octcube_core.checkpoints.card import SALIENCY_METHODS, ModelCard
from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.models.heads import disease_probabilities
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.preprocess import prepare
from octcube_core.results import Analysis, DiseaseScore
from octcube_core.runtime import device_label, precision_label, synchronise
from octcube_core.saliency import CachedTail, disease_maps, normalise

OnProgress = Callable[[str, float], None]

MAP_COST = 1.3  # time of one disease's map over that of one block, both measured on a ViT-L


def analyze(
    exam: Exam,
    model: OCTCubeClassifier,
    *,
    saliency: str | None = None,
    on_progress: OnProgress | None = None,
) -> Analysis:
    """Score an exam, explain every score and embed it.

    Parameters
    ----------
    exam : Exam
    model : OCTCubeClassifier
        In eval mode, as ``load_model`` returns it; the work is done on its device in its precision.
    saliency : 'gradcam++' or 'hirescam', optional
        How scores are explained; by default the method of the model's card.
    on_progress : callable, optional
        Called with a stage to show and the fraction of the whole that is done, after every transformer block and
        every map. Whatever it raises aborts the analysis.

    Returns
    -------
    Analysis
        The same exam, model and device give the same numbers, timings aside.

    Raises
    ------
    InputError
        If the exam cannot be brought into the model's form, or the scores are not finite in this precision.
    """
    if model.training:
        raise InputError("The model is in training mode; call its eval() before analysing with it.")
    card = model.card
    method = saliency or card.saliency
    if method not in SALIENCY_METHODS:
        raise InputError(
            f"Unknown saliency method {method!r}; known are {', '.join(SALIENCY_METHODS)}."
        )
    parameter = next(model.parameters())
    progress = _Progress(on_progress, card)
    clock = _Clock(parameter.device)

    progress.report("Preparing the volume")
    volume, grid = prepare(exam, card)
    volume = volume.to(parameter.device, parameter.dtype)
    clock.stop("preprocess")

    progress.report("Running the network")
    with torch.no_grad():
        tokens = model.encoder.trunk(volume, lambda _done, _total: progress.block())
    clock.stop("trunk")

    with CachedTail(model, tokens, grid.shape, method) as tail:
        probabilities = _probabilities(tail.logits, card)
        progress.block()
        clock.stop("scores")
        progress.map(0)
        maps = disease_maps(tail, len(card.labels), lambda done, _total: progress.map(done))
        embedding = tail.embedding
    scaled, peaks = normalise(maps)
    clock.stop("saliency")

    return Analysis(
        scores=_scores(probabilities, card),
        normal_probability=normal_probability(probabilities),
        saliency=scaled,
        saliency_peak=peaks,
        grid=grid,
        embedding=embedding,
        card=card,
        method=SALIENCY_METHODS[method],
        device=device_label(parameter.device),
        precision=precision_label(parameter.dtype),
        timings_s=clock.timings(),
        warnings=exam.warnings + _model_warnings(exam, card),
    )


def normal_probability(probabilities: NDArray[np.float32]) -> float:
    """Probability of a normal eye as the OCTCube reference reports it.

    1 - the highest disease probability if any exceeds 0.5, else the mean of the probabilities of absence.
    """
    highest = float(probabilities.max())
    return 1.0 - highest if highest > 0.5 else float(np.mean(1.0 - probabilities))


def _probabilities(logits: NDArray[np.float32], card: ModelCard) -> NDArray[np.float32]:
    if not np.isfinite(logits).all():
        raise InputError("The model's scores are not finite in this precision; run it in fp32.")
    probabilities: NDArray[np.float32] = disease_probabilities(
        torch.from_numpy(logits), card.temperature
    ).numpy()
    return probabilities


def _scores(probabilities: NDArray[np.float32], card: ModelCard) -> tuple[DiseaseScore, ...]:
    return tuple(
        DiseaseScore(
            label.name, label.abbreviation, label.icd10, float(probability), label.threshold
        )
        for label, probability in zip(card.labels, probabilities, strict=True)
    )


def _model_warnings(exam: Exam, card: ModelCard) -> tuple[str, ...]:
    """What a reader of the scores should know about this exam in this model."""
    warnings = []
    frames = card.architecture.input_shape[0]
    if exam.volume.shape[0] < frames:
        warnings.append(
            f"The exam has {exam.volume.shape[0]} B-scans, fewer than the {frames} frames the model sees; "
            "the frames between them are interpolated."
        )
    if exam.scan_pattern not in (None, "raster"):
        warnings.append(
            f"The B-scans form a {exam.scan_pattern} pattern, but the model was made for raster scans."
        )
    if card.synthetic and exam.format != "synthetic":
        warnings.append(
            f"The model {card.name} has learnt from synthetic eyes only; "
            "its scores on a real eye mean nothing."
        )
    return tuple(warnings)


class _Progress:
    """Counts the analysis in blocks' worth of work."""

    def __init__(self, on_progress: OnProgress | None, card: ModelCard) -> None:
        self._on_progress = on_progress
        self._labels = card.labels
        self._depth = card.architecture.depth
        self._total = self._depth + MAP_COST * len(card.labels)
        self._blocks = 0

    def report(self, stage: str, done: float | None = None) -> None:
        if self._on_progress is not None:
            self._on_progress(stage, (self._blocks if done is None else done) / self._total)

    def block(self) -> None:
        self._blocks += 1
        self.report("Running the network")

    def map(self, done: int) -> None:
        under_way = self._labels[min(done, len(self._labels) - 1)]
        self.report(f"Explaining {under_way.abbreviation}", self._depth + MAP_COST * done)


class _Clock:
    """Seconds per stage, with the GPU's work awaited."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, stage: str) -> None:
        synchronise(self._device)
        now = time.perf_counter()
        self._seconds[stage] = now - self._last
        self._last = now

    def timings(self) -> dict[str, float]:
        return {**self._seconds, "total": sum(self._seconds.values())}
