"""From a batch of a store to a model's outputs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.models.coep import COEPModel
from octcube_core.models.family import Model
from octcube_core.models.octcube import OCTCubeClassifier
from train.data.store import OCT
from train.data.to_device import images_to_input, volumes_to_input

Inputs = dict[str, torch.Tensor]  # of each modality


def modalities_of(card: ModelCard) -> tuple[str, ...]:
    """What a model with a head for labels or targets looks at."""
    if card.alignment is not None:
        return (OCT, *card.alignment.modalities)
    return card.enface_modalities if card.architecture.planar else (OCT,)


def model_inputs(card: ModelCard, batch: dict[str, Any]) -> Inputs:
    """A batch's volumes and images as the model sees them, on the device that the batch is on."""
    inputs = {}
    if "volume" in batch:
        inputs[OCT] = volumes_to_input(batch["volume"], card.architecture.input_shape)
    enface = card.architecture if card.alignment is None else card.alignment.enface
    for modality, image in batch.get("images", {}).items():
        inputs[modality] = images_to_input(image, enface.input_shape[1:])
    return inputs


def model_outputs(
    model: Model,
    inputs: Inputs,
    present: torch.Tensor,
    order: Sequence[str],
    keep: torch.Tensor | None = None,
) -> torch.Tensor:
    """Outputs as ``ModelCard.outputs`` counts them, shape (batch, outputs).

    ``present``, shape (batch, modalities), says which modalities, in ``order``, an exam has; one that it lacks is a
    zero vector to the head on all embeddings. ``keep``, shape (batch, kept), has the encoder of volumes (of images, in
    a model of images) see those tokens alone.

    Raises
    ------
    InputError
        If the model has no head for labels or targets.
    """
    if isinstance(model, COEPModel):
        embeddings = {
            name: model.embed_volume(value, keep)
            if name == OCT
            else model.embed_enface(value, name)
            for name, value in inputs.items()
        }
        for number, name in enumerate(order):
            embeddings[name] = embeddings[name] * present[:, number : number + 1]
        given = (embeddings.get(name) for name in (OCT, *model.modalities))
        return model.head_outputs(*given)
    if not isinstance(model, OCTCubeClassifier):
        raise InputError(
            f"{model.card.name} has no head for labels or targets; fine-tune it first."
        )
    (value,) = inputs.values()
    outputs: torch.Tensor = model(value, keep)
    return outputs
