"""One exam through one model: scores, measurements, saliency of each, embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from octcube_core import memory
from octcube_core.checkpoints.card import SALIENCY_LAYERS, SALIENCY_METHODS
from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.fast_mode import in_fast_mode
from octcube_core.findings import Findings, embeddings_of, findings
from octcube_core.model_warnings import model_warnings
from octcube_core.models.family import Model
from octcube_core.objectives import (
    Objective,
    Tower,
    crop_notes,
    exam_towers,
)
from octcube_core.progress import Clock, OnProgress, Progress
from octcube_core.results import Analysis, EnFaceSaliency
from octcube_core.runtime import deterministic, device_label, precision_label
from octcube_core.saliency import CachedTail, normalise
from octcube_core.token_grid import PatchGrid, TokenGrid
from octcube_core.tower_run import run_tower


def analyze(
    exam: Exam,
    model: Model,
    *,
    saliency: str | None = None,
    layer: str | None = None,
    fast: bool = False,
    on_progress: OnProgress | None = None,
) -> Analysis:
    """Score an exam, explain every score and embed it.

    Parameters
    ----------
    exam : Exam
    model : any model that ``load_model`` returns
        In eval mode; the work is done on its device in its precision. Where memory runs out, the model is brought
        into a smaller plan and stays in it: in chunks of tokens, then in bf16, then on the CPU. ``run_notes`` of the
        result say so.
    saliency : str, optional
        How results are explained, a key of ``SALIENCY_METHODS``; by default the method of the model's card.
    layer : 'norm1' or 'norm2', optional
        The last block's norm that saliency looks at; by default that of the card.
    fast : bool
        Leave most of the volume's background out of attention (see ``sample_tissue``): about twice as fast or more,
        with slightly other probabilities. ``run_notes`` say how much was left out, or why nothing was.
    on_progress : callable, optional
        Called with a stage to show and the fraction of the whole that is done, after every transformer block and
        every map. Whatever it raises aborts the analysis.

    Returns
    -------
    Analysis
        Scores, regression values and maps of a model with a head for them, and similarities with theirs of an aligned
        model; from a bare encoder the embedding alone. The same exam, model and device (Apple GPUs aside) give the
        same bits.

    Raises
    ------
    InputError
        If the exam cannot be brought into the model's form, or the results are not finite.
    NotEnoughMemory
        If memory runs out in the smallest plan too.
    """
    method, layer = _chosen(model, saliency, layer)
    clock, progress = Clock(), Progress(on_progress, model.card, layer)
    progress.report("Preparing the volume")
    shape = " x ".join(str(size) for size in exam.volume.shape)
    with memory.explained(
        f"Memory ran out while preparing the exam of {shape} voxels; close other programs and try again."
    ):
        towers = exam_towers(exam, model)
        notes = crop_notes(towers)
        if fast:
            towers, note = in_fast_mode(towers)
            notes.append(note)
    progress.expect(towers)
    clock.stop("preprocess", _device(model))

    def retry() -> None:
        clock.stop("out of memory", _device(model))
        progress.restart("Trying again with less memory")

    ran = memory.run(
        model, lambda: _run(model, towers, method, layer, progress, clock), on_retry=retry
    )
    if ran_out := memory.memory_note(model):
        notes.append(ran_out)
    grid, volume_maps = _volume_maps(exam, towers, ran.maps)
    return Analysis(
        scores=ran.found.scores,
        normal_probability=ran.found.normal,
        saliency=volume_maps[0],
        saliency_peak=volume_maps[1],
        grid=grid,
        embedding=next(iter(ran.embeddings.values())),
        card=model.card,
        method=SALIENCY_METHODS[method],
        layer=layer,
        device=device_label(_device(model)),
        precision=precision_label(next(model.parameters()).dtype),
        measurements=ran.found.measurements,
        embeddings=ran.embeddings,
        enface={
            tower.modality: EnFaceSaliency(*ran.maps[tower.modality], tower.grid)
            for tower in towers
            if isinstance(tower.grid, PatchGrid)
        },
        timings_s=clock.timings(),
        run_notes=tuple(notes),
        warnings=exam.warnings + model_warnings(exam, model.card),
    )


def _chosen(model: Model, saliency: str | None, layer: str | None) -> tuple[str, str]:
    if model.training:
        raise InputError("The model is in training mode; call its eval() before analysing with it.")
    method, layer = saliency or model.card.saliency, layer or model.card.saliency_layer
    for value, known, what in (
        (method, SALIENCY_METHODS, "method"),
        (layer, SALIENCY_LAYERS, "layer"),
    ):
        if value not in known:
            raise InputError(f"Unknown saliency {what} {value!r}; known are {', '.join(known)}.")
    return method, layer


@dataclass(frozen=True)
class _Ran:
    """All that comes from the network; maps and peaks by modality."""

    found: Findings
    embeddings: dict[str, NDArray[np.float32]]
    maps: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]]


def _run(
    model: Model,
    towers: Sequence[Tower],
    method: str,
    layer: str,
    progress: Progress,
    clock: Clock,
) -> _Ran:
    """Run every tower and explain what they say, in the model's present plan."""
    device = _device(model)
    with deterministic(device), ExitStack() as open_tails:
        tails: dict[str, CachedTail] = {}
        for tower in towers:
            progress.report("Running the network")
            tail = run_tower(tower, device, layer, progress.block)
            tails[tower.modality] = open_tails.enter_context(tail)
            progress.block()
        clock.stop("network", device)
        found = findings(model, tails)
        embeddings = embeddings_of(model, tails)
        maps = {
            tower.modality: _maps(tower, tails, found.objectives, method, progress)
            for tower in towers
        }
        clock.stop("saliency", device)
    return _Ran(found, embeddings, maps)


def _device(model: Model) -> torch.device:
    return next(model.parameters()).device


def _maps(
    tower: Tower,
    tails: dict[str, CachedTail],
    objectives: Sequence[Objective],
    method: str,
    progress: Progress,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Scaled maps and peaks of all objectives on one tower's grid."""
    raw = np.zeros((len(objectives), *_shape(tower.grid)), np.float32)
    for number, objective in enumerate(objectives):
        stage = f"Explaining {objective.abbreviation}"
        progress.report(stage)
        if target := objective.by_modality.get(tower.modality):
            raw[number] = tails[tower.modality].map(target, method)
        progress.map(stage)
    return normalise(raw)


def _volume_maps(
    exam: Exam,
    towers: Sequence[Tower],
    maps: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]],
) -> tuple[TokenGrid, tuple[NDArray[np.float32], NDArray[np.float32]]]:
    for tower in towers:
        if isinstance(tower.grid, TokenGrid):
            return tower.grid, maps[tower.modality]
    # A model of images saw nothing of the volume: empty maps, on a grid of one token.
    shape, ((_, peaks),) = exam.volume.shape, maps.values()
    empty = np.zeros((len(peaks), 1, 1, 1), np.float32), np.zeros_like(peaks)
    return TokenGrid(shape, shape, shape), empty


def _shape(grid: TokenGrid | PatchGrid) -> tuple[int, ...]:
    return grid.shape
