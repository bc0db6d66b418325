"""The released OCTCube-M and RETFound files: recognise the layout, infer every dimension, rename the weights."""

from __future__ import annotations

import argparse
import dataclasses
import os
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from octcube_core.checkpoints.card import ModelCard
from octcube_core.checkpoints.card_check import check_values
from octcube_core.checkpoints.format import build_model, check_names, first_few
from octcube_core.checkpoints.infer import infer_card
from octcube_core.checkpoints.reference_names import (
    ASSUMED,
    LAYOUT_NOTE,
    PREFIX,
    Weights,
    reference_names,
    split_image_tables,
)
from octcube_core.errors import CheckpointError
from octcube_core.models.family import Model
from octcube_core.token_grid import Triple

# A fine-tuned RETFound file may hold these; a pre-trained one holds its decoder.
_NOT_ENCODER = ("decoder_", "mask_token", "head.", "fc_norm.")
_CARRIED = ("model", "state_dict", "epoch", "name")


@dataclass(frozen=True)
class UpstreamFile:
    """A released file's content: its card, and its weights under our names.

    ``unused`` holds weights of the file that no network here needs (RETFound's decoder, or the head of a fine-tuned
    one), under their own names; ``left_out`` names what the file holds beside weights, such as 'optimizer'.
    """

    card: ModelCard
    weights: Weights
    unused: Weights
    left_out: tuple[str, ...]


def load_upstream(
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    input_shape: Triple | None = None,
) -> Model:
    """Read a released model, or a file of such a layout and any dimensions.

    Parameters
    ----------
    path : path
        A file of ``torch.save``. No code in it is run.
    dtype : torch.dtype
        Precision of the model in memory.
    input_shape : (frames, height, width), optional
        What the model shall see. The file states how many tokens lie in a plane but not their rows and columns;
        without this argument they are taken as the most nearly square grid, not higher than wide.

    Returns
    -------
    model
        A classifier, masked autoencoder, COEP model or bare encoder; on the CPU, in training mode like any new module.

    Raises
    ------
    CheckpointError
        If the file cannot be read safely, has an unknown layout, or the cube does not divide ``input_shape``.
    """
    file = read_upstream(path, input_shape)
    weights = {name: tensor.to(dtype, copy=True) for name, tensor in file.weights.items()}
    return build_model(file.card, weights, str(path))


def read_upstream(path: str | os.PathLike[str], input_shape: Triple | None = None) -> UpstreamFile:
    """Read a released file's weights without building a model; arguments and errors as of ``load_upstream``."""
    path = Path(path)
    content = read_safely(path)
    weights, layout = _weights(content, path)
    image_prefix = _image_prefix(weights)
    if input_shape is None:
        layout["table"] = ASSUMED
    unused: Weights = {}
    try:
        if image_prefix is not None:
            weights = split_image_tables(weights, image_prefix)
        if image_prefix == "":
            unused = _take_unused(weights, layout)
        card = infer_card(weights, content, input_shape, str(path))
        if "head.weight" in unused:
            card = dataclasses.replace(card, name="RETFound, fine-tuned, without its head")
        card = dataclasses.replace(card, notes={**card.notes, LAYOUT_NOTE: layout})
        check_values(card)
        names = reference_names(card)
    except (LookupError, AttributeError, ValueError, TypeError, StopIteration) as error:
        raise CheckpointError(
            f"{path} is not a whole model of a released layout (at {error})."
        ) from error
    check_names(names, weights, str(path))
    ours = {names[name]: tensor for name, tensor in weights.items()}
    return UpstreamFile(card, ours, unused, tuple(key for key in content if key not in _CARRIED))


def _take_unused(weights: Weights, layout: dict[str, str | int]) -> Weights:
    """Take out of a RETFound file what its encoder does not need, and note what its last norm is called."""
    if "norm.weight" not in weights and "fc_norm.weight" in weights:
        # Fine-tuned on the mean over tokens: the same norm under a new name.
        layout["norm"] = "fc_norm"
    mine = f"{layout.get('norm', 'norm')}."
    names = [name for name in weights if name.startswith(_NOT_ENCODER)]
    return {name: weights.pop(name) for name in names if not name.startswith(mine)}


def read_safely(path: Path) -> dict[str, Any]:
    """Unpickle tensors, plain containers and ``argparse.Namespace``, nothing else."""
    if path.exists() and not path.is_file():
        raise CheckpointError(f"{path} is no ordinary file, so no model can be read from it.")
    try:
        # Mapped, a training checkpoint's optimiser state is never read from the disk. What is called .safetensors is
        # not mapped: torch would believe the name.
        mapped = zipfile.is_zipfile(path) and path.suffix != ".safetensors"
        with torch.serialization.safe_globals([argparse.Namespace]), path.open("rb") as file:
            content = torch.load(
                path if mapped else file, map_location="cpu", weights_only=True, mmap=mapped
            )
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} is damaged or holds more than weights; it was not loaded, because that could run its code."
        ) from error
    except Exception as error:  # a damaged pickle can fail in any way
        raise CheckpointError(f"{path} is damaged or not a PyTorch file ({error}).") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not a checkpoint.")
    return content


def _weights(content: dict[str, Any], path: Path) -> tuple[Weights, dict[str, str | int]]:
    """The weights without the trainer's prefix, and the note of the layout (``layout_note``)."""
    key = "model" if "model" in content else "state_dict"
    weights = content.get(key)
    if not isinstance(weights, dict) or not weights:
        raise CheckpointError(
            f"{path} has neither 'model' nor 'state_dict', so its layout is unknown."
        )
    if not all(isinstance(key, str) and torch.is_tensor(value) for key, value in weights.items()):
        raise CheckpointError(f"{path} holds something other than tensors among its weights.")
    if odd := [name for name, tensor in weights.items() if not _is_plain(tensor)]:
        raise CheckpointError(
            f"{path} holds tensors that are no plain arrays of numbers, which no released model has: {first_few(odd)}."
        )
    prefixed = sum(name.startswith(PREFIX) for name in weights)
    if prefixed not in (0, len(weights)):
        raise CheckpointError(
            f"{path} has {PREFIX!r} before {prefixed} of {len(weights)} names of weights; give it to all or to none."
        )
    prefix = PREFIX if prefixed else ""
    layout: dict[str, str | int] = {"key": key, "prefix": prefix}
    for fact, kind in (("name", str), ("epoch", int)):
        if isinstance(content.get(fact), kind):
            layout[fact] = content[fact]
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items()}, layout


def _is_plain(tensor: torch.Tensor) -> bool:
    """Whether a tensor is numbers at places of their own: not sparse, nested, quantised, complex, or without data."""
    if tensor.is_nested or tensor.layout != torch.strided or tensor.device.type != "cpu":
        return False
    if tensor.is_quantized or tensor.is_complex():
        return False
    # Some bytes that stand for a tensor of terabytes, by strides of 0.
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def _image_prefix(weights: Weights) -> str | None:
    """What stands before the names of the 2D encoder, or None if the file has none."""
    return next((prefix for prefix in ("", "text.") if f"{prefix}pos_embed" in weights), None)
