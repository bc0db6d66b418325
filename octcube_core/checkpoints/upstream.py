"""The released OCTCube-M files: recognise the layout, infer every dimension, rename the weights.

Of the released layouts the eight-disease classifier loads; the others are recognised and refused by name.
"""

from __future__ import annotations

import argparse
import math
import os
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import torch

from octcube_core.checkpoints.card import Architecture, Label, ModelCard
from octcube_core.checkpoints.format import build_model, check_names
from octcube_core.errors import CheckpointError
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.token_grid import Triple

HEAD_DIM = 64  # of every released model

# ICD-10-CM. Type 1 and type 2 diabetes have codes of their own.
RELEASED_LABELS = (
    Label("Diabetic macular edema", "DME", ("E10.311", "E11.311")),
    Label("Age-related macular degeneration", "AMD", ("H35.30", "H35.31", "H35.32")),
    Label("Primary open-angle glaucoma", "POAG", ("H40.11",)),
    Label("Epiretinal membrane or macular hole", "ERM/MH", ("H35.37", "H35.34")),
    Label("Diabetic retinopathy without macular edema", "DR", ("E10.319", "E11.319")),
    Label("Posterior vitreous detachment", "PVD", ("H43.81",)),
    Label("Central retinal artery or vein occlusion", "CRAO/CRVO", ("H34.1", "H34.81")),
    Label("Retinal neovascularization", "RNV", ("H35.05",)),
)

# The reference's name of each module, and ours.
_RENAMED = {
    "cls_token": "encoder.cls_token",
    "pos_embed_spatial": "encoder.positions.spatial",
    "pos_embed_temporal": "encoder.positions.temporal",
    "pos_embed_class": "encoder.positions.cls",
    "patch_embed.proj": "encoder.embedding",
    "norm": "encoder.norm",
    "head": "head.linear",
}
_RENAMED_IN_BLOCK = {"mixer.Wqkv": "attention.qkv", "mixer.out_proj": "attention.proj"}
_BLOCK = re.compile(r"blocks\.(\d+)\.(.+)\.(weight|bias)")

Weights = dict[str, torch.Tensor]


def load_upstream(
    path: str | os.PathLike[str],
    *,
    dtype: torch.dtype = torch.float32,
    input_shape: Triple | None = None,
) -> OCTCubeClassifier:
    """Read the released multi-task classifier, or a file of its layout and any dimensions.

    Parameters
    ----------
    path : path
        A file of ``torch.save`` with ``{model, epoch, args}``. No code in it is run.
    dtype : torch.dtype
        Precision of the model in memory.
    input_shape : (frames, height, width), optional
        What the model was made for. The file states how many tokens lie in a plane but not their rows and columns;
        without this argument they are taken as the most nearly square grid, not higher than wide.

    Returns
    -------
    OCTCubeClassifier
        On the CPU, in training mode like any new module.

    Raises
    ------
    CheckpointError
        If the file cannot be read safely, has another layout, or the cube does not divide ``input_shape``.
    """
    path = Path(path)
    content = _read_safely(path)
    weights = _weights(content, path)
    _refuse_other_layouts(weights, path)
    try:
        architecture = _infer_architecture(weights, input_shape, path)
        check_names(_expected_names(architecture.depth), weights, str(path))
    except (KeyError, AttributeError, ValueError, IndexError) as error:
        raise CheckpointError(f"{path} is not a whole OCTCube classifier (at {error}).") from error
    renamed = {_our_name(name): tensor.to(dtype, copy=True) for name, tensor in weights.items()}
    return build_model(_card(architecture, content.get("epoch")), renamed, str(path))


def _read_safely(path: Path) -> dict[str, Any]:
    """Unpickle tensors, plain containers and ``argparse.Namespace``, nothing else."""
    try:
        with torch.serialization.safe_globals([argparse.Namespace]):
            # Mapped, a training checkpoint's optimiser state is never read from the disk.
            content = torch.load(
                path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path)
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


def _weights(content: dict[str, Any], path: Path) -> Weights:
    weights = content.get("model", content.get("state_dict"))
    if not isinstance(weights, dict) or not weights:
        raise CheckpointError(
            f"{path} has neither 'model' nor 'state_dict', so its layout is unknown."
        )
    if not all(isinstance(key, str) and torch.is_tensor(value) for key, value in weights.items()):
        raise CheckpointError(f"{path} holds something other than tensors among its weights.")
    return dict(weights)


