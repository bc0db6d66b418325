"""The masked autoencoder of volumes (He et al., arXiv:2111.06377) that pre-trains OCTCube."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from octcube_core.checkpoints.card import Decoder, ModelCard
from octcube_core.models.blocks import Block, LayerNorm
from octcube_core.models.embeddings import CubeEmbedding, CubePositions, split_cubes
from octcube_core.models.octcube import OCTCubeEncoder, initialise_linear
from octcube_core.token_grid import Triple


@dataclass(frozen=True)
class Reconstruction:
    """What a masked autoencoder makes of a batch of volumes.

    Attributes
    ----------
    loss : scalar tensor, the mean squared error over the voxels of the masked tokens
    pred : tensor, shape (batch, tokens, voxels of a cube), in the order (z, row, column)
    mask : tensor, shape (batch, tokens), 1 where a token was masked
    latent : tensor, shape (batch, kept, dim), the encoder's normalised tokens without the class token
    """

    loss: torch.Tensor
    pred: torch.Tensor
    mask: torch.Tensor
    latent: torch.Tensor


class MaskedDecoder(nn.Module):
    """Voxels of every cube from the tokens of the visible ones."""

    def __init__(self, dim: int, voxels: int, table_grid: Triple, decoder: Decoder) -> None:
        super().__init__()
        width = decoder.embed_dim
        self.final_residual = decoder.final_residual
        self.embed = nn.Linear(dim, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = CubePositions(width, table_grid)
        self.blocks = nn.ModuleList(
            Block(width, decoder.num_heads, decoder.mlp_dim) for _ in range(decoder.depth)
        )
        self.norm = LayerNorm(width)
        self.pred = nn.Linear(width, voxels)
        for token in (self.cls_token, self.mask_token):
            nn.init.normal_(token, std=0.02)
        self.apply(initialise_linear)

    def forward(self, latent: torch.Tensor, keep: torch.Tensor, grid: Triple) -> torch.Tensor:
        """Predicted voxels, shape (batch, tokens, voxels), of all tokens from the kept ones' latent."""
        visible = self.embed(latent)
        batch, _, width = visible.shape
        tokens = self.mask_token.repeat(batch, grid[0] * grid[1] * grid[2], 1).to(visible.dtype)
        tokens = tokens.scatter(1, keep[..., None].expand(-1, -1, width), visible)
        cls = (self.cls_token + self.positions.cls).expand(batch, -1, -1)
        x = torch.cat([cls, tokens + self.positions(grid)], dim=1)
        for block in self.blocks[:-1]:
            x = block(x)
        x = self.blocks[-1](x, add_residual=self.final_residual)
        voxels: torch.Tensor = self.pred(self.norm(x)[:, 1:])
        return voxels


class MaskedAutoencoder(nn.Module):
    """Encoder of the visible cubes and decoder of all.

    Attributes
    ----------
    card : ModelCard
    encoder : OCTCubeEncoder
    decoder : MaskedDecoder
    high_res_embedding : CubeEmbedding or None
        The released pre-training's second embedding, for single slices of high resolution; kept for its users.
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
        )
        self.high_res_embedding = (
            CubeEmbedding(architecture.embed_dim, architecture.cube)
            if card.decoder.high_res_embedding
            else None
        )

    def forward(self, volume: torch.Tensor, keep: torch.Tensor) -> Reconstruction:
        """Reconstruct volumes from a part of their tokens.

        Parameters
        ----------
        volume : tensor, shape (batch, 1, frames, height, width), in [0, 1]
        keep : integer tensor, shape (batch, kept)
            Indices of the visible tokens, in the order (z, row, column).
        """
        latent = self.encoder.norm(self.encoder(volume, keep))[:, 1:]
        pred = self.decoder(latent, keep, self.encoder.grid(volume))
        mask = torch.ones(pred.shape[:2], device=pred.device).scatter(1, keep, 0.0)
        target = split_cubes(volume.squeeze(1), self.encoder.embedding.cube)
        error = (pred.float() - target.float()).square().mean(dim=-1)
        loss = (error * mask).sum() / mask.sum()
        return Reconstruction(loss, pred, mask, latent)
