"""The 3D vision transformer OCTCube and its multi-task disease classifier."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from octcube_core.checkpoints.card import Architecture, ModelCard
from octcube_core.models.blocks import LAYER_NORM_EPS, Block
from octcube_core.models.embeddings import CubeEmbedding, CubePositions
from octcube_core.models.heads import MultiTaskHead
from octcube_core.token_grid import Triple

OnBlock = Callable[[int, int], None]


class OCTCubeEncoder(nn.Module):
    """A vision transformer over the cubes of a volume.

    The forward pass is split in two so that explanations are cheap: ``trunk`` runs all blocks but the last, and
    ``last_block`` can then be run (and differentiated) again and again from its output.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim = architecture.embed_dim
        self.architecture = architecture
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.embedding = CubeEmbedding(dim, architecture.cube)
        self.positions = CubePositions(dim, architecture.grid)
        self.blocks = nn.ModuleList(
            Block(dim, architecture.num_heads, architecture.mlp_dim)
            for _ in range(architecture.depth)
        )
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        nn.init.normal_(self.cls_token, std=0.02)
        self.apply(_initialise_linear)

    def grid(self, volume: torch.Tensor) -> Triple:
        """Token grid (z, y, x) of a (batch, 1, frames, height, width) volume."""
        return self.embedding.grid(tuple(volume.shape[2:]))

    def trunk(self, volume: torch.Tensor, on_block: OnBlock | None = None) -> torch.Tensor:
        """Tokens before the last block, shape (batch, 1 + z * y * x, dim), class token first.

        ``on_block(done, total)`` is called after every block; what it raises ends the pass.
        """
        tokens = self.embedding(volume) + self.positions(self.grid(volume))
        cls = (self.cls_token + self.positions.cls).expand(tokens.shape[0], -1, -1)
        x = torch.cat([cls, tokens], dim=1)
        for number, block in enumerate(self.blocks[:-1], start=1):
            x = block(x)
            if on_block is not None:
                on_block(number, len(self.blocks))
        return x

    def last_block(self, tokens: torch.Tensor) -> torch.Tensor:
        """Tokens after the last block, same shape; no final norm is applied."""
        output: torch.Tensor = self.blocks[-1](
            tokens, add_residual=self.architecture.final_residual
        )
        return output

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Tokens of a (batch, 1, frames, height, width) volume in [0, 1], class token first."""
        return self.last_block(self.trunk(volume))


class OCTCubeClassifier(nn.Module):
    """Encoder with the multi-task head: a pair of logits (absent, present) per disease.

    Attributes
    ----------
    card : ModelCard
    encoder : OCTCubeEncoder
    head : MultiTaskHead
    """

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        self.card = card
        self.encoder = OCTCubeEncoder(card.architecture)
        self.head = MultiTaskHead(
            card.architecture.embed_dim, card.architecture.outputs, card.architecture.head_dropout
        )

    def tail(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, 2 * diseases), from ``encoder.trunk``'s tokens."""
        logits: torch.Tensor = self.head(self.encoder.last_block(tokens))
        return logits

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, 2 * diseases), of (batch, 1, frames, height, width) volumes in [0, 1]."""
        return self.tail(self.encoder.trunk(volume))


def _initialise_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
