"""The pre-norm transformer block and its parts (Dosovitskiy et al., arXiv:2010.11929)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from octcube_core.models.attention import attention

LAYER_NORM_EPS = 1e-6


class LayerNorm(nn.LayerNorm):
    """PyTorch's layer norm, also of float32 tokens by weights in half precision; the output is as the weights are."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim, eps=LAYER_NORM_EPS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype != torch.float32 or self.weight.dtype == torch.float32:
            return super().forward(x)
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps).to(self.weight.dtype)


class SelfAttention(nn.Module):
    """Multi-head self-attention over (batch, tokens, dim); ``key_weight`` is that of ``attention``.

    ``chunk_tokens``, where set, is how many queries are attended with at once: where no fused kernel runs, the
    matrix of weights, tokens x tokens for every head, then never exists as a whole.
    """

    chunk_tokens: int | None = None

    def __init__(self, dim: int, num_heads: int, head_dim: int | None = None) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = dim // num_heads if head_dim is None else head_dim
        inner = dim if head_dim is None else num_heads * head_dim
        self.qkv = nn.Linear(dim, 3 * inner)
        self.proj = nn.Linear(inner, dim)

    def forward(self, x: torch.Tensor, key_weight: torch.Tensor | None = None) -> torch.Tensor:
        batch, tokens, _ = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.num_heads, self.head_dim)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)

        def mix(part: torch.Tensor) -> torch.Tensor:
            mixed = attention(part, key, value, key_weight).transpose(1, 2).flatten(2)
            output: torch.Tensor = self.proj(mixed)
            return output

        if self.chunk_tokens is None:
            return mix(query)
        return _joined(mix, torch.split(query, self.chunk_tokens, dim=2), x.shape)


