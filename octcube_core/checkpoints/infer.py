"""Every dimension of a released file from the shapes of its weights, and what is known about its layout."""

from __future__ import annotations

import re
from typing import Any

from octcube_core.checkpoints.card import (
    Alignment,
    Architecture,
    Decoder,
    ModelCard,
    Target,
)
from octcube_core.checkpoints.input_shape import table_shape, wanted_grid
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
        "cross_device": "auto",  # as the paper prepares volumes of Topcon and Zeiss
    }
    if "visual.pos_embed_spatial" in weights:
        return _coep_card(weights, input_shape, source, facts)
    planar = "pos_embed_spatial" in weights and "pos_embed_temporal" not in weights
    if planar and "blocks.0.mixer.Wqkv.weight" not in weights:
        architecture = _architecture(weights, "", input_shape, source, planar=True)
        return ModelCard("RETFound (released layout)", architecture=architecture, **facts)
    if "decoder_embed.weight" in weights:
        high_res = "high_res_patch_embed.proj.weight" in weights
        shape = input_shape or _trained_shape(weights, content, high_res)
        architecture = _architecture(weights, "", shape, source)
        decoder = _decoder(weights, content, architecture, high_res)
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
    dim, _, *sides = weights[f"{prefix}patch_embed.proj.weight"].shape
    if len(sides) != 3 or 0 in sides or dim < 1 or dim % HEAD_DIM:
        raise CheckpointError(
            f"{source} has {dim} features and patches of {tuple(sides)}; a released model has a multiple of {HEAD_DIM} "
            "features and patches of three axes."
        )
    cube = sides[0], sides[1], sides[2]
    layers = 1 if planar else weights[f"{prefix}pos_embed_temporal"].shape[1]
    wanted = None if input_shape is None else wanted_grid(input_shape, cube, planar, source)
    count = weights[f"{prefix}pos_embed_spatial"].shape[1]
    table = layers, *table_shape(count, wanted and wanted[1:])
    grid = wanted or table
    return Architecture(
        embed_dim=dim,
        depth=_count(weights, re.escape(prefix) + r"blocks\.(\d+)\.norm1\.weight"),
        num_heads=dim // HEAD_DIM,
        cube=cube,
        grid=grid,
        mlp_dim=weights[f"{prefix}blocks.0.mlp.fc1.weight"].shape[0],
        # RETFound is a standard transformer, the towers are not.
        final_residual=planar and not prefix,
        outputs=outputs,
        position_table=None if grid == table else table,
        planar=planar,
    )


def decoder_heads(width: int) -> int:
    """Attention heads of a masked autoencoder's decoder of a width, where the file does not state them.

    The released decoder has 512 features in 16 heads, the parity fixtures' 64 in 4. At widths that such a number does
    not divide, it is the next smaller one that does.
    """
    most = max(1, min(16, width // 16))
    return next(heads for heads in range(most, 0, -1) if width % heads == 0)


def _decoder(
    weights: Weights, content: dict[str, Any], encoder: Architecture, high_res: bool
) -> Decoder:
    dim = weights["decoder_embed.weight"].shape[0]
    layers = weights["decoder_pos_embed_temporal"].shape[1]
    count = weights["decoder_pos_embed_spatial"].shape[1]
    table = encoder.table_grid
    if (layers, count) != (table[0], table[1] * table[2]):
        table = layers, *table_shape(count, encoder.grid[1:])
    stated = getattr(content.get("args"), "decoder_num_heads", None)
    heads = decoder_heads(dim)
    if type(stated) is int and stated > 0 and dim % stated == 0:
        heads = stated
    return Decoder(
        embed_dim=dim,
        depth=_count(weights, r"decoder_blocks\.(\d+)\.norm1\.weight"),
        num_heads=heads,
        mlp_dim=weights["decoder_blocks.0.mlp.fc1.weight"].shape[0],
        final_residual=False,
        high_res_embedding=high_res,
        position_table=None if table == encoder.table_grid else table,
    )


def _trained_shape(weights: Weights, content: dict[str, Any], high_res: bool) -> Triple | None:
    """Input of a masked autoencoder whose position table may be of twice the resolution; None if it is not."""
    _, _, cz, cy, cx = weights["patch_embed.proj.weight"].shape
    rows, columns = table_shape(weights["pos_embed_spatial"].shape[1], None)
    size = getattr(content.get("args"), "input_size", None)
    halved = size == rows * cy // 2 if isinstance(size, int) else high_res
    if not halved or rows % 2 or columns % 2:
        return None
    layers = weights["pos_embed_temporal"].shape[1]
    return layers * cz, rows // 2 * cy, columns // 2 * cx


def _count(weights: Weights, pattern: str) -> int:
    """How many numbers a family of names goes through."""
    return len({match[1] for name in weights if (match := re.fullmatch(pattern, name))})
