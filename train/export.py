"""``python -m train export``: from a training checkpoint to the viewer's file, or to the reference's layout."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from octcube_core.checkpoints.card import CARD_KEY, ModelCard
from octcube_core.checkpoints.convert import TORCH_SUFFIXES, to_reference
from octcube_core.checkpoints.format import check_weights, read_checkpoint, write_checkpoint
from octcube_core.checkpoints.hub import locate
from octcube_core.checkpoints.upstream import read_safely
from octcube_core.checkpoints.zoo import is_torch_file
from octcube_core.errors import CheckpointError, InputError
from octcube_core.runtime import PRECISIONS
from train.engine.adapters import Weights, merged_adapters
from train.engine.card_in_checkpoint import ADAPTERS_KEY, PREFIX_KEY


def main(argv: list[str]) -> None:
    """Parse the arguments and convert."""
    parser = argparse.ArgumentParser(prog="python -m train export", description=__doc__)
    parser.add_argument("checkpoint", type=Path, help="of a run (.ckpt), or a model (.safetensors)")
    parser.add_argument("--out", type=Path, required=True, help="file to write")
    parser.add_argument(
        "--layout",
        choices=("octcube", "reference"),
        default="octcube",
        help="octcube: for the viewer, .safetensors; reference: for the code of the OCTCube-M authors, .pth",
    )
    parser.add_argument(
        "--precision", choices=tuple(PRECISIONS), help="of the stored weights; default: as they are"
    )
    parser.add_argument(
        "--last",
        action="store_true",
        help="of a run with averaged weights (--ema): the weights that were trained, not their average",
    )
    arguments = parser.parse_args(argv)
    card, weights = read_trained(arguments.checkpoint, averaged=not arguments.last)
    if arguments.precision is not None:
        dtype = PRECISIONS[arguments.precision]
        weights = {
            name: tensor.to(dtype) if tensor.is_floating_point() else tensor
            for name, tensor in weights.items()
        }
    _write(arguments.out, arguments.layout, card, weights)
    print(f"Wrote {arguments.out}")


def read_trained(path: Path, *, averaged: bool = True) -> tuple[ModelCard, Weights]:
    """Card and weights of a training checkpoint or of our ``.safetensors``.

    Parameters
    ----------
    path : path
    averaged : of a run that kept a moving average of its weights, whether to take that

    Raises
    ------
    CheckpointError
        If there is no such file, it is damaged, holds more than weights and plain values, or is of another program.
    InputError
        If weights that were not averaged are asked for of a file that has none.
    """
    path = locate(path)
    if not is_torch_file(path):
        if not averaged:
            raise InputError(f"{path} is a model, not a run's checkpoint; leave out --last.")
        return read_checkpoint(path)
    content = _read(path)
    if CARD_KEY not in content or PREFIX_KEY not in content:
        raise CheckpointError(
            f"{path} holds no model card, so it is no training checkpoint of this program; convert files of the "
            "reference with octcube convert."
        )
    card = ModelCard.from_json(content[CARD_KEY])
    # Lightning's weight averaging puts the average in the place of the weights, and these aside.
    key = (
        "current_model_state" if not averaged and "current_model_state" in content else "state_dict"
    )
    if not averaged and key == "state_dict":
        raise InputError(
            f"{path} has no averaged weights, so --last changes nothing; leave it out."
        )
    prefix = content[PREFIX_KEY]
    state = content[key]
    weights = {
        name.removeprefix(prefix): tensor
        for name, tensor in state.items()
        if name.startswith(prefix)
    }
    if ADAPTERS_KEY in content:
        weights = merged_adapters(weights, float(content[ADAPTERS_KEY]))
    check_weights(card, weights, str(path))
    return card, {name: tensor.contiguous() for name, tensor in weights.items()}


def _read(path: Path) -> dict[str, Any]:
    """Tensors and plain values of a pickle; no code in it is run."""
    content = read_safely(path)
    if not isinstance(content.get("state_dict"), dict):
        raise CheckpointError(f"{path} is no training checkpoint of this program.")
    return content


def _write(out: Path, layout: str, card: ModelCard, weights: Weights) -> None:
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out.parent} cannot be made ({error.strerror}).") from error
    if layout == "octcube":
        if out.suffix.lower() in TORCH_SUFFIXES:
            raise InputError(
                f"{out} would hold safetensors, which its name belies; call it .safetensors."
            )
        write_checkpoint(out, card, weights)
        return
    with tempfile.TemporaryDirectory(dir=out.absolute().parent, prefix=".export-") as folder:
        ours = Path(folder) / "model.safetensors"
        write_checkpoint(ours, card, weights)
        try:
            to_reference(ours, out)
        except CheckpointError as error:
            raise CheckpointError(str(error).replace(str(ours), card.name)) from error
