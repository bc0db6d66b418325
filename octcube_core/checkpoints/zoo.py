"""From a model's name or file to a model that is ready to run."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import torch

from octcube_core.checkpoints.format import load_checkpoint
from octcube_core.checkpoints.hub import OnProgress, locate
from octcube_core.checkpoints.released import released_card_facts
from octcube_core.checkpoints.upstream import load_upstream
from octcube_core.errors import CheckpointError
from octcube_core.models.family import Model
from octcube_core.runtime import choose_device, choose_precision, choose_threads
from octcube_core.token_grid import Triple

_TORCH_MAGIC = (b"PK\x03\x04", b"\x80")  # zip since PyTorch 1.6, a bare pickle before


def load_model(
    name_or_path: str | os.PathLike[str],
    *,
    device: str = "auto",
    precision: str = "auto",
    input_shape: Triple | None = None,
    on_progress: OnProgress | None = None,
) -> Model:
    """Load a model for inference.

    Parameters
    ----------
    name_or_path : str or path
        A model's name (``octcube models`` lists them; what is not here yet is downloaded), ``hf://user/repo/file``, or
        a file: our ``.safetensors`` or a released OCTCube or RETFound file, told apart by content.
    device : str
        "auto", "cpu", "cuda", "cuda:1", "mps".
    precision : str
        "auto", "fp32", "bf16", "fp16".
    input_shape : (frames, height, width), optional
        What the model shall see, if not what it was made for; its position tables are interpolated.
    on_progress : callable, optional
        Told a stage and the fraction of a download; what it raises ends it.

    Returns
    -------
    model
        A classifier, COEP model, masked autoencoder or bare encoder, in eval mode, frozen, on the device, in the
        precision.

    Raises
    ------
    CheckpointError
        If there is no such model, it cannot be downloaded, or its file is damaged or of an unknown layout.
    InputError
        If the device or precision is unknown or not to be had.
    """
    target = choose_device(device)
    dtype = choose_precision(precision, target)
    path = locate(name_or_path, on_progress)
    if _is_torch_file(path):
        model = load_upstream(path, input_shape=input_shape, dtype=dtype)
    else:
        model = load_checkpoint(path, dtype=dtype)
    if input_shape is not None and tuple(input_shape) != model.card.architecture.input_shape:
        _set_input_shape(model, input_shape, str(path))
    if isinstance(name_or_path, str):
        facts = released_card_facts(name_or_path)
        model.card = dataclasses.replace(model.card, **facts)
    if target.type == "cpu":
        torch.set_num_threads(choose_threads())
    return model.to(target).eval().requires_grad_(False)


def _is_torch_file(path: Path) -> bool:
    """Whether a file is a PyTorch pickle (True) or safetensors (False); CheckpointError if neither."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}).") from error
    if start.startswith(_TORCH_MAGIC) and start[8:] != b"{":
        return True
    if start[8:] == b"{":  # after the header's length
        return False
    raise CheckpointError(f"{path} is not a model file (neither safetensors nor PyTorch).")


def _set_input_shape(model: Model, input_shape: Triple, source: str) -> None:
    """Let a model see another input; its position tables stay and are interpolated."""
    architecture = model.card.architecture
    if any(
        size < 1 or size % cube for size, cube in zip(input_shape, architecture.cube, strict=True)
    ):
        raise CheckpointError(
            f"An input of {tuple(input_shape)} cannot be cut into the cubes of {architecture.cube} of {source}."
        )
    z, y, x = (size // cube for size, cube in zip(input_shape, architecture.cube, strict=True))
    table = architecture.table_grid
    model.card = dataclasses.replace(
        model.card,
        architecture=dataclasses.replace(
            architecture, grid=(z, y, x), position_table=None if table == (z, y, x) else table
        ),
    )
