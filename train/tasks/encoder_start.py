"""What the towers of a COEP model start from, and what of them is left as it is."""

from __future__ import annotations

from dataclasses import fields, replace
from itertools import chain

from octcube_core.checkpoints import load_model
from octcube_core.checkpoints.card import Architecture
from octcube_core.checkpoints.encoders import image_encoder, volume_encoder
from octcube_core.errors import InputError
from octcube_core.models.family import Model
from octcube_core.models.octcube import OCTCubeEncoder


def start_from(encoder: OCTCubeEncoder, name_or_path: str) -> None:
    """Load another model and copy its encoder, as ``copy_encoder``."""
    copy_encoder(encoder, load_model(name_or_path, device="cpu", precision="fp32"), name_or_path)


def copy_encoder(encoder: OCTCubeEncoder, source: Model, name_or_path: str) -> None:
    """Copy another model's encoder, its position tables brought to this one's grid.

    An encoder of volumes starts from that of any model, one of images from RETFound, a masked autoencoder of images
    or the en-face tower of a COEP model.

    Raises
    ------
    InputError
        With what differs, if the other is of another architecture.
    """
    shape = encoder.architecture.input_shape
    planar = encoder.architecture.planar
    start = image_encoder(source, shape[1:]) if planar else volume_encoder(source, shape)
    mine, theirs = (
        replace(architecture, outputs=0, head_dropout=0.0, position_table=None)
        for architecture in (encoder.architecture, start.encoder.architecture)
    )
    for field in fields(Architecture):
        wanted, found = getattr(mine, field.name), getattr(theirs, field.name)
        if wanted != found:
            raise InputError(
                f"The encoder of {name_or_path} has {field.name} {found}, and this recipe's card says {wanted}."
            )
    encoder.load_state_dict(start.encoder.state_dict())


def freeze(encoder: OCTCubeEncoder, blocks: int) -> None:
    """Leave the embedding and the first blocks as they are, 0 nothing.

    As nothing before them is trained, no graph of them is kept: they cost a forward pass alone.
    """
    if blocks == 0:
        return
    parts = (encoder.embedding, encoder.positions, *encoder.blocks[:blocks])
    for parameter in chain([encoder.cls_token], *(part.parameters() for part in parts)):
        parameter.requires_grad_(False)
