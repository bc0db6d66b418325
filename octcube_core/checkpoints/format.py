"""Our checkpoint: one ``.safetensors`` file whose metadata holds the model card as JSON."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from octcube_core.checkpoints.card import CARD_KEY, ModelCard
from octcube_core.checkpoints.input_shape import with_input_shape
from octcube_core.errors import CheckpointError
from octcube_core.models.family import Model, network
from octcube_core.token_grid import Triple
from octcube_core.whole_file import whole_file

# Weights of a converted file that no network here needs; kept so that they can be given back.
UNUSED = "unused."
_BLOCK = re.compile(r"(.*\.)blocks\.(\d+)\.")


def save_checkpoint(
    path: str | os.PathLike[str], model: Model, *, dtype: torch.dtype | None = None
) -> None:
    """Write a model with its card; the file appears under its name only when it is whole.

    Parameters
    ----------
    path : path
        An existing file is replaced.
    model : any model of a card
    dtype : torch.dtype, optional
        How weights are stored, e.g. ``torch.bfloat16`` for half the size; by default as they are.

    Raises
    ------
    CheckpointError
        If the file cannot be written.
    """
    tensors = {
        name: tensor.detach().to("cpu", dtype or tensor.dtype).contiguous()
        for name, tensor in model.state_dict().items()
    }
    write_checkpoint(Path(path), model.card, tensors)


def write_checkpoint(path: Path, card: ModelCard, tensors: dict[str, torch.Tensor]) -> None:
    """Write weights with their card, whole or not at all; CheckpointError if that cannot be done."""
    with whole_checkpoint(path) as partial:
        save_file(tensors, partial, metadata={"format": "pt", CARD_KEY: card.to_json()})


@contextmanager
def whole_checkpoint(path: Path) -> Iterator[Path]:
    """A place to write a checkpoint to; once all is written, it takes its name. CheckpointError if that fails."""
    try:
        if path.exists() and not path.is_file():
            raise CheckpointError(f"{path} is no ordinary file; write the checkpoint to another.")
        with whole_file(path) as partial:
            partial.touch()
            mode = partial.stat().st_mode  # as the umask says
            yield partial
            # safetensors writes through a file of its own, which others cannot read.
            partial.chmod(mode)
    # torch reports a full disk as RuntimeError, safetensors memory that tensors share.
    except (OSError, SafetensorError, RuntimeError) as error:
        raise CheckpointError(f"The checkpoint {path} cannot be written ({error}).") from error


def load_checkpoint(
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    input_shape: Triple | None = None,
) -> Model:
    """Read a model that ``save_checkpoint`` wrote.

    Parameters
    ----------
    path : path
    dtype : torch.dtype
        Precision of the model in memory, whatever the file stores.
    input_shape : (frames, height, width), optional
        What the model shall see, if not what its card says; its position tables are interpolated.

    Returns
    -------
    model
        Of the class that its card describes; on the CPU, in training mode like any new module.

    Raises
    ------
    CheckpointError
        If there is no such file, it is damaged, foreign, or does not fit its own card, or the cube does not divide
        ``input_shape``.
    """
    card, tensors = read_checkpoint(path, dtype=dtype, unused=False)
    if input_shape is not None:
        card = with_input_shape(card, input_shape, str(path))
    return build_model(card, tensors, str(path))


def read_checkpoint(
    path: str | os.PathLike[str], *, dtype: torch.dtype | None = None, unused: bool = True
) -> tuple[ModelCard, dict[str, torch.Tensor]]:
    """Read a file's card and weights without building a model; errors as of ``load_checkpoint``.

    ``unused`` says whether weights that no network here needs come along, their names beginning with ``UNUSED``.
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
            every = list(file.keys())
            names = [name for name in every if unused or not name.startswith(UNUSED)]
            # Copied, since matrix products on unaligned memory round otherwise.
            tensors = {name: file.get_tensor(name).to(dtype, copy=True) for name in names}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is damaged or not a safetensors file ({error}); please fetch or export it again."
        ) from error
    return card, tensors


def build_model(card: ModelCard, tensors: dict[str, torch.Tensor], source: str) -> Model:
    """Make a card's model of given weights, which it then owns.

    Raises
    ------
    CheckpointError
        If names or shapes do not fit the card; ``source`` says in the message where they are from.
    """
    check_weights(card, tensors, source)
    with torch.device("meta"):  # allocates nothing and draws no random numbers
        model = network(card)
    model.load_state_dict(tensors, assign=True)
    return model


def check_weights(card: ModelCard, tensors: dict[str, torch.Tensor], source: str) -> None:
    """Raise CheckpointError unless the weights are those of the card's network, in name and shape."""
    _check_dimensions(card, tensors, source)
    try:
        with torch.device("meta"):
            wanted = {name: tensor.shape for name, tensor in network(card).state_dict().items()}
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
    blocks: dict[str, set[int]] = {}
    for name in tensors:
        if match := _BLOCK.match(name):
            blocks.setdefault(match[1], set()).add(int(match[2]))
    try:
        consistent = _depths(card) == {prefix: len(found) for prefix, found in blocks.items()}
        consistent &= all(part.embed_dim % part.num_heads == 0 for part in card.transformers)
        consistent &= card.kind not in ("classifier", "regression") or (
            card.architecture.outputs == card.outputs
        )
        consistent &= card.alignment is None or (
            bool(card.alignment.regression_hidden) == bool(card.outputs)
        )
    except (TypeError, ZeroDivisionError):
        consistent = False
    if not consistent:
        raise CheckpointError(
            f"The model card in {source} contradicts itself or the weights beside it."
        )


def _depths(card: ModelCard) -> dict[str, int]:
    """Number of blocks by the prefix of their names."""
    if card.alignment is not None:
        return {
            "oct_tower.encoder.": card.architecture.depth,
            "enface_tower.encoder.": card.alignment.enface.depth,
        }
    depths = {"encoder.": card.architecture.depth}
    if card.decoder is not None:
        depths["decoder."] = card.decoder.depth
    if card.slice_head is not None:
        depths["head."] = card.slice_head.depth
    return depths
