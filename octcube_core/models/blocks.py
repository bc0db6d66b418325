"""The pre-norm transformer block and its parts (Dosovitskiy et al., arXiv:2010.11929)."""

from __future__ import annotations

import torch
from torch import nn

from octcube_core.models.attention import attention

LAYER_NORM_EPS = 1e-6


class SelfAttention(nn.Module):
    """Multi-head self-attention over (batch, tokens, dim)."""

    def __init__(self, dim: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.num_heads, dim // self.num_heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = attention(query, key, value).transpose(1, 2).reshape(batch, tokens, dim)
        output: torch.Tensor = self.proj(mixed)
        return output


class MLP(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.fc2(self.act(self.fc1(x)))
        return output

    def mean(self, x: torch.Tensor) -> torch.Tensor:
        """Mean of the output over tokens: (batch, tokens, dim) -> (batch, dim).

        The second layer is linear, so it needs to see the mean alone: half of the work, forwards and backwards.
        """
        output: torch.Tensor = self.fc2(self.act(self.fc1(x)).mean(dim=1))
        return output


class Block(nn.Module):
    """Attention and MLP, each on normalised input and added to the residual stream.

    With ``add_residual=False`` the block returns the MLP's output alone, as the last block of the released
    OCTCube weights needs (the reference drops the residual stream there).
    """

    def __init__(self, dim: int, num_heads: int, mlp_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.attention = SelfAttention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=LAYER_NORM_EPS)
        self.mlp = MLP(dim, mlp_dim)

    def attend(self, x: torch.Tensor) -> torch.Tensor:
        """The block's first half: tokens mixed by attention, residual added."""
        mixed: torch.Tensor = x + self.attention(self.norm1(x))
        return mixed

    def forward(self, x: torch.Tensor, add_residual: bool = True) -> torch.Tensor:
        x = self.attend(x)
        update: torch.Tensor = self.mlp(self.norm2(x))
        return x + update if add_residual else update

    def mean_after(self, x: torch.Tensor, add_residual: bool = True) -> torch.Tensor:
        """Mean over tokens of the block's second half: ``attend``'s output -> (batch, dim)."""
        return self.mean_after_norm(x, self.norm2(x), add_residual)

    def mean_after_norm(
        self, x: torch.Tensor, normed: torch.Tensor, add_residual: bool = True
    ) -> torch.Tensor:
        """``mean_after`` from ``norm2``'s output on."""
        update = self.mlp.mean(normed)
        return x.mean(dim=1) + update if add_residual else update
