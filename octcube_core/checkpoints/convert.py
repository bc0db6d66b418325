"""Checkpoints from the reference's layouts to ours and back, weight for weight."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import torch

from octcube_core.checkpoints.card import ModelCard
from octcube_core.checkpoints.format import (
    UNUSED,
    check_weights,
    read_checkpoint,
    write_checkpoint,
)
from octcube_core.checkpoints.infer import HEAD_DIM, decoder_heads
from octcube_core.checkpoints.reference_names import (
    Weights,
    join_image_tables,
    reference_names,
)
from octcube_core.checkpoints.upstream import PREFIX, read_upstream
from octcube_core.errors import CheckpointError
from octcube_core.token_grid import Triple


def to_ours(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    input_shape: Triple | None = None,
) -> ModelCard:
    """Convert a file in a reference layout to our ``.safetensors``; weights keep their data type.

    What no network here needs (RETFound's decoder) is kept in the file too, so that ``to_reference`` can give it
    back. Optimiser state and training arguments are left out.

    Parameters
    ----------
    source, target : path
        An existing target is replaced, when all is written.
    input_shape : (frames, height, width), optional
        As for ``load_upstream``.

    Raises
    ------
    CheckpointError
        If the source is no whole model of a known layout, or the target cannot be written.
    """
    file = read_upstream(source, input_shape)
    check_weights(file.card, file.weights, str(source))
    kept = {f"{UNUSED}{name}": tensor for name, tensor in file.unused.items()}
    tensors = {name: tensor.contiguous() for name, tensor in (file.weights | kept).items()}
    write_checkpoint(Path(target), file.card, tensors)
    return file.card


def to_reference(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> ModelCard:
    """Convert our ``.safetensors`` to the layout of the reference implementation.

    Parameters
    ----------
    source, target : path
        An existing target is replaced, when all is written.

    Raises
    ------
    CheckpointError
        If the source is damaged, the reference's code would compute other numbers from these weights, or the target
        cannot be written.
    """
    card, tensors = read_checkpoint(source)
    unused = {
        name.removeprefix(UNUSED): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(UNUSED)
    }
    check_weights(card, tensors, str(source))
    _check_reference_can_run(card, str(source))
    weights = {theirs: tensors[ours] for theirs, ours in reference_names(card).items()} | unused
    _save(_content(card, weights), Path(target))
    return card


def _content(card: ModelCard, weights: Weights) -> dict[str, Any]:
    if card.alignment is not None:
        weights = join_image_tables(weights, "text.")
        named = {f"{PREFIX}{name}": tensor for name, tensor in weights.items()}
        return {"epoch": _epoch(card), "name": card.name, "state_dict": named}
    if card.architecture.planar:
        weights = join_image_tables(weights)
    return {"model": weights, "epoch": _epoch(card), "args": argparse.Namespace()}


def _epoch(card: ModelCard) -> int:
    """The epoch that ``infer_card`` put into the version, else 0."""
    word, _, number = card.version.partition(" ")
    return int(number) if word == "epoch" and number.isdecimal() else 0


def _check_reference_can_run(card: ModelCard, source: str) -> None:
    """The reference's code fixes what our architecture leaves open: refuse what it would compute differently."""
    standard = card.kind == "enface"  # RETFound is a standard transformer
    for part in card.transformers:
        is_decoder = part is card.decoder
        heads = decoder_heads(part.embed_dim) if is_decoder else part.embed_dim // HEAD_DIM
        if part.num_heads != heads:
            raise CheckpointError(
                f"{source} has {part.num_heads} attention heads for {part.embed_dim} features where the reference's "
                f"code computes with {heads}; it would give other numbers from these weights."
            )
        if part.final_residual != standard:
            raise CheckpointError(
                f"{source} was trained {'without' if standard else 'with'} the last residual connection, unlike the "
                "reference's code, which would give other numbers from these weights; train with final_residual: "
                f"{str(standard).lower()} for users of that code."
            )


def _save(content: dict[str, Any], path: Path) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        torch.save(content, partial)
        partial.replace(path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        raise CheckpointError(f"The checkpoint {path} cannot be written ({error}).") from error
    finally:
        partial.unlink(missing_ok=True)