class MLP(nn.Module):
    """Two linear layers with an exact GELU between them.

    ``chunk_tokens``, where set, is how many tokens are run at once: the hidden layer, four times as wide as the
    tokens, then never exists as a whole, neither forwards nor backwards.
    """

    chunk_tokens: int | None = None

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.chunk_tokens is None:
            return self._run(x)
        return _joined(self._run, torch.split(x, self.chunk_tokens, dim=1), x.shape)

    def mean(self, x: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """``mean_of_tokens`` of the output: (batch, tokens, dim) -> (batch, dim).

        The second layer is linear, so it needs to see the mean alone: half of the work, forwards and backwards.
        """
        if self.chunk_tokens is None:
            mean = mean_of_tokens(self._hidden(x), weight)
        else:
            parts = torch.split(x, self.chunk_tokens, dim=1)
            weights = (
                [None] * len(parts) if weight is None else torch.split(weight, self.chunk_tokens)
            )
            sums = torch.stack(
                [_frugal(self._sum, *both) for both in zip(parts, weights, strict=True)]
            )
            count = x.shape[1] if weight is None else weight.sum()
            mean = sums.sum(dim=0) / count
        return in_float32(self.fc2, mean)

    def _hidden(self, x: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.act(self.fc1(x))
        return hidden

    def _run(self, x: torch.Tensor) -> torch.Tensor:
        output: torch.Tensor = self.fc2(self._hidden(x))
        return output

    def _sum(self, x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
        return _sum_of_tokens(self._hidden(x), weight)


class Block(nn.Module):
    """Attention and MLP, each on normalised input and added to the residual stream.

    With ``add_residual=False`` the block returns the MLP's output alone, as the last block of the released
    OCTCube weights needs (the reference drops the residual stream there).

    ``key_weight``, shape (tokens,), is how often each token counts as a key, and ``weight`` in a mean; both once
    unless said. The residual stream may be in float32 where the weights are not.

    ``drop_path`` is how likely each half leaves an exam's tokens as they are in a training step.
    """

    drop_path: float = 0.0

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, head_dim: int | None = None) -> None:
        super().__init__()
        self.norm1 = LayerNorm(dim)
        self.attention = SelfAttention(dim, num_heads, head_dim)
        self.norm2 = LayerNorm(dim)
        self.mlp = MLP(dim, mlp_dim)

    def attend(self, x: torch.Tensor, key_weight: torch.Tensor | None = None) -> torch.Tensor:
        """The block's first half: tokens mixed by attention, residual added."""
        mixed: torch.Tensor = x + self._thinned(self.attention(self.norm1(x), key_weight))
        return mixed

    def forward(
        self,
        x: torch.Tensor,
        add_residual: bool = True,
        key_weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        x = self.attend(x, key_weight)
        return self.after_norm(x, self.norm2(x), add_residual)

    def after_norm(
        self, x: torch.Tensor, normed: torch.Tensor, add_residual: bool = True
    ) -> torch.Tensor:
        """The block's second half, from ``attend``'s output and ``norm2``'s of it on; same shape."""
        update: torch.Tensor = self.mlp(normed)
        return x + self._thinned(update) if add_residual else update

    def mean_after_norm(
        self,
        x: torch.Tensor,
        normed: torch.Tensor,
        add_residual: bool = True,
        weight: torch.Tensor | None = None,
        parts: int = 1,
    ) -> torch.Tensor:
        """Mean over tokens of the block's second half, (batch, dim), from ``attend``'s output and ``norm2``'s of it.

        So many items one after another are ``parts`` of one exam.
        """
        update = self.mlp.mean(normed, weight)
        if not add_residual:
            return update
        return mean_of_tokens(x, weight) + self._thinned(update, parts)

    def _thinned(self, update: torch.Tensor, parts: int = 1) -> torch.Tensor:
        """Stochastic depth (Huang et al., arXiv:1603.09382): zero for some exams, so much more for the others."""
        if not self.training or self.drop_path == 0.0:
            return update
        drawn = torch.rand(len(update) // parts, *[1] * (update.ndim - 1), device=update.device)
        kept = (drawn >= self.drop_path).repeat_interleave(parts, dim=0)
        return update * kept / (1.0 - self.drop_path)


def mean_of_tokens(x: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Mean over tokens in float32, (batch, tokens, dim) -> (batch, dim).

    Each counts ``weight`` times, shape (tokens,), or once.
    """
    if weight is None:
        return x.mean(dim=1, dtype=torch.float32)
    return _sum_of_tokens(x, weight) / weight.sum()


def in_float32(module: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """A small module on float32 copies of its weights: for one vector per exam, 8 bits cost digits and save nothing.

    Under autocast, which decides for itself, it is the module as it is.
    """
    weights = {name: weight.float() for name, weight in module.named_parameters()}
    output: torch.Tensor = functional_call(module, weights, (x.float(),))
    return output


def _sum_of_tokens(x: torch.Tensor, weight: torch.Tensor | None) -> torch.Tensor:
    """Sum over tokens in float32, as one in half precision may overflow."""
    counted = x if weight is None else x * weight[:, None].to(x.dtype)
    return counted.sum(dim=1, dtype=torch.float32)


def _joined(
    function: Callable[[torch.Tensor], torch.Tensor],
    parts: Sequence[torch.Tensor],
    shape: torch.Size,
) -> torch.Tensor:
    """The function's values of the parts, (batch, some tokens, dim) each, as one tensor."""
    if torch.is_grad_enabled():
        return torch.cat([_frugal(function, part) for part in parts], dim=1)
    output, done = parts[0].new_empty(shape), 0
    for part in parts:  # into their place at once, as ``cat`` would need all of them twice
        value = function(part)
        output[:, done : done + value.shape[1]] = value
        done += value.shape[1]
    return output


def _frugal(function: Callable[..., torch.Tensor], *part: torch.Tensor | None) -> torch.Tensor:
    """The function's value; what its backward pass needs is computed again then (Chen et al., arXiv:1604.06174)."""
    if not torch.is_grad_enabled():
        return function(*part)
    output: torch.Tensor = checkpoint(
        function, *part, use_reentrant=False, preserve_rng_state=False
    )
    return output
