"""What a model can be asked about one exam: its towers, their inputs, and the scalars worth explaining."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, Exam, Modality
from octcube_core.models.coep import COEPModel, PooledTower
from octcube_core.models.family import Model
from octcube_core.models.mae import MaskedAutoencoder
from octcube_core.models.octcube import FeatureEncoder, OCTCubeClassifier, OCTCubeEncoder, Pool
from octcube_core.preprocess import prepare
from octcube_core.preprocess_image import prepare_image
from octcube_core.results import Measurement
from octcube_core.saliency import Project, Target, output
from octcube_core.tissue import TokenSample
from octcube_core.token_grid import PatchGrid, TokenGrid

# What an image encoder is given, the first that an exam has.
ENFACE_PREFERENCE: tuple[Modality, ...] = ("CFP", "IR", "FAF", "OCT", "FA", "ICGA")

Outputs = Mapping[str, torch.Tensor]  # of each modality's tower, (1, n), without a graph
# Of each modality that a model looks at: its prepared tensor, and where the tokens lie.
TowerInputs = Mapping[str, tuple[torch.Tensor, TokenGrid | PatchGrid]]


@dataclass(frozen=True)
class Tower:
    """An encoder with its input: one modality of one exam.

    Attributes
    ----------
    modality : 'OCT' or that of an en-face image
    encoder : OCTCubeEncoder
    project : callable
        From the mean over tokens, or over those of each layer, to the tower's outputs: logits, or an embedding.
    volume : float32 tensor, shape (1, 1, frames, height, width) or (1, 3, height, width)
    grid : TokenGrid or PatchGrid
    sample : TokenSample, optional
        In fast mode, the tokens to run the encoder on; all by default.
    by_layer : bool
        Whether ``project`` takes the mean over each layer of cubes.
    pooled : PooledTower, optional
        The tower of an aligned model, which may pool its tokens by other than their mean.
    kind : int
        The modality's number in that tower.
    """

    modality: str
    encoder: OCTCubeEncoder
    project: Project
    volume: torch.Tensor
    grid: TokenGrid | PatchGrid
    sample: TokenSample | None = None
    by_layer: bool = False
    pooled: PooledTower | None = None
    kind: int = 0

    def pooling(self, device: torch.device) -> Pool | None:
        """What pools the tokens that the encoder is run on; None for their mean."""
        if self.pooled is None:
            return None
        stand_in = None if self.sample is None else self.sample.stand_in.to(device)
        return self.pooled.pooling_on(
            self.encoder.grid(self.volume), stand_in=stand_in, kind=self.kind
        )


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
    return towers_of(tower_inputs(exam, model.card), model)


def tower_inputs(exam: Exam, card: ModelCard) -> TowerInputs:
    """What a model with this card looks at, the volume first; needs no weights. InputError if that is nothing."""
    if card.architecture.planar:
        known = card.enface_modalities or ENFACE_PREFERENCE
        had = [image.modality for image in exam.enface]
        modality = next((name for name in known if name in had), None)
        if modality is None:
            kind = " or ".join(card.enface_modalities) or "en-face"
            raise InputError(
                f"{card.name} looks at {kind} images, and this exam has none; choose a model for volumes."
            )
        return {modality: prepare_image(_image(exam, modality), card.architecture)}
    inputs: dict[str, tuple[torch.Tensor, TokenGrid | PatchGrid]] = {"OCT": prepare(exam, card)}
    if card.alignment is not None:
        for name in card.alignment.modalities:
            if name in exam.modalities:
                inputs[name] = prepare_image(_image(exam, name), card.alignment.enface)
    return inputs


def towers_of(inputs: TowerInputs, model: Model) -> list[Tower]:
    """The towers of a model on what ``tower_inputs`` prepared for its card."""
    return [_tower(model, modality, *given) for modality, given in inputs.items()]


def crop_notes(towers: Iterable[Tower]) -> list[str]:
    """What to tell of a volume that was prepared as one of another device."""
    depths = [tower.grid.depth for tower in towers if isinstance(tower.grid, TokenGrid)]
    return [
        f"Only depth samples {depth[0] + 1} to {depth[1]} were looked at, and contrast was stretched: so this model "
        "was trained to see volumes of other devices."
        for depth in depths
        if depth is not None
    ]


def _projection(model: OCTCubeClassifier | FeatureEncoder | MaskedAutoencoder) -> Project:
    return model.head if isinstance(model, OCTCubeClassifier) else model.encoder.features


def _image(exam: Exam, modality: str) -> EnFaceImage:
    return next(image for image in exam.enface if image.modality == modality)


def _tower(model: Model, modality: str, values: torch.Tensor, grid: TokenGrid | PatchGrid) -> Tower:
    if not isinstance(model, COEPModel):
        by_layer = isinstance(model, OCTCubeClassifier) and model.head.takes_layers
        by_layer = by_layer and isinstance(grid, TokenGrid)
        return Tower(modality, model.encoder, _projection(model), values, grid, by_layer=by_layer)
    if modality == "OCT":
        volumes = model.oct_tower
        return Tower(modality, volumes.encoder, volumes.project, values, grid, pooled=volumes)
    images, number = model.enface_tower, model.modality_number(modality)
    return Tower(
        modality,
        images.encoder,
        lambda pooled: images.project(pooled, number),
        values,
        grid,
        pooled=images,
        kind=number,
    )


def head_objectives(card: ModelCard, modality: str) -> list[Objective]:
    """An objective for every label and target of a model with a single encoder: its output."""
    return [
        Objective(name, {modality: output(number)}) for name, number in _explained_outputs(card)
    ]


def _explained_outputs(card: ModelCard) -> list[tuple[str, int]]:
    """Labels, then targets, and the output that explains each: of a pair of logits, that of presence."""
    labels = [
        (label.abbreviation, number if card.exclusive else 2 * number + 1)
        for number, label in enumerate(card.labels)
    ]
    targets = enumerate(card.targets, start=card.logits)
    return labels + [(target.abbreviation, number) for number, target in targets]


def aligned_objectives(
    model: COEPModel, outputs: Outputs
) -> tuple[list[Measurement], list[Objective]]:
    """Similarity of the volume to each en-face image, and the objectives of labels, similarities and targets.

    ``outputs`` are the embeddings by modality; a missing modality is a zero vector to the head on all of them.
    """
    measurements, similarities = [], []
    for modality in model.modalities:
        if modality not in outputs:
            continue
        name = f"OCT~{modality}"
        pair = {"OCT": outputs[modality], modality: outputs["OCT"]}
        value = float((outputs["OCT"] * outputs[modality]).sum())
        measurements.append(Measurement(f"Similarity of OCT and {modality}", name, value))
        similarities.append(Objective(name, {this: _dot(other) for this, other in pair.items()}))
    of_head = [
        Objective(name, {this: _value(model, outputs, this, number) for this in outputs})
        for name, number in _explained_outputs(model.card)
    ]
    labels = len(model.card.labels)
    return measurements, of_head[:labels] + similarities + of_head[labels:]


def _dot(other: torch.Tensor) -> Target:
    return lambda own: (own * other).sum()


def _value(model: COEPModel, outputs: Outputs, modality: str, number: int) -> Target:
    return lambda own: joint_outputs(model, {**outputs, modality: own})[0, number]


def joint_outputs(model: COEPModel, outputs: Outputs) -> torch.Tensor:
    """Outputs (1, n) of an aligned model's head on the embeddings by modality."""
    given = (outputs.get(name) for name in model.modalities)
    return model.head_outputs(outputs["OCT"], *given).float()
