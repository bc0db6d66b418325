"""SLIViT's head: a small transformer over one feature vector per slice."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from octcube_core.checkpoints.card import Architecture, SliceHead
from octcube_core.models.blocks import Block, LayerNorm, in_float32


class SliceTransformerHead(nn.Module):
    """Outputs of a volume from the mean over the tokens of each of its layers of cubes.

    After the feature integrator of SLIViT (Avram et al., Nature Biomedical Engineering 2024,
    doi:10.1038/s41551-024-01257-9), whose slices are layers of cubes here. Its positions are numbered slices at
    first; these are learnt from small random ones.
    """

    takes_layers = True

    def __init__(self, head: SliceHead, architecture: Architecture) -> None:
        super().__init__()
        width, layers = head.embed_dim, architecture.grid[0]
        self.dropout = nn.Dropout(architecture.head_dropout)
        self.embed = nn.Linear(architecture.embed_dim, width)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.positions = nn.Parameter(torch.zeros(1, layers, width))
        self.blocks = nn.ModuleList(
            Block(width, head.num_heads, head.mlp_dim, head.head_dim) for _ in range(head.depth)
        )
        self.norm = LayerNorm(width)
        self.linear = nn.Linear(width, architecture.outputs)
        for table in (self.cls_token, self.positions):
            nn.init.trunc_normal_(table, std=0.02)

    def forward(self, layers: torch.Tensor) -> torch.Tensor:
        """Outputs, shape (batch, outputs), from (batch, layers, dim); positions of another count are interpolated."""
        x = in_float32(self.embed, self.dropout(layers)) + self._positions(layers.shape[1])
        x = torch.cat([self.cls_token.float().expand(len(x), -1, -1), x], dim=1)
        for block in self.blocks:
            x = block(x)
        return in_float32(self.linear, in_float32(self.norm, x[:, 0]))

    def _positions(self, layers: int) -> torch.Tensor:
        positions = self.positions.float()
        if layers != positions.shape[1]:
            positions = F.interpolate(
                positions.mT, size=layers, mode="linear", align_corners=False
            ).mT
        return positions
