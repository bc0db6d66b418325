"""Our checkpoint: one ``.safetensors`` file whose metadata holds the model card as JSON."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from octcube_core.checkpoints.card import Architecture, ModelCard
from octcube_core.errors import CheckpointError
from octcube_core.models.octcube import OCTCubeClassifier

CARD_KEY = "octcube_card"
_BLOCK = re.compile(r"encoder\.blocks\.(\d+)\.")


def save_checkpoint(
    path: str | os.PathLike[str], model: OCTCubeClassifier, *, dtype: torch.dtype | None = None
) -> None:
    """Write a model with its card; the file appears under its name only when it is whole.

    Parameters
    ----------
    path : path
        An existing file is replaced.
    model : OCTCubeClassifier
    dtype : torch.dtype, optional
        How weights are stored, e.g. ``torch.bfloat16`` for half the size; by default as they are.

    Raises
    ------
    CheckpointError
        If the file cannot be written.
    """
    path = Path(path)
    tensors = {
        name: tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        save_file(tensors, partial, metadata={"format": "pt", CARD_KEY: model.card.to_json()})
        partial.replace(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"The checkpoint {path} cannot be written ({error}).") from error
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(
    path: str | os.PathLike[str], *, dtype: torch.dtype = torch.float32
) -> OCTCubeClassifier:
    """Read a model that ``save_checkpoint`` wrote.

    Parameters
    ----------
    path : path
    dtype : torch.dtype
        Precision of the model in memory, whatever the file stores.

    Returns
    -------
    OCTCubeClassifier
        On the CPU, in training mode like any new module.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged, foreign, or does not fit its own card.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint file {path}.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if CARD_KEY not in metadata:
                raise CheckpointError(
                    f"{path} holds tensors but no OCTCube model card, so it is not a checkpoint of napari-octcube."
                )
            card = ModelCard.from_json(metadata[CARD_KEY])
            # Copied, since matrix products on unaligned memory round otherwise.
            names = list(file.keys())
            tensors = {name: file.get_tensor(name).to(dtype, copy=True) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file ({error}); please fetch or export it again."
        ) from error
    return build_model(card, tensors, str(path))


def build_model(
    card: ModelCard, tensors: dict[str, torch.Tensor], source: str
) -> OCTCubeClassifier:
    """Make a card's model of given weights, which it then owns.

    Raises
    ------
    CheckpointError
        If names or shapes do not fit the card; ``source`` says in the message where they are from.
    """
    _check_dimensions(card, tensors, source)
    try:
        with torch.device("meta"):  # allocates nothing and draws no random numbers
            model = OCTCubeClassifier(card)
        wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    except (TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise CheckpointError(
            f"The model card in {source} describes no model that can be built ({error})."
        ) from error
    check_names(wanted, tensors, source)
    wrong = [name for name, shape in wanted.items() if tensors[name].shape != shape]
    if wrong:
        raise CheckpointError(
            f"Weights in {source} do not have the shape its card says: {first_few(wrong)}."
        )
    model.load_state_dict(tensors, assign=True)
    return model


def check_names(wanted: Iterable[str], found: Iterable[str], source: str) -> None:
    """Raise CheckpointError, naming the first few, unless exactly the wanted weights are there."""
    missing, unexpected = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    problems = []
    if missing:
        problems.append(f"lacks {first_few(missing)}")
    if unexpected:
        problems.append(f"also holds {first_few(unexpected)}")
    if problems:
        raise CheckpointError(
            f"The weights in {source} do not fit this model: the file {' and '.join(problems)}."
        )


def first_few(names: list[str], count: int = 3) -> str:
    """The first names of a list, and how many more there are."""
    rest = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + rest


def _check_dimensions(card: ModelCard, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Refuse, before anything is built, a card whose numbers contradict each other or the file."""
    architecture: Architecture = card.architecture
    blocks = {int(match[1]) for name in tensors if (match := _BLOCK.match(name))}
    try:
        consistent = (
            architecture.depth == len(blocks) > 0
            and architecture.embed_dim % architecture.num_heads == 0
            and architecture.outputs == 2 * len(card.labels)
        )
    except (TypeError, ZeroDivisionError):
        consistent = False
    if not consistent:
        raise CheckpointError(
            f"The model card in {source} contradicts itself or the weights beside it."
        )
