"""The vision transformer OCTCube, for volumes and en-face images, alone and with a head."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from octcube_core.checkpoints.card import Architecture, ModelCard
from octcube_core.models.blocks import Block, LayerNorm, in_float32, mean_of_tokens
from octcube_core.models.embeddings import CubeEmbedding, CubePositions
from octcube_core.models.heads import MultiTaskHead
from octcube_core.models.slice_head import SliceTransformerHead
from octcube_core.token_grid import Triple

OnBlock = Callable[[int, int], None]
Pool = Callable[[torch.Tensor], torch.Tensor]  # (batch, tokens, dim) -> (batch, dim)


class OCTCubeEncoder(nn.Module):
    """A vision transformer over the cubes of a volume, or over the patches of an image.

    Input is a (batch, 1, frames, height, width) volume in [0, 1] or, for a planar architecture, a
    (batch, 3, height, width) image, whose colours are taken as the slices of one layer of cubes.

    The forward pass is split so that explanations are cheap: ``trunk`` runs all blocks but the last; ``attend`` and
    ``pool`` (together: the last block and the mean over tokens) can then be run and differentiated again and again.

    Attributes
    ----------
    architecture : Architecture
    checkpointing : bool
        Keep only the tokens between the blocks for the backward pass of a training step, and run each block again
        when its turn comes (Chen et al., arXiv:1604.06174): a fraction of the memory for a third more time. Off at
        first; without effect in eval mode.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        dim = architecture.embed_dim
        self.architecture = architecture
        self.checkpointing = False
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.embedding = CubeEmbedding(dim, architecture.cube)
        self.positions = CubePositions(dim, architecture.table_grid, architecture.planar)
        self.blocks = nn.ModuleList(
            Block(dim, architecture.num_heads, architecture.mlp_dim)
            for _ in range(architecture.depth)
        )
        self.norm = LayerNorm(dim)
        nn.init.normal_(self.cls_token, std=0.02)
        self.apply(initialise_linear)

    def set_drop_path(self, rate: float) -> None:
        """Stochastic depth in training steps, rising linearly from 0 in the first block to ``rate`` in the last."""
        for number, block in enumerate(self.blocks):
            assert isinstance(block, Block)
            block.drop_path = rate * number / max(1, len(self.blocks) - 1)

    @property
    def last_block(self) -> Block:
        """The block whose norms saliency looks at."""
        block = self.blocks[-1]
        assert isinstance(block, Block)
        return block

    def grid(self, volume: torch.Tensor) -> Triple:
        """Token grid (z, y, x) of a volume or image."""
        return self.embedding.grid(tuple(volume.shape[-3:]))

    def embed(self, volume: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens before the first block, shape (batch, 1 + tokens, dim), class token first.

        ``keep``, shape (batch, kept), leaves only those tokens, in that order. Half precision weights give float32
        tokens: what 24 blocks add to the residual stream would lose too much in 8 bits.
        """
        if volume.ndim == 4:
            volume = volume.unsqueeze(1)
        return self.with_class_token(
            self.embedding(volume, keep) + self.positions(self.grid(volume), keep)
        )

    def with_class_token(self, tokens: torch.Tensor) -> torch.Tensor:
        """The class token before embedded tokens, (batch, tokens, dim) -> (batch, 1 + tokens, dim), in float32."""
        cls = (self.cls_token + self.positions.cls).expand(tokens.shape[0], -1, -1)
        return torch.cat([cls, tokens], dim=1).float()

    def trunk(
        self,
        volume: torch.Tensor,
        on_block: OnBlock | None = None,
        keep: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Tokens before the last block, shape (batch, 1 + tokens, dim), class token first.

        ``on_block(done, total)`` is called after every block; what it raises ends the pass. ``keep``, shape
        (batch, kept), leaves only those tokens, in that order; ``weight``, shape (kept,), is how many tokens each of
        them then stands for (a ``TokenSample``'s, say), which ``attend`` and ``pool`` must be told too.
        """
        x, key_weight = self.embed(volume, keep), _with_class_token(weight)
        for number, block in enumerate(self.blocks[:-1], start=1):
            x = self._run(block, x, key_weight=key_weight)
            if on_block is not None:
                on_block(number, len(self.blocks))
        return x

    def attend(self, tokens: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """The last block's attention on ``trunk``'s tokens; same shape."""
        return self.last_block.attend(tokens, _with_class_token(weight))

    def mix(self, normed: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """What the last block's attention adds to the tokens, from ``norm1``'s output on; same shape."""
        mixed: torch.Tensor = self.last_block.attention(normed, _with_class_token(weight))
        return mixed

    def pool(
        self,
        attended: torch.Tensor,
        weight: torch.Tensor | None = None,
        layers: int | None = None,
        pooling: Pool | None = None,
    ) -> torch.Tensor:
        """Mean over all tokens but the class token after the last block, shape (batch, dim), from ``attend``'s output.

        No final norm is applied. With ``layers``, of which all tokens must be there, the mean is over each layer of
        cubes, shape (batch, layers, dim). ``pooling``, if given, takes the place of the mean, and must know of what
        the tokens are a sample.
        """
        tokens = attended[:, 1:]
        return self.pool_norm(tokens, self.last_block.norm2(tokens), weight, layers, pooling)

    def pool_norm(
        self,
        attended: torch.Tensor,
        normed: torch.Tensor,
        weight: torch.Tensor | None = None,
        layers: int | None = None,
        pooling: Pool | None = None,
    ) -> torch.Tensor:
        """``pool`` from the output of the last block's ``norm2`` on; both inputs without the class token."""
        add, mean_after = self.architecture.final_residual, self.last_block.mean_after_norm
        if pooling is not None:
            return pooling(self.last_block.after_norm(attended, normed, add))
        if layers is None:
            return mean_after(attended, normed, add, weight)
        means = mean_after(
            in_layers(attended, layers), in_layers(normed, layers), add, parts=layers
        )
        return means.view(-1, layers, means.shape[-1])

    def pooled(
        self,
        volume: torch.Tensor,
        keep: torch.Tensor | None = None,
        weight: torch.Tensor | None = None,
        by_layer: bool = False,
        pooling: Pool | None = None,
    ) -> torch.Tensor:
        """Mean over the tokens of a whole forward pass, shape (batch, dim); arguments as for ``trunk`` and ``pool``.

        ``by_layer``: over each layer of cubes, shape (batch, layers, dim).
        """
        attended = self.attend(self.trunk(volume, keep=keep, weight=weight), weight)
        return self.pool(attended, weight, self.grid(volume)[0] if by_layer else None, pooling)

    def features(self, pooled: torch.Tensor) -> torch.Tensor:
        """The final norm of the mean over tokens, float32, shape (batch, dim)."""
        return in_float32(self.norm, pooled)

    def forward(self, volume: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens after the last block, class token first; no final norm is applied."""
        return self.transform(self.embed(volume, keep))

    def transform(self, x: torch.Tensor) -> torch.Tensor:
        """All blocks, from ``embed``'s tokens on; same shape, no final norm is applied."""
        for block in self.blocks[:-1]:
            x = self._run(block, x)
        return self._run(self.blocks[-1], x, self.architecture.final_residual)

    def _run(
        self,
        block: nn.Module,
        x: torch.Tensor,
        add_residual: bool = True,
        key_weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        output: torch.Tensor
        if self.checkpointing and self.training and torch.is_grad_enabled():
            output = checkpoint(block, x, add_residual, key_weight, use_reentrant=False)
        else:
            output = block(x, add_residual, key_weight)
        return output


def in_layers(tokens: torch.Tensor, layers: int) -> torch.Tensor:
    """Each layer of cubes as a volume of its own: (batch, tokens, dim) -> (batch * layers, tokens / layers, dim)."""
    batch, count, dim = tokens.shape
    return tokens.reshape(batch * layers, count // layers, dim)


def _with_class_token(weight: torch.Tensor | None) -> torch.Tensor | None:
    """How often each token counts as a key, from what the tokens but the class token stand for."""
    return None if weight is None else F.pad(weight, (1, 0), value=1.0)


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

    def pooled_features(self, volume: torch.Tensor) -> torch.Tensor:
        """Features, shape (batch, dim), of volumes in [0, 1] or of normalised images."""
        return self.encoder.features(self.encoder.pooled(volume))

    forward = pooled_features


class OCTCubeClassifier(nn.Module):
    """Encoder with a head for labels and targets: a pair of logits (absent, present) per disease, say.

    Attributes
    ----------
    card : ModelCard
    encoder : OCTCubeEncoder
    head : MultiTaskHead or SliceTransformerHead
    """

    def __init__(self, card: ModelCard) -> None:
        super().__init__()
        shape = card.architecture
        self.card = card
        self.encoder = OCTCubeEncoder(shape)
        self.head: MultiTaskHead | SliceTransformerHead = (
            MultiTaskHead(shape.embed_dim, shape.outputs, shape.head_dropout)
            if card.slice_head is None
            else SliceTransformerHead(card.slice_head, shape)
        )

    def forward(self, volume: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Outputs as ``ModelCard.outputs`` counts them, shape (batch, outputs).

        Of (batch, 1, frames, height, width) volumes in [0, 1], or of normalised images (batch, 3, height, width).
        ``keep``, shape (batch, kept), has the encoder see those tokens alone; not before a head of layers.
        """
        outputs: torch.Tensor = self.head(
            self.encoder.pooled(volume, keep, by_layer=self.head.takes_layers)
        )
        return outputs

    def of_tokens(self, tokens: torch.Tensor, layers: int) -> torch.Tensor:
        """The same outputs from the encoder's tokens, class token first, of so many layers of cubes."""
        inner = tokens[:, 1:]
        if self.head.takes_layers:
            means = mean_of_tokens(in_layers(inner, layers))
            pooled = means.view(len(tokens), layers, -1)
        else:
            pooled = mean_of_tokens(inner)
        outputs: torch.Tensor = self.head(pooled)
        return outputs


def initialise_linear(module: nn.Module) -> None:
    """Xavier weights and zero biases, as masked autoencoders use (He et al., arXiv:2111.06377)."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
