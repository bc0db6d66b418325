"""Files in the released layouts with random weights, of any dimensions.

Written from the description of those layouts; shares no code with the package.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Weights = dict[str, Tensor]
HEAD = 64


@dataclass(frozen=True)
class Dims:
    """Sizes of a set of files; ``finer`` is the resolution of the stored in-plane tables over that in use."""

    embed_dim: int = 128
    depth: int = 2
    decoder_depth: int = 1
    frames: int = 9
    height: int = 32
    width: int = 48
    enface: int = 32
    projection: int = 48
    mlp_ratio: int = 4
    finer: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.frames, self.height, self.width

    @property
    def grid(self) -> tuple[int, int, int]:
        return self.frames // 3, self.height // 16, self.width // 16

    @property
    def tokens(self) -> int:
        z, y, x = self.grid
        return z * y * x


class _Maker:
    """Random weights under names with a prefix."""

    def __init__(self, seed: int, prefix: str = "") -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.prefix = prefix
        self.weights: Weights = {}

    def normal(self, name: str, *shape: int, scale: float = 0.3, mean: float = 0.0) -> None:
        self.weights[self.prefix + name] = mean + scale * torch.randn(
            shape, generator=self.generator
        )

    def linear(self, name: str, inputs: int, outputs: int) -> None:
        self.normal(f"{name}.weight", outputs, inputs, scale=inputs**-0.5)
        self.normal(f"{name}.bias", outputs, scale=0.1)

    def norm(self, name: str, dim: int) -> None:
        self.normal(f"{name}.weight", dim, mean=1.0)
        self.normal(f"{name}.bias", dim, scale=0.1)

    def kernel(self, name: str, *shape: int) -> None:
        inputs = torch.Size(shape[1:]).numel()
        self.normal(f"{name}.weight", *shape, scale=inputs**-0.5)
        self.normal(f"{name}.bias", shape[0], scale=0.1)

    def blocks(
        self, dim: int, d: Dims, depth: int, prefix: str = "", attention: str = "mixer"
    ) -> None:
        qkv, out = ("Wqkv", "out_proj") if attention == "mixer" else ("qkv", "proj")
        for number in range(depth):
            block = f"{prefix}blocks.{number}"
            self.linear(f"{block}.{attention}.{qkv}", dim, 3 * dim)
            self.linear(f"{block}.{attention}.{out}", dim, dim)
            self.linear(f"{block}.mlp.fc1", dim, d.mlp_ratio * dim)
            self.linear(f"{block}.mlp.fc2", d.mlp_ratio * dim, dim)
            self.norm(f"{block}.norm1", dim)
            self.norm(f"{block}.norm2", dim)

    def tables(self, dim: int, d: Dims, prefix: str = "") -> None:
        z, y, x = d.grid
        self.normal(f"{prefix}pos_embed_spatial", 1, y * x * d.finer**2, dim)
        self.normal(f"{prefix}pos_embed_temporal", 1, z, dim)
        self.normal(f"{prefix}pos_embed_class", 1, 1, dim)

    def volume_encoder(self, d: Dims) -> None:
        self.normal("cls_token", 1, 1, d.embed_dim)
        self.tables(d.embed_dim, d)
        self.kernel("patch_embed.proj", d.embed_dim, 1, 3, 16, 16)
        self.blocks(d.embed_dim, d, d.depth)

    def image_encoder(self, d: Dims, attention: str = "mixer") -> None:
        self.normal("cls_token", 1, 1, d.embed_dim)
        self.normal("pos_embed", 1, 1 + (d.enface // 16) ** 2, d.embed_dim)
        self.kernel("patch_embed.proj", d.embed_dim, 3, 16, 16)
        self.blocks(d.embed_dim, d, d.depth, attention=attention)


def classifier_weights(d: Dims, seed: int = 0) -> Weights:
    maker = _Maker(seed)
    maker.volume_encoder(d)
    maker.norm("norm", d.embed_dim)
    maker.linear("head", d.embed_dim, 16)
    return maker.weights


def mae_weights(d: Dims, seed: int = 1, high_res: bool = True) -> Weights:
    maker = _Maker(seed)
    maker.volume_encoder(d)
    maker.norm("norm", d.embed_dim)
    if high_res:
        maker.kernel("high_res_patch_embed.proj", d.embed_dim, 1, 3, 16, 16)
    maker.normal("mask_token", 1, 1, HEAD)
    maker.normal("decoder_cls_token", 1, 1, HEAD)
    maker.tables(HEAD, d, "decoder_")
    maker.linear("decoder_embed", d.embed_dim, HEAD)
    maker.blocks(HEAD, d, d.decoder_depth, "decoder_")
    maker.norm("decoder_norm", HEAD)
    maker.linear("decoder_pred", HEAD, 3 * 16 * 16)
    return maker.weights


def coep_weights(d: Dims, seed: int = 2, modalities: int = 1, outputs: int = 0) -> Weights:
    """Bi-modal with one en-face modality, tri-modal with two; ``outputs`` of the regression head, if any."""
    oct_tower, enface, rest = (_Maker(seed + n, p) for n, p in enumerate(("visual.", "text.", "")))
    oct_tower.volume_encoder(d)
    oct_tower.norm("norm", d.embed_dim)
    oct_tower.linear("fc_aggregate_cls", d.embed_dim, d.embed_dim)
    oct_tower.norm("aggregate_cls_norm", d.embed_dim)
    oct_tower.linear("head", d.embed_dim, d.projection)
    enface.image_encoder(d)
    enface.norm("fc_norm", d.embed_dim)
    enface.linear("head", d.embed_dim, d.projection if modalities == 1 else d.embed_dim)
    for number in range(modalities if modalities > 1 else 0):
        enface.linear(f"mod_head_{number}", d.embed_dim, d.projection)
    for name in ("logit_scale", "logit_scale1", "logit_scale2")[: 3 if modalities > 1 else 1]:
        rest.normal(name, mean=2.6)
    if outputs:
        joined = d.projection * (1 + modalities)
        rest.norm("classification_head.input_norm", joined)
        rest.linear("classification_head.fc1", joined, 40)
        rest.linear("classification_head.fc2", 40, outputs)
    return oct_tower.weights | enface.weights | rest.weights


def retfound_weights(d: Dims, seed: int = 3, norm: str = "norm") -> Weights:
    maker = _Maker(seed)
    maker.image_encoder(d, "attn")
    maker.norm(norm, d.embed_dim)
    if norm == "norm":  # pre-trained: its decoder is there
        maker.normal("mask_token", 1, 1, 32)
        maker.normal("decoder_pos_embed", 1, 1 + (d.enface // 16) ** 2, 32)
        maker.linear("decoder_embed", d.embed_dim, 32)
        maker.norm("decoder_blocks.0.norm1", 32)
    else:
        maker.linear("head", d.embed_dim, 5)
    return maker.weights


def save(path: Path, weights: Weights, **more: Any) -> Path:
    """A file as the fine-tuning and pre-training code writes it."""
    args = argparse.Namespace(model="flash_attn_vit_large_patch16", epochs=50)
    torch.save({"model": weights, "epoch": 7, "args": args, **more}, path)
    return path


def save_coep(path: Path, weights: Weights, prefix: str = "module.") -> Path:
    """A file as the contrastive training writes it."""
    named = {f"{prefix}{name}": tensor for name, tensor in weights.items()}
    torch.save({"epoch": 50, "name": "coep", "state_dict": named}, path)
    return path


def exact(weights: Weights) -> Weights:
    """The same weights in float64, so that only the judged rounds."""
    return {name: tensor.double() for name, tensor in weights.items()}


def random_volume(d: Dims, batch: int = 2, seed: int = 10) -> Tensor:
    return torch.rand(batch, 1, *d.shape, generator=torch.Generator().manual_seed(seed))


def random_image(d: Dims, batch: int = 2, seed: int = 11) -> Tensor:
    return torch.randn(batch, 3, d.enface, d.enface, generator=torch.Generator().manual_seed(seed))
