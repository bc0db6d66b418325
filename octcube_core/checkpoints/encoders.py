"""A bare encoder from any model: for embeddings, or as the start of another training."""

from __future__ import annotations

import dataclasses

import torch

from octcube_core.checkpoints.card import Architecture, ModelCard
from octcube_core.checkpoints.format import build_model
from octcube_core.checkpoints.reference_names import LAYOUT_NOTE
from octcube_core.errors import InputError
from octcube_core.models.coep import COEPModel
from octcube_core.models.family import Model
from octcube_core.models.octcube import FeatureEncoder, OCTCubeEncoder
from octcube_core.token_grid import Triple


def volume_encoder(model: Model, input_shape: Triple | None = None) -> FeatureEncoder:
    """The 3D encoder of a model, with its position tables brought to the grid in use.

    An image encoder (RETFound) becomes one of volumes: the three colours that its patch kernel sees are taken as the
    slices of a cube, and positions along z start at zero.

    Parameters
    ----------
    model : any model
        Not changed; the result has weights of its own.
    input_shape : (frames, height, width), optional
        By default the model's own; for an image encoder it must be given.

    Raises
    ------
    InputError
        If the cube does not divide the shape, or an image encoder is given without one.
    """
    encoder = model.oct_tower.encoder if isinstance(model, COEPModel) else model.encoder
    architecture = encoder.architecture
    if input_shape is None:
        if architecture.planar:
            raise InputError("An encoder of images needs an input_shape to become one of volumes.")
        input_shape = architecture.input_shape
    grid = encoder.embedding.grid(tuple(input_shape))
    spatial, temporal = encoder.positions.tables(grid)
    tables = {"positions.spatial": spatial, "positions.temporal": temporal}
    return _feature_encoder(
        model.card,
        dataclasses.replace(architecture, grid=grid, position_table=None, planar=False),
        encoder,
        tables,
    )


def image_encoder(model: Model, size: tuple[int, int] | None = None) -> FeatureEncoder:
    """The en-face encoder of a model, with its position table brought to the grid in use.

    Parameters
    ----------
    model : a model with an encoder of images: RETFound, a masked autoencoder of images, or a COEP model
        Not changed; the result has weights of its own.
    size : (height, width) of the images, optional
        By default the model's own.

    Raises
    ------
    InputError
        If the model has no encoder of images, or its patches do not divide the size.
    """
    encoder = model.enface_tower.encoder if isinstance(model, COEPModel) else model.encoder
    architecture = encoder.architecture
    if not architecture.planar:
        raise InputError(f"{model.card.name} has no encoder of en-face images.")
    channels, height, width = architecture.input_shape
    grid = encoder.embedding.grid((channels, *(size or (height, width))))
    spatial, _ = encoder.positions.tables(grid)
    return _feature_encoder(
        model.card,
        dataclasses.replace(architecture, grid=grid, position_table=None),
        encoder,
        {"positions.spatial": spatial},
    )


def _feature_encoder(
    card: ModelCard,
    architecture: Architecture,
    encoder: OCTCubeEncoder,
    tables: dict[str, torch.Tensor],
) -> FeatureEncoder:
    bare = ModelCard(
        name=f"Encoder of {card.name}",
        version=card.version,
        architecture=dataclasses.replace(architecture, outputs=0),
        trained_on=card.trained_on,
        intended_use=card.intended_use,
        licence=card.licence,
        synthetic=card.synthetic,
        notes={name: note for name, note in card.notes.items() if name != LAYOUT_NOTE},
    )
    weights = {
        f"encoder.{name}": tensor.detach().clone()
        for name, tensor in (encoder.state_dict() | tables).items()
    }
    built = build_model(bare, weights, card.title)
    assert isinstance(built, FeatureEncoder)
    return built
