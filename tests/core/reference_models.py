"""What the reference computes from files in its layouts.

Written with plain tensor operations from the description of those layouts, so that it shares no code and no idea of
a dimension with the package that it judges. It gives the numbers of the parity fixtures.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from reference_files import HEAD, Dims, Weights
from torch import Tensor

DECODER_HEADS = 4  # at 64 features


def part(weights: Weights, prefix: str) -> Weights:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def dense(x: Tensor, w: Weights, name: str) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def normed(x: Tensor, w: Weights, name: str, eps: float = 1e-6) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    scaled = centred / torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + eps)
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def gelu(x: Tensor) -> Tensor:
    return 0.5 * x * (1 + torch.erf(x / 2**0.5))


def attended(x: Tensor, w: Weights, qkv: str, out: str, heads: int) -> Tensor:
    query, key, value = (
        rows.unflatten(-1, (heads, -1)).transpose(1, 2) for rows in dense(x, w, qkv).chunk(3, -1)
    )
    weights = torch.softmax(query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5, dim=-1)
    return dense((weights @ value).transpose(1, 2).flatten(2), w, out)


def perceptron(x: Tensor, w: Weights, name: str) -> Tensor:
    return dense(gelu(dense(x, w, f"{name}.fc1")), w, f"{name}.fc2")


def two_streams(
    x: Tensor,
    w: Weights,
    depth: int,
    heads: int,
    name: str = "blocks",
    keep_residual: bool = False,
    last_norm1: list[Tensor] | None = None,
) -> Tensor:
    """The released encoders' blocks: hidden and residual apart, and the residual forgotten at the end.

    ``last_norm1`` receives what the last block's first norm puts out, as a leaf of the graph.
    """
    hidden, residual = x, torch.zeros_like(x)
    for number in range(depth):
        block = f"{name}.{number}"
        residual = hidden + residual
        into = normed(residual, w, f"{block}.norm1")
        if last_norm1 is not None and number == depth - 1:
            into = into.detach().requires_grad_()
            last_norm1.append(into)
        hidden = attended(into, w, f"{block}.mixer.Wqkv", f"{block}.mixer.out_proj", heads)
        residual = hidden + residual
        hidden = perceptron(normed(residual, w, f"{block}.norm2"), w, f"{block}.mlp")
    return hidden + residual if keep_residual else hidden


def one_stream(x: Tensor, w: Weights, depth: int, heads: int) -> Tensor:
    """A standard transformer's blocks."""
    for number in range(depth):
        block = f"blocks.{number}"
        into = normed(x, w, f"{block}.norm1")
        x = x + attended(into, w, f"{block}.attn.qkv", f"{block}.attn.proj", heads)
        x = x + perceptron(normed(x, w, f"{block}.norm2"), w, f"{block}.mlp")
    return x


def volume_positions(w: Weights, d: Dims, prefix: str = "") -> Tensor:
    """spatial[row, column] + temporal[z] of every token, brought to the grid in use."""
    z, y, x = d.grid
    spatial, temporal = w[f"{prefix}pos_embed_spatial"], w[f"{prefix}pos_embed_temporal"]
    if d.finer > 1:
        plane = spatial.unflatten(1, (y * d.finer, x * d.finer)).permute(0, 3, 1, 2)
        plane = F.interpolate(plane, size=(y, x), mode="bicubic", align_corners=False)
        spatial = plane.permute(0, 2, 3, 1).flatten(1, 2)
    if temporal.shape[1] != z:
        line = F.interpolate(temporal.mT, size=z, mode="linear", align_corners=False)
        temporal = line.mT
    return temporal.repeat_interleave(y * x, dim=1) + spatial.repeat(1, z, 1)


def volume_tokens(volume: Tensor, w: Weights, d: Dims) -> Tensor:
    kernel, bias = w["patch_embed.proj.weight"], w["patch_embed.proj.bias"]
    tokens = F.conv3d(volume, kernel, bias, stride=(3, 16, 16)).flatten(2).mT
    return tokens + volume_positions(w, d)


def with_class(tokens: Tensor, cls: Tensor) -> Tensor:
    return torch.cat([cls.expand(len(tokens), -1, -1), tokens], dim=1)


