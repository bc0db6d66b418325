"""The masked autoencoder (He et al., arXiv:2111.06377) of volumes and of en-face images that pre-trains encoders."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from octcube_core.checkpoints.card import Decoder, ModelCard
from octcube_core.errors import InputError
from octcube_core.models.blocks import Block, LayerNorm
from octcube_core.models.embeddings import CubeEmbedding, CubePositions, split_cubes, take_tokens
from octcube_core.models.octcube import OCTCubeEncoder, initialise_linear
from octcube_core.token_grid import Triple

TARGET_EPS = 1e-6  # under the root of a cube's variance


@dataclass(frozen=True)
class Reconstruction:
    """What a masked autoencoder makes of a batch of volumes.

    Where only some of the masked tokens were decoded, ``pred`` and ``errors`` are of those alone, in the order asked
    for; else of all tokens.

    Attributes
    ----------
    loss : scalar tensor, the mean squared error over the voxels of the masked (and decoded) tokens
    pred : tensor, shape (batch, tokens, voxels of a cube), in the order (z, row, column)
    errors : float32 tensor, shape (batch, tokens), the mean squared error of each token
    mask : tensor, shape (batch, all tokens), 1 where a token was masked
    latent : tensor, shape (batch, kept, dim), the encoder's normalised tokens without the class token
    """

    loss: torch.Tensor
    pred: torch.Tensor
    errors: torch.Tensor
    mask: torch.Tensor
    latent: torch.Tensor


class MaskedDecoder(nn.Module):
    """Voxels of masked cubes from the tokens of the visible ones.

    Attributes
    ----------
    checkpointing : bool
        As that of ``OCTCubeEncoder``.
    """

    def __init__(
        self, dim: int, voxels: int, table_grid: Triple, decoder: Decoder, planar: bool = False
    ) -> None:
        super().__init__()
        width = decoder.embed_dim
        self.final_residual = decoder.final_residual
        self.checkpointing = False
        self.embed = nn.Linear(dim, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = CubePositions(width, table_grid, planar)
        self.blocks = nn.ModuleList(
            Block(width, decoder.num_heads, decoder.mlp_dim) for _ in range(decoder.depth)
        )
        self.norm = LayerNorm(width)
        self.pred = nn.Linear(width, voxels)
        for token in (self.cls_token, self.mask_token):
            nn.init.normal_(token, std=0.02)
        self.apply(initialise_linear)

    def forward(
        self,
        latent: torch.Tensor,
        keep: torch.Tensor,
        grid: Triple,
        decode: torch.Tensor | None = None,
        *,
        along_z: bool = True,
    ) -> torch.Tensor:
        """Predicted voxels from the kept tokens' latent, shape (batch, kept, dim).

        Parameters
        ----------
        keep : integer tensor, shape (batch, kept)
        grid : (z, y, x) of all tokens
        decode : integer tensor, shape (batch, decoded), optional
            The masked tokens to predict; the others are left out, as if they were not part of the volume. By default
            every token is predicted, the kept ones too.
        along_z : bool
            As for ``CubePositions``.

        Returns
        -------
        tensor, shape (batch, tokens or decoded, voxels)
        """
        visible = self.embed(latent)
        if decode is None:
            x = self._all_tokens(visible, keep, grid) + self.positions(grid, along_z=along_z)
        else:
            seen = visible + self.positions(grid, keep, along_z=along_z)
            hidden = self.mask_token + self.positions(grid, decode, along_z=along_z)
            x = torch.cat([seen, hidden], dim=1)
        cls = (self.cls_token + self.positions.cls).expand(x.shape[0], -1, -1)
        x = torch.cat([cls, x], dim=1)
        for block in self.blocks[:-1]:
            x = self._run(block, x)
        x = self._run(self.blocks[-1], x, self.final_residual)
        x = x[:, 1:] if decode is None else x[:, -decode.shape[1] :]
        voxels: torch.Tensor = self.pred(self.norm(x))
        return voxels

    def _all_tokens(self, visible: torch.Tensor, keep: torch.Tensor, grid: Triple) -> torch.Tensor:
        """Visible tokens in their places and mask tokens in all others."""
        batch, _, width = visible.shape
        tokens = self.mask_token.repeat(batch, grid[0] * grid[1] * grid[2], 1).to(visible.dtype)
        return tokens.scatter(1, keep[..., None].expand(-1, -1, width), visible)

    def _run(self, block: nn.Module, x: torch.Tensor, add_residual: bool = True) -> torch.Tensor:
        output: torch.Tensor
        if self.checkpointing and self.training and torch.is_grad_enabled():
            output = checkpoint(block, x, add_residual, use_reentrant=False)
        else:
            output = block(x, add_residual)
        return output


class MaskedAutoencoder(nn.Module):
    """Encoder of the visible cubes of a volume, or patches of an image, and decoder of the masked ones.

    Attributes
    ----------
    card : ModelCard
    encoder : OCTCubeEncoder
    decoder : MaskedDecoder
    high_res_embedding : CubeEmbedding or None
        A second embedding, for neighbouring B-scans of high resolution that are one layer of cubes.
    """

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        assert card.decoder is not None
        architecture = card.architecture
        z, y, x = architecture.cube
        self.card = card
        self.encoder = OCTCubeEncoder(architecture)
        self.decoder = MaskedDecoder(
            architecture.embed_dim,
            z * y * x,
            card.decoder.position_table or architecture.table_grid,
            card.decoder,
            architecture.planar,
        )
        self.high_res_embedding = (
            CubeEmbedding(architecture.embed_dim, architecture.cube)
            if card.decoder.high_res_embedding
            else None
        )

    def forward(
        self,
        volume: torch.Tensor,
        keep: torch.Tensor,
        decode: torch.Tensor | None = None,
        *,
        norm_pix: bool = False,
    ) -> Reconstruction:
        """Reconstruct volumes from a part of their tokens.

        Parameters
        ----------
        volume : tensor, shape (batch, 1, frames, height, width), in [0, 1]
            Also uint8, 0 to 255, of which then only the cubes in use become numbers of four bytes. For a planar
            architecture, normalised images (batch, 3, height, width).
        keep : integer tensor, shape (batch, kept)
            Indices of the visible tokens, in the order (z, row, column).
        decode : integer tensor, shape (batch, decoded), optional
            Indices of the masked tokens to predict; all by default. The loss over a random part of them, of the same
            number in each item, is on average what a decoder of this part makes of all masked tokens.
        norm_pix : bool
            Compare with each cube's voxels less their mean, over their standard deviation.
        """
        pixels = volume.flatten(1, 2) if volume.ndim == 5 else volume
        return self._reconstruct(self.encoder.embedding, pixels, keep, decode, norm_pix)

    def reconstruct_slices(
        self,
        slices: torch.Tensor,
        keep: torch.Tensor,
        decode: torch.Tensor | None = None,
        *,
        norm_pix: bool = False,
    ) -> Reconstruction:
        """Reconstruct stacks of neighbouring B-scans, each one layer of cubes that lies nowhere along z.

        They have the second embedding and share all else with the volumes; ``slices`` has the shape (batch, frames of
        a cube, height, width), the rest is as for ``forward``.

        Raises
        ------
        InputError
            If the model has no embedding for slices.
        """
        if self.high_res_embedding is None:
            raise InputError(f"{self.card.name} has no embedding for slices of high resolution.")
        return self._reconstruct(
            self.high_res_embedding, slices, keep, decode, norm_pix, along_z=False
        )

    def _reconstruct(
        self,
        embedding: CubeEmbedding,
        pixels: torch.Tensor,
        keep: torch.Tensor,
        decode: torch.Tensor | None,
        norm_pix: bool,
        along_z: bool = True,
    ) -> Reconstruction:
        encoder, grid = self.encoder, embedding.grid(tuple(pixels.shape[1:]))
        cubes = split_cubes(pixels, embedding.cube)
        visible = embedding.project(_unit_range(take_tokens(cubes, keep)))
        tokens = encoder.with_class_token(visible + encoder.positions(grid, keep, along_z=along_z))
        latent = encoder.norm(encoder.transform(tokens))[:, 1:]
        pred = self.decoder(latent, keep, grid, decode, along_z=along_z)
        target = _unit_range(cubes if decode is None else take_tokens(cubes, decode)).float()
        if norm_pix:
            mean, spread = target_scale(target)
            target = (target - mean) / spread
        errors = F.mse_loss(pred.float(), target, reduction="none").mean(dim=-1)
        mask = torch.ones(cubes.shape[:2], device=pred.device).scatter(1, keep, 0.0)
        loss = (errors * mask).sum() / mask.sum() if decode is None else errors.mean()
        return Reconstruction(loss, pred, errors, mask, latent)


def target_scale(target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each cube's voxels, by which ``norm_pix`` scales; both (..., 1)."""
    spread = (target.var(dim=-1, keepdim=True) + TARGET_EPS).sqrt()
    return target.mean(dim=-1, keepdim=True), spread


def _unit_range(voxels: torch.Tensor) -> torch.Tensor:
    return voxels.float().div_(255) if voxels.dtype == torch.uint8 else voxels