def _refuse_other_layouts(weights: Weights, path: Path) -> None:
    names = {name.removeprefix("module.") for name in weights}
    if any(name.startswith(("visual.", "text.")) for name in names):
        layout = "an OCTCube-IR or OCTCube-EF model (OCT and en-face towers)"
    elif "pos_embed" in names and "blocks.0.attn.qkv.weight" in names:
        layout = "a RETFound model (2D encoder)"
    elif "mask_token" in names or "decoder_embed.weight" in names:
        layout = "a masked autoencoder (OCTCube before fine-tuning)"
    elif "pos_embed_spatial" in names and "head.weight" in names:
        return
    else:
        raise CheckpointError(
            f"{path} holds weights of an unknown layout; expected a released OCTCube classifier."
        )
    raise CheckpointError(f"{path} is {layout}, which cannot score diseases; choose a classifier.")


def _infer_architecture(weights: Weights, input_shape: Triple | None, path: Path) -> Architecture:
    dim, _, *cube = weights["patch_embed.proj.weight"].shape
    outputs = weights["head.weight"].shape[0]
    if len(cube) != 3 or dim % HEAD_DIM or outputs != 2 * len(RELEASED_LABELS):
        raise CheckpointError(
            f"{path} has {outputs} outputs, {dim} features and patches of {tuple(cube)}; a released classifier has "
            f"{2 * len(RELEASED_LABELS)} outputs, a multiple of {HEAD_DIM} features and 3D patches."
        )
    cz, cy, cx = cube
    wanted = None
    if input_shape is not None:
        if any(size < 1 or size % step for size, step in zip(input_shape, cube, strict=True)):
            raise CheckpointError(
                f"An input of {tuple(input_shape)} cannot be cut into the cubes of {tuple(cube)} of {path}."
            )
        wanted = input_shape[1] // cy, input_shape[2] // cx
    rows, columns = _table_shape(weights["pos_embed_spatial"].shape[1], wanted)
    return Architecture(
        embed_dim=dim,
        depth=1 + max(int(match[1]) for name in weights if (match := _BLOCK.fullmatch(name))),
        num_heads=dim // HEAD_DIM,
        cube=(cz, cy, cx),
        grid=(weights["pos_embed_temporal"].shape[1], rows, columns),
        mlp_dim=weights["blocks.0.mlp.fc1.weight"].shape[0],
        outputs=outputs,
        final_residual=False,
    )


def _table_shape(count: int, wanted: tuple[int, int] | None) -> tuple[int, int]:
    """(rows, columns) of a table of ``count`` in-plane positions.

    The wanted shape or a multiple of it if that fits; else the most nearly square one, rows <= columns.
    """
    if wanted is not None:
        factor = math.sqrt(count / math.prod(wanted))
        rows, columns = round(wanted[0] * factor), round(wanted[1] * factor)
        if rows * columns == count and rows * wanted[1] == columns * wanted[0]:
            return rows, columns
    rows = next(rows for rows in range(math.isqrt(count), 0, -1) if count % rows == 0)
    return rows, count // rows


def _expected_names(depth: int) -> set[str]:
    tables = {name for name in _RENAMED if name.startswith(("cls_token", "pos_embed"))}
    modules = set(_RENAMED) - tables
    parts = ("norm1", "norm2", "mlp.fc1", "mlp.fc2", *_RENAMED_IN_BLOCK)
    modules |= {f"blocks.{block}.{part}" for block in range(depth) for part in parts}
    return tables | {f"{module}.{kind}" for module in modules for kind in ("weight", "bias")}


def _our_name(name: str) -> str:
    if match := _BLOCK.fullmatch(name):
        block, module, kind = match.groups()
        return f"encoder.blocks.{block}.{_RENAMED_IN_BLOCK.get(module, module)}.{kind}"
    if name in _RENAMED:
        return _RENAMED[name]
    module, _, kind = name.rpartition(".")
    return f"{_RENAMED[module]}.{kind}"


def _card(architecture: Architecture, epoch: Any) -> ModelCard:
    return ModelCard(
        name="OCTCube multi-task (released layout)",
        version=f"epoch {epoch}" if isinstance(epoch, int) else "released",
        architecture=architecture,
        labels=RELEASED_LABELS,
        licence="that of the file's source (zucksliu/OCTCubeM on Hugging Face for the released weights)",
    )
