"""Every dimension of a released file from the shapes of its weights, and what is known about its layout."""

from __future__ import annotations

import math
import re
from typing import Any

from octcube_core.checkpoints.card import (
    Alignment,
    Architecture,
    Decoder,
    ModelCard,
    Target,
)
from octcube_core.checkpoints.reference_names import Weights
from octcube_core.checkpoints.released import RELEASED_LABELS
from octcube_core.errors import CheckpointError
from octcube_core.token_grid import Triple

HEAD_DIM = 64  # of every released encoder

# En-face modalities of a COEP model, by how many heads its en-face tower has.
MODALITIES = {0: ("IR",), 2: ("FAF", "IR")}
_LICENCE = "that of the file's source"


def infer_card(
    weights: Weights, content: dict[str, Any], input_shape: Triple | None, source: str
) -> ModelCard:
    """Card of a released file, from its weights under the reference's names (2D tables split).

    Raises
    ------
    CheckpointError
        If the layout is unknown or its numbers fit no released model. A weight that is missing shows as a KeyError.
    """
    epoch = content.get("epoch")
    facts: dict[str, Any] = {
        "version": f"epoch {epoch}" if isinstance(epoch, int) else "released",
        "licence": _LICENCE,
    }
    if "visual.pos_embed_spatial" in weights:
        return _coep_card(weights, input_shape, source, facts)
    planar = "pos_embed_spatial" in weights and "pos_embed_temporal" not in weights
    if planar and "blocks.0.mixer.Wqkv.weight" not in weights:
        architecture = _architecture(weights, "", input_shape, source, planar=True)
        return ModelCard("RETFound (released layout)", architecture=architecture, **facts)
    if "decoder_embed.weight" in weights:
        decoder = _decoder(weights)
        shape = input_shape or _trained_shape(weights, content, decoder.high_res_embedding)
        architecture = _architecture(weights, "", shape, source)
        return ModelCard(
            "OCTCube masked autoencoder (released layout)",
            architecture=architecture,
            decoder=decoder,
            **facts,
        )
    if "head.weight" in weights:
        outputs = weights["head.weight"].shape[0]
        if outputs != 2 * len(RELEASED_LABELS):
            raise CheckpointError(
                f"{source} has {outputs} outputs; the released classifier has {2 * len(RELEASED_LABELS)}."
            )
        architecture = _architecture(weights, "", input_shape, source, outputs=outputs)
        return ModelCard(
            "OCTCube multi-task (released layout)",
            architecture=architecture,
            labels=RELEASED_LABELS,
            **facts,
        )
    if "pos_embed_spatial" in weights:
        architecture = _architecture(weights, "", input_shape, source)
        return ModelCard("OCTCube encoder (released layout)", architecture=architecture, **facts)
    raise CheckpointError(
        f"{source} holds weights of an unknown layout; expected a released OCTCube or RETFound file."
    )


def _coep_card(
    weights: Weights, input_shape: Triple | None, source: str, facts: dict[str, Any]
) -> ModelCard:
    heads = _count(weights, r"text\.mod_head_(\d+)\.weight")
    if heads not in MODALITIES:
        raise CheckpointError(
            f"{source} has {heads} en-face modalities; the released models have one or two."
        )
    regression = weights.get("classification_head.fc1.weight")
    targets: tuple[Target, ...] = ()
    if regression is not None:
        # The file does not say what was fine-tuned on: GA growth, BCVA, the GA area beside it.
        count = weights["classification_head.fc2.weight"].shape[0]
        targets = tuple(Target(f"Regression output {n}", f"Y{n}") for n in range(1, count + 1))
    alignment = Alignment(
        enface=_architecture(weights, "text.", None, source, planar=True),
        modalities=MODALITIES[heads],
        projection=weights["visual.head.weight"].shape[0],
        regression_hidden=0 if regression is None else regression.shape[0],
    )
    return ModelCard(
        f"OCTCube-{'EF' if heads else 'IR'} (released layout)",
        architecture=_architecture(weights, "visual.", input_shape, source),
        alignment=alignment,
        targets=targets,
        **facts,
    )


def _architecture(
    weights: Weights,
    prefix: str,
    input_shape: Triple | None,
    source: str,
    *,
    outputs: int = 0,
    planar: bool = False,
) -> Architecture:
    dim, _, *cube = weights[f"{prefix}patch_embed.proj.weight"].shape
    if len(cube) != 3 or dim % HEAD_DIM:
        raise CheckpointError(
            f"{source} has {dim} features and patches of {tuple(cube)}; a released model has a multiple of {HEAD_DIM} "
            "features and patches of three axes."
        )
    layers = 1 if planar else weights[f"{prefix}pos_embed_temporal"].shape[1]
    in_plane, wanted = None, None
    if input_shape is not None:
        if any(size < 1 or size % step for size, step in zip(input_shape, cube, strict=True)):
            raise CheckpointError(
                f"An input of {tuple(input_shape)} cannot be cut into the cubes of {tuple(cube)} of {source}."
            )
        z, y, x = (size // step for size, step in zip(input_shape, cube, strict=True))
        wanted, in_plane = (z, y, x), (y, x)
    rows, columns = _table_shape(weights[f"{prefix}pos_embed_spatial"].shape[1], in_plane)
    table = layers, rows, columns
    grid = wanted or table
    return Architecture(
        embed_dim=dim,
        depth=_count(weights, re.escape(prefix) + r"blocks\.(\d+)\.norm1\.weight"),
        num_heads=dim // HEAD_DIM,
        cube=(cube[0], cube[1], cube[2]),
        grid=grid,
        mlp_dim=weights[f"{prefix}blocks.0.mlp.fc1.weight"].shape[0],
        final_residual=planar
        and not prefix,  # RETFound is a standard transformer, the towers are not
        outputs=outputs,
        position_table=None if grid == table else table,
        planar=planar,
    )


def decoder_heads(width: int) -> int:
    """Attention heads of a masked autoencoder's decoder of a width, which no file states.

    The released decoder has 512 features in 16 heads, the parity fixtures' 64 in 4.
    """
    return max(1, min(16, width // 16))


def _decoder(weights: Weights) -> Decoder:
    dim = weights["decoder_embed.weight"].shape[0]
    return Decoder(
        embed_dim=dim,
        depth=_count(weights, r"decoder_blocks\.(\d+)\.norm1\.weight"),
        num_heads=decoder_heads(dim),
        mlp_dim=weights["decoder_blocks.0.mlp.fc1.weight"].shape[0],
        final_residual=False,
        high_res_embedding="high_res_patch_embed.proj.weight" in weights,
    )


def _trained_shape(weights: Weights, content: dict[str, Any], high_res: bool) -> Triple | None:
    """Input of a masked autoencoder whose position table may be of twice the resolution; None if it is not."""
    _, _, cz, cy, cx = weights["patch_embed.proj.weight"].shape
    rows, columns = _table_shape(weights["pos_embed_spatial"].shape[1], None)
    size = getattr(content.get("args"), "input_size", None)
    halved = size == rows * cy // 2 if isinstance(size, int) else high_res
    if not halved or rows % 2 or columns % 2:
        return None
    layers = weights["pos_embed_temporal"].shape[1]
    return layers * cz, rows // 2 * cy, columns // 2 * cx


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


def _count(weights: Weights, pattern: str) -> int:
    """How many numbers a family of names goes through."""
    return len({match[1] for name in weights if (match := re.fullmatch(pattern, name))})
