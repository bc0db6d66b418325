"""Heads that turn an encoder's pooled tokens into what a task asks for, and what their outputs say."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from octcube_core.checkpoints.card import ModelCard
from octcube_core.models.blocks import in_float32


class MultiTaskHead(nn.Module):
    """Dropout and a linear layer on the mean of the tokens; logits 2k, 2k + 1 say disease k is absent, present."""

    takes_layers = False

    def __init__(self, dim: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, outputs)

    def forward(self, pooled: torch.Tensor) -> torch.Tensor:
        return in_float32(self.linear, self.dropout(pooled))


class RegressionHead(nn.Module):
    """Norm and a two-layer perceptron on the embeddings of several modalities, one after another.

    Of regression values in the released models; its outputs are those of ``ModelCard.outputs``.

    A missing modality is a zero vector.
    """

    def __init__(self, projection: int, modalities: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.projection, self.modalities = projection, modalities
        self.norm = nn.LayerNorm(projection * modalities)  # PyTorch's own eps, 1e-5, as released
        self.fc1 = nn.Linear(projection * modalities, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, embeddings: Sequence[torch.Tensor | None]) -> torch.Tensor:
        """Outputs, shape (batch, outputs), of ``modalities`` embeddings (batch, projection), None for a missing one."""
        known = next(embedding for embedding in embeddings if embedding is not None)
        zero = torch.zeros_like(known)
        joined = torch.cat([zero if part is None else part for part in embeddings], dim=-1)
        hidden = self.act(in_float32(self.fc1, in_float32(self.norm, joined)))
        return in_float32(self.fc2, hidden)


def unit_length(vectors: torch.Tensor) -> torch.Tensor:
    """Scale (batch, dim) vectors to length 1, in float32."""
    return F.normalize(vectors.float(), dim=-1)


def disease_probabilities(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Probability that each disease is present: (batch, 2 * diseases) -> (batch, diseases), in float32."""
    pairs = logits.float().reshape(*logits.shape[:-1], -1, 2) / temperature
    present: torch.Tensor = pairs.softmax(dim=-1)[..., 1]
    return present


def label_probabilities(outputs: torch.Tensor, card: ModelCard) -> torch.Tensor:
    """Probability of each of a card's labels: (batch, outputs) -> (batch, labels), in float32."""
    logits = outputs[..., : card.logits]
    if card.exclusive:
        return (logits.float() / card.temperature).softmax(dim=-1)
    return disease_probabilities(logits, card.temperature)


def target_values(outputs: torch.Tensor, card: ModelCard) -> torch.Tensor:
    """Value of each of a card's targets, in its unit: (batch, outputs) -> (batch, targets), in float32."""
    mean, scale = (
        outputs.new_tensor([getattr(target, name) for target in card.targets], dtype=torch.float32)
        for name in ("mean", "scale")
    )
    return mean + scale * outputs[..., card.logits :].float()
