"""What a model can be asked about one exam: its towers, their inputs, and the scalars worth explaining."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.exam import Exam, Modality
from octcube_core.models.coep import COEPModel
from octcube_core.models.family import Model
from octcube_core.models.octcube import OCTCubeClassifier, OCTCubeEncoder
from octcube_core.preprocess import prepare
from octcube_core.preprocess_image import prepare_image
from octcube_core.results import Measurement
from octcube_core.saliency import Project, Target, disease_logit
from octcube_core.tissue import TokenSample
from octcube_core.token_grid import PatchGrid, TokenGrid

# What an image encoder is given, the first that an exam has.
ENFACE_PREFERENCE: tuple[Modality, ...] = ("CFP", "IR", "FAF", "OCT", "FA", "ICGA")

Outputs = Mapping[str, torch.Tensor]  # of each modality's tower, (1, n), without a graph


@dataclass(frozen=True)
class Tower:
    """An encoder with its input: one modality of one exam.

    Attributes
    ----------
    modality : 'OCT' or that of an en-face image
    encoder : OCTCubeEncoder
    project : callable
        From the mean over tokens to the tower's outputs: logits, or an embedding.
    volume : float32 tensor, shape (1, 1, frames, height, width) or (1, 3, height, width)
    grid : TokenGrid or PatchGrid
    sample : TokenSample, optional
        In fast mode, the tokens to run the encoder on; all by default.
    """

    modality: str
    encoder: OCTCubeEncoder
    project: Project
    volume: torch.Tensor
    grid: TokenGrid | PatchGrid
    sample: TokenSample | None = None


@dataclass(frozen=True)
class Objective:
    """Something to explain: for each modality with a part in it, the scalar as a function of that tower's outputs."""

    abbreviation: str
    by_modality: Mapping[str, Target]


def exam_towers(exam: Exam, model: Model) -> list[Tower]:
    """Towers that can run on an exam, with prepared inputs; that of the volume first.

    Raises
    ------
    InputError
        If the exam lacks what the model needs.
    """
    card = model.card
    if card.kind == "enface":
        modality = next((name for name in ENFACE_PREFERENCE if exam.image(name) is not None), None)
        if modality is None:
            raise InputError(
                f"{card.name} looks at en-face images, and this exam has none; choose a model for volumes."
            )
        return [_image_tower(exam, model, modality)]
    if isinstance(model, COEPModel):
        volume, grid = prepare(exam, card)
        tower = model.oct_tower
        towers = [Tower("OCT", tower.encoder, tower.project, volume, grid)]
        known = [name for name in model.modalities if name in exam.modalities]
        return towers + [_image_tower(exam, model, name) for name in known]
    project = model.head if isinstance(model, OCTCubeClassifier) else model.encoder.features
    volume, grid = prepare(exam, card)
    return [Tower("OCT", model.encoder, project, volume, grid)]


def _image_tower(exam: Exam, model: Model, modality: str) -> Tower:
    image = next(image for image in exam.enface if image.modality == modality)
    if isinstance(model, COEPModel):
        tower, number = model.enface_tower, model.modality_number(modality)
        pixels, grid = prepare_image(image, tower.encoder.architecture)
        return Tower(
            modality, tower.encoder, lambda pooled: tower.project(pooled, number), pixels, grid
        )
    assert not isinstance(model, OCTCubeClassifier)
    pixels, grid = prepare_image(image, model.encoder.architecture)
    return Tower(modality, model.encoder, model.encoder.features, pixels, grid)


def disease_objectives(card: ModelCard) -> list[Objective]:
    """An objective for every disease that a classifier scores."""
    return [
        Objective(label.abbreviation, {"OCT": disease_logit(number)})
        for number, label in enumerate(card.labels)
    ]


def aligned_objectives(
    model: COEPModel, outputs: Outputs
) -> tuple[list[Measurement], list[Objective]]:
    """Similarity of the volume to each en-face image, and every regression value, each with its objective.

    ``outputs`` are the embeddings by modality; a missing modality is a zero vector to the regression.
    """
    measurements, objectives = [], []
    for modality in model.modalities:
        if modality not in outputs:
            continue
        name = f"OCT~{modality}"
        pair = {"OCT": outputs[modality], modality: outputs["OCT"]}
        value = float((outputs["OCT"] * outputs[modality]).sum())
        measurements.append(Measurement(f"Similarity of OCT and {modality}", name, value))
        objectives.append(Objective(name, {this: _dot(other) for this, other in pair.items()}))
    if model.regression is None:
        return measurements, objectives
    values = _predicted(model, outputs)
    for number, target in enumerate(model.card.targets):
        measurements.append(
            Measurement(target.name, target.abbreviation, float(values[0, number]), target.unit)
        )
        objectives.append(
            Objective(
                target.abbreviation,
                {this: _value(model, outputs, this, number) for this in outputs},
            )
        )
    return measurements, objectives


def _dot(other: torch.Tensor) -> Target:
    return lambda own: (own * other).sum()


def _value(model: COEPModel, outputs: Outputs, modality: str, number: int) -> Target:
    return lambda own: _predicted(model, {**outputs, modality: own})[0, number]


def _predicted(model: COEPModel, outputs: Outputs) -> torch.Tensor:
    return model.predict(outputs["OCT"], *(outputs.get(name) for name in model.modalities)).float()
