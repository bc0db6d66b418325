"""Checkpoints from the reference's layouts to ours and back, weight for weight."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from octcube_core.checkpoints.card import ModelCard
from octcube_core.checkpoints.format import (
    UNUSED,
    check_weights,
    read_checkpoint,
    whole_checkpoint,
    write_checkpoint,
)
from octcube_core.checkpoints.infer import HEAD_DIM, MODALITIES, decoder_heads
from octcube_core.checkpoints.reference_names import (
    PREFIX,
    Weights,
    join_image_tables,
    layout_note,
    reference_names,
)
from octcube_core.checkpoints.released import with_released_facts
from octcube_core.checkpoints.upstream import read_upstream
from octcube_core.errors import CheckpointError
from octcube_core.memory import explained
from octcube_core.token_grid import Triple

TORCH_SUFFIXES = (".pth", ".pt", ".ckpt")
_MEMORY = "Memory ran out while converting a model; close other programs, or use a computer with more memory."


@dataclass(frozen=True)
class Conversion:
    """What was converted.

    Attributes
    ----------
    card : ModelCard
    tensors : int
        How many, with those that no network here needs.
    unused : tuple of str
        The names of those, as the reference's file has them.
    dtypes : tuple of str
        Every data type among the tensors, such as 'float32'.
    left_out : tuple of str
        What the source holds and the target does not.
    """

    card: ModelCard
    tensors: int
    unused: tuple[str, ...]
    dtypes: tuple[str, ...]
    left_out: tuple[str, ...]


@explained(_MEMORY)
def to_ours(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    input_shape: Triple | None = None,
    name: str | None = None,
) -> Conversion:
    """Convert a file in a reference layout to our ``.safetensors``; weights keep their data type, bit for bit.

    What no network here needs (RETFound's decoder) is kept in the file too, and the card notes where the weights lay,
    so that ``to_reference`` can give the same back. Optimiser state and training arguments are left out.

    Parameters
    ----------
    source, target : path
        Another existing target is replaced, when all is written.
    input_shape : (frames, height, width), optional
        As for ``load_upstream``.
    name : str, optional
        Of the released model that the source is; what its authors say of it goes into the card.

    Raises
    ------
    CheckpointError
        If the source is no whole model of a known layout, it is also the target, or the target cannot be written or
        is called like a file of PyTorch.
    NotEnoughMemory
    """
    _check_target(source, target, TORCH_SUFFIXES, "in our format (.safetensors)")
    file = read_upstream(source, input_shape)
    check_weights(file.card, file.weights, str(source))
    kept = {f"{UNUSED}{name}": tensor for name, tensor in file.unused.items()}
    card = file.card if name is None else with_released_facts(file.card, name)
    tensors = _apart(file.weights | kept)
    write_checkpoint(Path(target), card, tensors)
    return _conversion(card, tensors, file.unused, file.left_out)


@explained(_MEMORY)
def to_reference(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> Conversion:
    """Convert our ``.safetensors`` to the layout of the reference implementation, bit for bit.

    Parameters
    ----------
    source, target : path
        Another existing target is replaced, when all is written.

    Raises
    ------
    CheckpointError
        If the source is damaged or also the target, the reference's code would compute other numbers from these
        weights, or the target cannot be written or is called ``.safetensors``.
    NotEnoughMemory
    """
    _check_target(source, target, (".safetensors",), "as a file of PyTorch (.pth)")
    card, tensors = read_checkpoint(source)
    unused = {
        name.removeprefix(UNUSED): tensors.pop(name)
        for name in list(tensors)
        if name.startswith(UNUSED)
    }
    check_weights(card, tensors, str(source))
    _check_reference_can_run(card, str(source))
    weights = {theirs: tensors[ours] for theirs, ours in reference_names(card).items()}
    if card.alignment is not None:
        weights = join_image_tables(weights, "text.")
    elif card.architecture.planar:
        weights = join_image_tables(weights)
    weights |= unused
    _save(_content(card, weights), Path(target))
    return _conversion(
        card, weights, unused, ("model card (labels, thresholds, calibration, licence)",)
    )


def _check_target(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    wrong_suffixes: tuple[str, ...],
    format_: str,
) -> None:
    source, target = Path(source), Path(target)
    try:
        same = target.exists() and source.exists() and source.samefile(target)
    except OSError as error:  # a name that is too long
        raise CheckpointError(f"{target} cannot be written ({error.strerror}).") from error
    if same:
        raise CheckpointError(f"{target} is the source itself; write to another file.")
    if target.suffix.lower() in wrong_suffixes:
        raise CheckpointError(
            f"{target} would be written {format_}, which its name belies; give it another suffix."
        )


def _apart(tensors: Weights) -> Weights:
    """Contiguous tensors that share no memory, as safetensors asks for; tied weights are written twice."""
    result: Weights = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        storage = tensor.untyped_storage().data_ptr()
        result[name] = (
            tensor.clone(memory_format=torch.contiguous_format)
            if storage in seen
            else tensor.contiguous()
        )
        seen.add(storage)
    return result


def _conversion(
    card: ModelCard, tensors: Weights, unused: Iterable[str], left_out: tuple[str, ...]
) -> Conversion:
    dtypes = sorted({str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values()})
    return Conversion(card, len(tensors), tuple(unused), tuple(dtypes), left_out)


def _content(card: ModelCard, weights: Weights) -> dict[str, Any]:
    """The reference's file: as the one that was converted once, or as its trainer writes them."""
    note = layout_note(card)
    is_coep = card.alignment is not None
    prefix = note.get("prefix", PREFIX if is_coep else "")
    named = {f"{prefix}{name}": tensor for name, tensor in weights.items()}
    epoch = note.get("epoch", "")
    content = {
        note.get("key", "state_dict" if is_coep else "model"): named,
        "epoch": int(epoch) if epoch.isdecimal() and len(epoch) < 10 else 0,
    }
    if is_coep:
        return content | {"name": note.get("name", card.name)}
    return content | {"args": argparse.Namespace()}


def _check_reference_can_run(card: ModelCard, source: str) -> None:
    """The reference's code fixes what our architecture leaves open: refuse what it would compute differently."""
    if card.decoder is not None and card.architecture.planar:
        raise CheckpointError(
            f"{source} is a masked autoencoder of images, whose decoder no layout of the reference's code can hold."
        )
    modalities = card.alignment.modalities if card.alignment is not None else ()
    if len(modalities) > 1 and modalities not in MODALITIES.values():
        raise CheckpointError(
            f"{source} has the en-face modalities {', '.join(modalities)}; the reference's code knows models of one "
            "modality, or of FAF and IR in this order."
        )
    if card.alignment is not None and card.alignment.pooling is not None:
        raise CheckpointError(
            f"{source} pools its tokens by cosines, for which the reference's layout has no names."
        )
    if card.slice_head is not None:
        raise CheckpointError(
            f"{source} ends in a transformer over slices, for which the reference's layout has no names."
        )
    standard = card.architecture.planar  # RETFound is a standard transformer
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
    with whole_checkpoint(path) as partial:
        torch.save(content, partial)
