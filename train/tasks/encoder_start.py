"""What an encoder starts from, and what of it is left as it is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from itertools import chain

from octcube_core.checkpoints import load_model
from octcube_core.checkpoints.card import Architecture, Decoder
from octcube_core.checkpoints.encoders import image_encoder, volume_encoder
from octcube_core.errors import InputError
from octcube_core.models.family import Model
from octcube_core.models.octcube import OCTCubeEncoder

# What an encoder's weights do not depend on, or what is brought to this encoder's.
FREE = {"outputs", "head_dropout", "grid", "position_table"}
SAME = tuple(field.name for field in fields(Architecture) if field.name not in FREE)


def start_from(encoder: OCTCubeEncoder, name_or_path: str) -> None:
    """Load another model and copy its encoder, as ``copy_encoder``."""
    copy_encoder(encoder, load_model(name_or_path, device="cpu", precision="fp32"), name_or_path)


def copy_encoder(
    encoder: OCTCubeEncoder, source: Model, name_or_path: str, *, same_residual: bool = True
) -> None:
    """Copy another model's encoder, its position tables brought to this one's.

    An encoder of volumes starts from that of any model, one of images from RETFound, a masked autoencoder of images
    or the en-face tower of a COEP model. Without ``same_residual`` it may differ in the last residual connection,
    which has no weights.

    Raises
    ------
    InputError
        With what differs, if the other is of another architecture.
    """
    mine = encoder.architecture
    # The input whose grid is that of this encoder's table.
    shape = tuple(g * c for g, c in zip(mine.table_grid, mine.cube, strict=True))
    start = image_encoder(source, shape[1:]) if mine.planar else volume_encoder(source, shape)
    names = [name for name in SAME if same_residual or name != "final_residual"]
    check_same(start.encoder.architecture, mine, f"The encoder of {name_or_path}", names)
    encoder.load_state_dict(start.encoder.state_dict())


def check_same(
    theirs: Architecture | Decoder, mine: Architecture | Decoder, what: str, names: Iterable[str]
) -> None:
    """Raise InputError at the first of these fields in which two transformers differ."""
    for name in names:
        found, wanted = getattr(theirs, name), getattr(mine, name)
        if found != wanted:
            raise InputError(f"{what} has {name} {found}, and this recipe's card says {wanted}.")


def freeze(encoder: OCTCubeEncoder, blocks: int) -> None:
    """Leave the embedding and the first blocks as they are, 0 nothing.

    As nothing before them is trained, no graph of them is kept: they cost a forward pass alone.
    """
    if blocks == 0:
        return
    parts = (encoder.embedding, encoder.positions, *encoder.blocks[:blocks])
    for parameter in chain([encoder.cls_token], *(part.parameters() for part in parts)):
        parameter.requires_grad_(False)
