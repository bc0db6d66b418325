"""Embeddings of exams, many at a time and without scores or saliency: what an index is filled and asked with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from octcube_core import memory
from octcube_core.checkpoints.card import ModelCard
from octcube_core.checkpoints.released import NAMES
from octcube_core.errors import InputError
from octcube_core.exam import Exam
from octcube_core.models.coep import COEPModel
from octcube_core.models.family import Model
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.objectives import tower_inputs
from octcube_core.results import ExamEmbedding, ModelIdentity

Inputs = Mapping[str, torch.Tensor]  # by modality, a batch of one
_IDENTITY = "octcube_identity"  # on a model


def embed(exam: Exam, model: Model) -> ExamEmbedding:
    """Embed every modality of an exam that a model knows; the same vectors as ``Analysis.embeddings``.

    Raises
    ------
    InputError
        If the exam has nothing that the model looks at, or the results are not finite.
    NotEnoughMemory
        If memory runs out.
    """
    (vectors,) = embed_inputs(model, [embedding_inputs(exam, model.card)])
    return ExamEmbedding(vectors, model_identity(model))


def embedding_inputs(exam: Exam, card: ModelCard) -> dict[str, torch.Tensor]:
    """What a model with this card is given of an exam, by modality; needs no weights. InputError if that is nothing."""
    return {modality: values for modality, (values, _) in tower_inputs(exam, card).items()}


def embed_inputs(model: Model, exams: Sequence[Inputs]) -> list[dict[str, NDArray[np.float32]]]:
    """Embeddings (features,) by modality of each exam's ``embedding_inputs``; inputs of one shape run together."""
    groups: dict[tuple[str, torch.Size], list[int]] = {}
    for number, inputs in enumerate(exams):
        for modality, value in inputs.items():
            groups.setdefault((modality, value.shape), []).append(number)
    found: list[dict[str, NDArray[np.float32]]] = [{} for _ in exams]
    for (modality, _), numbers in groups.items():
        batch = torch.cat([exams[number][modality] for number in numbers])
        vectors = memory.run(model, partial(_run, model, modality, batch), lambda: None)
        if not np.isfinite(vectors).all():
            raise InputError("The embeddings are not finite; run the model in fp32.")
        for number, vector in zip(numbers, vectors, strict=True):
            found[number][modality] = vector
    # In the order of the exam's own modalities, whatever was run first.
    return [
        {name: vectors[name] for name in inputs}
        for inputs, vectors in zip(exams, found, strict=True)
    ]


def _run(model: Model, modality: str, batch: torch.Tensor) -> NDArray[np.float32]:
    batch = batch.to(next(model.parameters()).device)
    with torch.inference_mode():
        if isinstance(model, COEPModel):
            volume = modality == "OCT"
            out = model.embed_volume(batch) if volume else model.embed_enface(batch, modality)
        else:
            out = model.encoder.pooled(batch)
            if not isinstance(model, OCTCubeClassifier):
                out = model.encoder.features(out)
    vectors: NDArray[np.float32] = out.float().cpu().numpy()
    return vectors


def model_identity(model: Model, source: str = "") -> ModelIdentity:
    """Which model this is: a hash of its weights, in bf16, and of its architecture.

    In bf16, so that a model that runs in bf16 and the same one in fp32 are one. ``source`` is what it was loaded by; a
    path is kept as the file's name.
    """
    source = source if source in NAMES or source.startswith("hf://") else Path(source).name
    state = _state(model)
    weights, known = getattr(model, _IDENTITY, (None, None))
    if isinstance(known, ModelIdentity) and weights == state:
        if source and not known.source:
            known = replace(known, source=source)
            setattr(model, _IDENTITY, (state, known))
        return known
    card = model.card
    digest = hashlib.sha256()
    parts = [asdict(card.architecture), None if card.alignment is None else asdict(card.alignment)]
    digest.update(json.dumps(parts, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        rounded = tensor.detach().to("cpu", torch.bfloat16).contiguous().view(torch.int16)
        digest.update(name.encode())
        digest.update(memoryview(rounded.numpy()).cast("B"))
    features = card.alignment.projection if card.alignment else card.architecture.embed_dim
    source = source or getattr(known, "source", "")
    identity = ModelIdentity(card.title, digest.hexdigest(), features, source)
    setattr(model, _IDENTITY, (state, identity))
    return identity


def _state(model: Model) -> tuple[tuple[int, int], ...]:
    """What changes when weights do: another training step, or another model's weights, is another model."""
    return tuple(
        (each.data_ptr(), 0 if each.is_inference() else each._version)
        for each in model.state_dict().values()
    )
