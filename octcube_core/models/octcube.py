"""The vision transformer OCTCube, for volumes and en-face images, alone and with the multi-task head."""

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
    """A vision transformer over the cubes of a volume, or over the patches of an image.

    Input is a (batch, 1, frames, height, width) volume in [0, 1] or, for a planar architecture, a
    (batch, 3, height, width) image, whose colours are taken as the slices of one layer of cubes.

    The forward pass is split so that explanations are cheap: ``trunk`` runs all blocks but the last; ``attend`` and
    ``pool`` (together: the last block and the mean over tokens) can then be run and differentiated again and again.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim = architecture.embed_dim
        self.architecture = architecture
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.embedding = CubeEmbedding(dim, architecture.cube)
        self.positions = CubePositions(dim, architecture.table_grid, architecture.planar)
        self.blocks = nn.ModuleList(
            Block(dim, architecture.num_heads, architecture.mlp_dim)
            for _ in range(architecture.depth)
        )
        self.norm = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        nn.init.normal_(self.cls_token, std=0.02)
        self.apply(initialise_linear)

    @property
    def residual(self) -> bool:
        """Whether the last block's output holds the residual stream."""
        return self.architecture.final_residual

    def grid(self, volume: torch.Tensor) -> Triple:
        """Token grid (z, y, x) of a volume or image."""
        return self.embedding.grid(tuple(volume.shape[-3:]))

    def embed(self, volume: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens before the first block, shape (batch, 1 + tokens, dim), class token first.

        ``keep``, shape (batch, kept), leaves only those tokens, in that order.
        """
        if volume.ndim == 4:
            volume = volume.unsqueeze(1)
        tokens = self.embedding(volume) + self.positions(self.grid(volume))
        if keep is not None:
            tokens = tokens.gather(1, keep[..., None].expand(-1, -1, tokens.shape[-1]))
        cls = (self.cls_token + self.positions.cls).expand(tokens.shape[0], -1, -1)
        return torch.cat([cls, tokens], dim=1)

    def trunk(
        self,
        volume: torch.Tensor,
        on_block: OnBlock | None = None,
        keep: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Tokens before the last block, shape (batch, 1 + tokens, dim), class token first.

        ``on_block(done, total)`` is called after every block; what it raises ends the pass.
        """
        x = self.embed(volume, keep)
        for number, block in enumerate(self.blocks[:-1], start=1):
            x = block(x)
            if on_block is not None:
                on_block(number, len(self.blocks))
        return x

    def attend(self, tokens: torch.Tensor) -> torch.Tensor:
        """The last block's attention on ``trunk``'s tokens; same shape."""
        block = self.blocks[-1]
        assert isinstance(block, Block)
        return block.attend(tokens)

    def pool(self, attended: torch.Tensor) -> torch.Tensor:
        """Mean over all tokens but the class token after the last block, shape (batch, dim), from ``attend``'s output.

        No final norm is applied.
        """
        block = self.blocks[-1]
        assert isinstance(block, Block)
        return block.mean_after(attended[:, 1:], self.residual)

    def pooled(self, volume: torch.Tensor) -> torch.Tensor:
        """Mean over the tokens of a whole forward pass, shape (batch, dim)."""
        return self.pool(self.attend(self.trunk(volume)))

    def forward(self, volume: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens after the last block, class token first; no final norm is applied."""
        output: torch.Tensor = self.blocks[-1](
            self.trunk(volume, keep=keep), add_residual=self.residual
        )
        return output


class FeatureEncoder(nn.Module):
    """An encoder without a task: released OCTCube or RETFound weights, or the start of a fine-tuning.

    Attributes
    ----------
    card : ModelCard
    encoder : OCTCubeEncoder
    """

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        self.card = card
        self.encoder = OCTCubeEncoder(card.architecture)

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """Features, shape (batch, dim), from the mean over tokens: the final norm."""
        features: torch.Tensor = self.encoder.norm(pooled)
        return features

    def pooled_features(self, volume: torch.Tensor) -> torch.Tensor:
        """Features, shape (batch, dim), of volumes in [0, 1] or of normalised images."""
        return self.project(self.encoder.pooled(volume))

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        return self.pooled_features(volume)


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

    def forward(self, volume: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, 2 * diseases), of (batch, 1, frames, height, width) volumes in [0, 1]."""
        logits: torch.Tensor = self.head(self.encoder.pooled(volume))
        return logits


def initialise_linear(module: nn.Module) -> None:
    """Xavier weights and zero biases, as masked autoencoders use (He et al., arXiv:2111.06377)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