def volume_features(
    volume: Tensor, w: Weights, d: Dims, last_norm1: list[Tensor] | None = None
) -> Tensor:
    """Mean over the tokens of the released volume encoder."""
    x = with_class(volume_tokens(volume, w, d), w["cls_token"] + w["pos_embed_class"])
    x = two_streams(x, w, d.depth, d.embed_dim // HEAD, last_norm1=last_norm1)
    return x[:, 1:].mean(dim=1)


def image_tokens(image: Tensor, w: Weights) -> Tensor:
    kernel, bias = w["patch_embed.proj.weight"], w["patch_embed.proj.bias"]
    tokens = F.conv2d(image, kernel, bias, stride=16).flatten(2).mT
    return with_class(tokens, w["cls_token"]) + w["pos_embed"]


def classifier_logits(
    volume: Tensor, w: Weights, d: Dims, last_norm1: list[Tensor] | None = None
) -> Tensor:
    return dense(volume_features(volume, w, d, last_norm1), w, "head")


def mae_outputs(
    volume: Tensor, keep: Tensor, w: Weights, d: Dims, keep_residual: bool = False
) -> dict[str, Tensor]:
    """Token by token, as slowly as it can be written."""
    _, y, x = d.grid
    tokens = volume_tokens(volume, w, d)
    visible = torch.stack([row[indices] for row, indices in zip(tokens, keep, strict=True)])
    encoded = with_class(visible, w["cls_token"] + w["pos_embed_class"])
    encoded = two_streams(encoded, w, d.depth, d.embed_dim // HEAD, keep_residual=keep_residual)
    latent = normed(encoded, w, "norm")[:, 1:]
    filled = w["mask_token"].repeat(len(volume), d.tokens, 1)
    mask = torch.ones(len(volume), d.tokens)
    for item, indices in enumerate(keep):
        for place, index in enumerate(indices):
            filled[item, index] = dense(latent[item, place], w, "decoder_embed")
            mask[item, index] = 0
    decoded = with_class(
        filled + volume_positions(w, d, "decoder_"),
        w["decoder_cls_token"] + w["decoder_pos_embed_class"],
    )
    decoded = two_streams(
        decoded, w, d.decoder_depth, DECODER_HEADS, "decoder_blocks", keep_residual=keep_residual
    )
    pred = dense(normed(decoded, w, "decoder_norm"), w, "decoder_pred")[:, 1:]
    errors = []
    for item in range(len(volume)):
        for token in range(d.tokens):
            if mask[item, token]:
                a, b, c = token // (y * x), token // x % y, token % x
                cube = volume[item, 0, 3 * a : 3 * a + 3, 16 * b : 16 * b + 16]
                target = cube[:, :, 16 * c : 16 * c + 16].flatten()
                errors.append((pred[item, token] - target).square().mean())
    return {"latent": latent, "pred": pred, "mask": mask, "loss": torch.stack(errors).mean()}


def unit(x: Tensor) -> Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def coep_volume(volume: Tensor, weights: Weights, d: Dims) -> Tensor:
    w = part(weights, "visual.")
    x = dense(normed(volume_features(volume, w, d), w, "norm"), w, "fc_aggregate_cls")
    return unit(dense(gelu(normed(x, w, "aggregate_cls_norm")), w, "head"))


def coep_image(image: Tensor, weights: Weights, d: Dims, modality: int | None = None) -> Tensor:
    w = part(weights, "text.")
    x = two_streams(image_tokens(image, w), w, d.depth, d.embed_dim // HEAD)[:, 1:].mean(dim=1)
    x = dense(normed(x, w, "fc_norm"), w, "head")
    return unit(x if modality is None else dense(gelu(x), w, f"mod_head_{modality}"))


def coep_values(embeddings: list[Tensor], weights: Weights) -> Tensor:
    """Regression on (OCT, FAF, IR)."""
    w = part(weights, "classification_head.")
    x = normed(torch.cat(embeddings, dim=-1), w, "input_norm", eps=1e-5)
    return dense(gelu(dense(x, w, "fc1")), w, "fc2")


def retfound_features(image: Tensor, w: Weights, d: Dims, norm: str = "norm") -> Tensor:
    x = one_stream(image_tokens(image, w), w, d.depth, d.embed_dim // HEAD)
    return normed(x[:, 1:].mean(dim=1), w, norm)


def gradcam_plus_plus(activation: Tensor, gradient: Tensor) -> Tensor:
    """Chattopadhay et al., arXiv:1710.11063, equation 19, over tokens x features, after ReLU."""
    a, g = activation.double(), gradient.double()
    alpha = g**2 / (2 * g**2 + a.sum(dim=0) * g**3 + 1e-6)
    alpha = torch.where(g != 0, alpha, 0.0)
    weights = (g.clamp(min=0) * alpha).sum(dim=0)
    return (a @ weights).clamp(min=0)
