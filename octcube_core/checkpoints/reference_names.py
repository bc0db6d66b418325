"""What the reference implementations call each weight, and what it is called here: one table for both directions."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from octcube_core.checkpoints.card import Architecture, ModelCard

Weights = dict[str, torch.Tensor]

# In the notes of a converted file's card: how the reference's file differs from what its layout lets expect.
LAYOUT_NOTE = "reference_layout"
PREFIX = "module."  # of weights saved by a parallel trainer
ASSUMED = "assumed"
# What a note may say. A card can come from anywhere, and what it says shapes the file that is written.
_KNOWN = {
    "key": ("model", "state_dict"),
    "prefix": ("", PREFIX),
    "norm": ("norm", "fc_norm"),
    "table": (ASSUMED,),
}

_TABLES = {
    "cls_token": "cls_token",
    "pos_embed_spatial": "positions.spatial",
    "pos_embed_temporal": "positions.temporal",
    "pos_embed_class": "positions.cls",
}
_BLOCK = {"norm1": "norm1", "norm2": "norm2", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}
_OCTCUBE_ATTENTION = {"mixer.Wqkv": "attention.qkv", "mixer.out_proj": "attention.proj"}
_TIMM_ATTENTION = {"attn.qkv": "attention.qkv", "attn.proj": "attention.proj"}


def reference_names(card: ModelCard) -> dict[str, str]:
    """The reference's name of every weight of a card's network, and ours.

    Names of position tables of images are those after ``split_image_tables``. COEP names come without the prefix
    ``module.``. An image encoder is named as RETFound names it, everything else as OCTCube does.
    """
    if card.kind in ("classifier", "regression", "enface") and card.architecture.planar:
        norm = layout_note(card).get("norm", "norm")
        names = _encoder(card.architecture, "", "encoder.", norm=norm, attention=_TIMM_ATTENTION)
        return names | (_modules({"head": "head.linear"}) if card.outputs else {})
    if card.kind in ("classifier", "regression"):
        return _encoder(card.architecture, "", "encoder.") | _modules({"head": "head.linear"})
    names = _encoder(card.architecture, "", "encoder.")
    if card.kind == "mae":
        names |= _mae(card)
    elif card.kind == "coep":
        names = _coep(card)
    return names


def layout_note(card: ModelCard) -> dict[str, str]:
    """What a card remembers of the reference's file.

    ``key`` and ``prefix``: where its weights lay, and what stood before their names; ``name`` and ``epoch``: as it
    said them; ``norm``: what the last norm of a fine-tuned RETFound is called; ``table``: ``ASSUMED`` if nobody said
    how many rows and columns its position tables have. Anything else is left out.
    """
    note = card.notes.get(LAYOUT_NOTE, {})
    texts = {key: str(value) for key, value in note.items()} if isinstance(note, dict) else {}
    return {
        key: text
        for key, text in texts.items()
        if key in ("name", "epoch") or text in _KNOWN.get(key, ())
    }


def split_image_tables(weights: Mapping[str, torch.Tensor], prefix: str = "") -> Weights:
    """Bring a 2D encoder's position table and patch kernel into the form of a 3D one.

    ``pos_embed`` (1, 1 + n, dim) becomes a class position and a spatial table; the kernel's colours become the
    slices of a cube.
    """
    weights = dict(weights)
    table = weights.pop(f"{prefix}pos_embed")
    weights[f"{prefix}pos_embed_class"] = table[:, :1]
    weights[f"{prefix}pos_embed_spatial"] = table[:, 1:]
    kernel = f"{prefix}patch_embed.proj.weight"
    weights[kernel] = weights[kernel].unsqueeze(1)
    return weights


def join_image_tables(weights: Mapping[str, torch.Tensor], prefix: str = "") -> Weights:
    """Undo ``split_image_tables``."""
    weights = dict(weights)
    parts = [weights.pop(f"{prefix}pos_embed_{part}") for part in ("class", "spatial")]
    weights[f"{prefix}pos_embed"] = torch.cat(parts, dim=1)
    kernel = f"{prefix}patch_embed.proj.weight"
    weights[kernel] = weights[kernel].squeeze(1)
    return weights


def _encoder(
    architecture: Architecture,
    theirs: str,
    ours: str,
    *,
    norm: str = "norm",
    attention: Mapping[str, str] = _OCTCUBE_ATTENTION,
) -> dict[str, str]:
    tables = {
        name: our_name
        for name, our_name in _TABLES.items()
        if not (architecture.planar and name == "pos_embed_temporal")
    }
    names = tables | _modules({"patch_embed.proj": "embedding", norm: "norm"})
    names |= _blocks(architecture.depth, attention)
    return {f"{theirs}{name}": f"{ours}{our_name}" for name, our_name in names.items()}


def _mae(card: ModelCard) -> dict[str, str]:
    assert card.decoder is not None
    blocks = _blocks(card.decoder.depth, _OCTCUBE_ATTENTION)
    names = {f"decoder_{name}": f"decoder.{ours}" for name, ours in (_TABLES | blocks).items()}
    names["mask_token"] = "decoder.mask_token"
    modules = {f"decoder_{part}": f"decoder.{part}" for part in ("embed", "norm", "pred")}
    if card.decoder.high_res_embedding:
        modules["high_res_patch_embed.proj"] = "high_res_embedding"
    return names | _modules(modules)


def _coep(card: ModelCard) -> dict[str, str]:
    alignment = card.alignment
    assert alignment is not None
    several = len(alignment.modalities) > 1
    names = _encoder(card.architecture, "visual.", "oct_tower.encoder.")
    names |= _encoder(alignment.enface, "text.", "enface_tower.encoder.", norm="fc_norm")
    modules = {
        "visual.fc_aggregate_cls": "oct_tower.aggregate",
        "visual.aggregate_cls_norm": "oct_tower.aggregate_norm",
        "visual.head": "oct_tower.head",
        "text.head": "enface_tower.head",
    }
    if several:
        for number in range(len(alignment.modalities)):
            modules[f"text.mod_head_{number}"] = f"enface_tower.modality_heads.{number}"
    if alignment.regression_hidden:
        parts = {"input_norm": "norm", "fc1": "fc1", "fc2": "fc2"}
        modules |= {f"classification_head.{p}": f"regression.{ours}" for p, ours in parts.items()}
    towers = 1 + len(alignment.modalities)
    for number in range(towers * (towers - 1) // 2):
        names[f"logit_scale{number or ''}"] = f"log_scales.{number}"
    return names | _modules(modules)


def _blocks(depth: int, attention: Mapping[str, str]) -> dict[str, str]:
    parts = _modules({**_BLOCK, **attention})
    return {
        f"blocks.{block}.{name}": f"blocks.{block}.{ours}"
        for block in range(depth)
        for name, ours in parts.items()
    }


def _modules(names: Mapping[str, str]) -> dict[str, str]:
    return {
        f"{name}.{kind}": f"{ours}.{kind}"
        for name, ours in names.items()
        for kind in ("weight", "bias")
    }
