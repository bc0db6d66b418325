"""From a model's name or file to a model that is ready to run."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from octcube_core.checkpoints.download_bar import OnProgress
from octcube_core.checkpoints.format import load_checkpoint
from octcube_core.checkpoints.hub import locate
from octcube_core.checkpoints.released import with_released_facts
from octcube_core.checkpoints.upstream import load_upstream
from octcube_core.errors import CheckpointError
from octcube_core.memory import Plan, explained, remember, try_plans
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
        precision; where memory runs out, in bf16 or on the CPU instead, and then every analysis by it says so.

    Raises
    ------
    CheckpointError
        If there is no such model, it cannot be downloaded, or its file is damaged or of an unknown layout.
    InputError
        If the device or precision is unknown or not to be had.
    NotEnoughMemory
        If the model fits nowhere.
    """
    target = choose_device(device)
    asked = Plan(target, choose_precision(precision, target))
    path = locate(name_or_path, on_progress)
    with explained(
        f"Memory ran out while loading {path.name} ({path.stat().st_size / 1e9:.1f} GB); "
        "close other programs, or use a smaller model."
    ):
        model, plan = try_plans(asked, lambda plan: (_read(path, input_shape, plan), plan))
    if plan != asked:
        remember(model, asked, plan)
    if isinstance(name_or_path, str):
        model.card = with_released_facts(model.card, name_or_path)
    if plan.device.type == "cpu":
        torch.set_num_threads(choose_threads())
    return model


def _read(path: Path, input_shape: Triple | None, plan: Plan) -> Model:
    """A file's model, ready to run on the plan's device in its precision."""
    load = load_upstream if is_torch_file(path) else load_checkpoint
    model = load(path, dtype=plan.dtype, input_shape=input_shape)
    return model.to(plan.device).eval().requires_grad_(False)


def is_torch_file(path: Path) -> bool:
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
