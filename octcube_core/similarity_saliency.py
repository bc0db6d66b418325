"""Why two eyes are alike to a model: saliency of their similarity on both."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from octcube_core import memory
from octcube_core.checkpoints.card import SALIENCY_METHODS
from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.models.family import Model
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.objectives import Tower, exam_towers
from octcube_core.results import Analysis, EnFaceSaliency, Measurement
from octcube_core.runtime import deterministic, device_label, precision_label
from octcube_core.saliency import Target, normalise
from octcube_core.token_grid import PatchGrid, TokenGrid
from octcube_core.tower_run import run_tower

Floats = NDArray[np.float32]
_Side = tuple[float, Floats, Floats]

SIMILARITY = "similarity"  # the target of both results


def explain_similarity(
    query: Exam, by: str, neighbour: Exam, to: str, model: Model
) -> tuple[Analysis, Analysis]:
    """Explain the cosine similarity of two exams' embeddings.

    The scalar is differentiated with respect to the tokens of either side while the other stays as it is, by the
    method and at the layer that the model's card names.

    Parameters
    ----------
    query, neighbour : Exam
    by, to : modality of each that is compared, 'OCT' or that of an en-face image
    model : the model whose embeddings are compared

    Returns
    -------
    two Analysis
        Of the query and of the neighbour, each with the one target ``SIMILARITY``: maps on the volume, or for an
        image in ``enface``.

    Raises
    ------
    InputError
        If an exam lacks its modality.
    """
    pair = [(query, _tower(query, by, model)), (neighbour, _tower(neighbour, to, model))]
    first, second = memory.run(model, lambda: _maps([t for _, t in pair], model), lambda: None)
    value, maps = first[0], (first[1], second[1])
    results = [
        _result(exam, tower, value, raw, embedding, model)
        for (exam, tower), raw, embedding in zip(pair, maps, (first[2], second[2]), strict=True)
    ]
    return results[0], results[1]


def _tower(exam: Exam, modality: str, model: Model) -> Tower:
    for tower in exam_towers(exam, model):
        if tower.modality == modality:
            return tower
    raise InputError(f"{model.card.name} sees no {modality} in this exam.")


def _maps(towers: list[Tower], model: Model) -> tuple[_Side, _Side]:
    """Similarity, map and embedding of both sides, in the model's present plan."""
    like = next(model.parameters())
    with deterministic(like.device):
        layer = model.card.saliency_layer
        tails = [run_tower(_embedding_tower(tower, model), like.device, layer) for tower in towers]
        outputs = [tail.outputs.detach() for tail in tails]
        value = float(F.cosine_similarity(outputs[0].float(), outputs[1].float()))
        sides = []
        for tail, other, own in zip(tails, outputs[::-1], outputs, strict=True):
            with tail:
                raw = tail.map(_similarity_to(other), model.card.saliency)
            sides.append((value, raw, own.float().cpu().numpy()[0]))
    return sides[0], sides[1]


def _embedding_tower(tower: Tower, model: Model) -> Tower:
    """The tower with the embedding at its end: of a classifier what its head is given, not what the head says."""
    if not isinstance(model, OCTCubeClassifier):
        return tower
    return replace(tower, project=lambda pooled: pooled, by_layer=False)


def _similarity_to(other: torch.Tensor) -> Target:
    return lambda own: F.cosine_similarity(own.float(), other.float()).sum()


def _result(
    exam: Exam,
    tower: Tower,
    value: float,
    raw: Floats,
    embedding: Floats,
    model: Model,
) -> Analysis:
    maps, peaks = normalise(raw[None])
    grid, volume_maps, enface = tower.grid, maps, {}
    if isinstance(grid, PatchGrid):
        enface = {tower.modality: EnFaceSaliency(maps, peaks, grid)}
        shape = exam.volume.shape
        grid, volume_maps = TokenGrid(shape, shape, shape), np.zeros((1, 1, 1, 1), np.float32)
    like = next(model.parameters())
    return Analysis(
        scores=(),
        normal_probability=None,
        saliency=volume_maps,
        saliency_peak=peaks,
        grid=grid,
        embedding=embedding,
        card=model.card,
        method=SALIENCY_METHODS[model.card.saliency],
        device=device_label(like.device),
        precision=precision_label(like.dtype),
        layer=model.card.saliency_layer,
        measurements=(Measurement("Similarity", SIMILARITY, value),),
        embeddings={tower.modality: embedding},
        enface=enface,
    )
