"""Pooling of tokens that keeps where things are: means of what they hold times cosines of where they lie en face."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from octcube_core.checkpoints.card import Pooling
from octcube_core.models.blocks import in_float32
from octcube_core.token_grid import Triple

LEAST_DEVIATION = 1e-6  # of a feature that hardly differs between exams


class CosinePooling(nn.Module):
    """The lowest orders of a discrete cosine transform of a few linear features of the tokens, standardised.

    A mean over tokens forgets where each of them was, unless the network has put places into what they hold; order
    (0, 0) is that mean, and the next ones say on which side, in the middle or around it, and so on (multi-spectral
    pooling: Qin et al., arXiv:2012.11879). Places are those of the fundus: (z, x) of a volume, whose depth is summed
    over, and (y, x) of an image. A linear layer brings the result back to the width of the tokens.

    ``center`` and ``scale``, shape (kinds, channels * orders), standardise the features of each kind of input, a
    modality say: without that, what all eyes have in common hides what tells them apart. They are measured once
    (``measured``) and then stay.
    """

    center: torch.Tensor
    scale: torch.Tensor

    def __init__(self, dim: int, pooling: Pooling, planar: bool, kinds: int = 1) -> None:
        super().__init__()
        count = pooling.channels * math.prod(pooling.orders)
        self.orders, self.planar = pooling.orders, planar
        self.content = nn.Linear(dim, pooling.channels, bias=False)
        self.register_buffer("center", torch.zeros(kinds, count))
        self.register_buffer("scale", torch.ones(kinds, count))
        self.join = nn.Linear(count, dim)

    def forward(
        self,
        tokens: torch.Tensor,
        grid: Triple,
        keep: torch.Tensor | None = None,
        stand_in: torch.Tensor | None = None,
        kind: int = 0,
    ) -> torch.Tensor:
        """Pooled tokens, float32: (batch, tokens, dim) of a (z, y, x) grid, without class token -> (batch, dim).

        ``keep``, shape (batch, kept), says which tokens of the grid were given; or ``stand_in``, shape (all tokens,),
        for every token of the grid which of the given ones stands for it.
        """
        features = self.features(tokens, grid, keep, stand_in)
        features = (features - self.center[kind].float()) / self.scale[kind].float()
        return in_float32(self.join, features)

    def features(
        self,
        tokens: torch.Tensor,
        grid: Triple,
        keep: torch.Tensor | None = None,
        stand_in: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The features before they are standardised, float32, shape (batch, channels * orders)."""
        waves = self.waves(grid).to(tokens.device)
        count = tokens.shape[1]
        if stand_in is not None:
            count = len(stand_in)
            waves = waves.new_zeros(tokens.shape[1], waves.shape[1]).index_add(0, stand_in, waves)
        # Small differences of sums over all tokens: 8 bits would drown them.
        with torch.autocast(tokens.device.type, enabled=False):
            content = F.linear(tokens.float(), self.content.weight.float())
            sums = content.transpose(1, 2) @ (waves if keep is None else waves[keep])
        return (sums / count).flatten(1)

    def waves(self, grid: Triple) -> torch.Tensor:
        """The cosines at every token of a grid, shape (tokens, orders); the mean square of each is 1."""
        z, y, x = grid
        rows = _cosines(y if self.planar else z, self.orders[0])
        columns = _cosines(x, self.orders[1])
        # (rows, columns, orders, orders)
        plane = rows[:, None, :, None] * columns[None, :, None, :]
        volume = plane[None] if self.planar else plane[:, None]
        return volume.expand(z, y, x, -1, -1).flatten(3).flatten(0, 2)

    @torch.no_grad()
    def measured(self, kind: int, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        """Standardise inputs of this kind by the mean and standard deviation of their ``features``."""
        self.center[kind] = mean
        self.scale[kind] = deviation.clamp(min=LEAST_DEVIATION)


def _cosines(count: int, orders: int) -> torch.Tensor:
    """Cosines of the DCT-II along an axis, shape (count, orders)."""
    places = (torch.arange(count) + 0.5) / count
    waves = torch.cos(math.pi * places[:, None] * torch.arange(orders))
    waves[:, 1:] *= math.sqrt(2)
    return waves
