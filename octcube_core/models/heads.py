"""Heads that turn the encoder's tokens into what a task asks for."""

from __future__ import annotations

import torch
from torch import nn


def pool_tokens(tokens: torch.Tensor) -> torch.Tensor:
    """Mean over all tokens but the class token: (batch, 1 + tokens, dim) -> (batch, dim)."""
    return tokens[:, 1:].mean(dim=1)


class MultiTaskHead(nn.Module):
    """Pooling, dropout and one linear layer; logits 2k and 2k + 1 say disease k is absent or present."""

    def __init__(self, dim: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(dim, outputs)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.linear(self.dropout(pool_tokens(tokens)))
        return logits


def disease_probabilities(logits: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """Probability that each disease is present: (batch, 2 * diseases) -> (batch, diseases), in float32."""
    pairs = logits.float().reshape(*logits.shape[:-1], -1, 2) / temperature
    present: torch.Tensor = pairs.softmax(dim=-1)[..., 1]
    return present
