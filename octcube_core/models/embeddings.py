"""From voxels to tokens: the cube embedding and the factorised position tables."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from octcube_core.errors import InputError
from octcube_core.token_grid import Triple, grid_of

# Of new tables: with it, place and content have about the same share in a token.
POSITION_AMPLITUDE = 0.5


def split_cubes(volume: torch.Tensor, cube: Triple) -> torch.Tensor:
    """Cut (batch, frames, height, width) into cubes: (batch, tokens, voxels), both in the order (z, row, column)."""
    (cz, cy, cx), batch = cube, volume.shape[0]
    z, y, x = (size // c for size, c in zip(volume.shape[1:], cube, strict=True))
    cubes = volume.reshape(batch, z, cz, y, cy, x, cx).permute(0, 1, 3, 5, 2, 4, 6)
    return cubes.reshape(batch, z * y * x, cz * cy * cx)


def take_tokens(tokens: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Some tokens of each item: (batch, tokens, dim) and indices (batch, taken) -> (batch, taken, dim)."""
    batch, count = tokens.shape[:2]
    # Whole rows at once: on a CPU twenty times as fast as ``gather`` with an index for every number.
    first = torch.arange(batch, device=places.device)[:, None] * count
    return tokens.flatten(0, 1)[(places + first).flatten()].reshape(*places.shape, -1)


class CubeEmbedding(nn.Module):
    """Linear embedding of non-overlapping cubes of a volume.

    Takes (batch, 1, frames, height, width), returns (batch, tokens, dim) in the order (z, row, column), computed in
    float32 also of weights in half precision: voxels and positions have more than 8 bits.
    """

    def __init__(self, dim: int, cube: Triple) -> None:
        super().__init__()
        self.cube = cube
        self.weight = nn.Parameter(torch.empty(dim, 1, *cube))
        self.bias = nn.Parameter(torch.zeros(dim))
        nn.init.xavier_uniform_(self.weight.data.view(dim, -1))

    def grid(self, shape: tuple[int, ...]) -> Triple:
        """Token grid (z, y, x) of a volume's (frames, height, width); InputError if the cube does not divide it."""
        grid = grid_of(shape, self.cube)
        if grid is None:
            raise InputError(
                f"The model's cubes of {self.cube} do not divide an input of {tuple(shape)}."
            )
        return grid

    def forward(self, volume: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens of a volume; of ``keep``, shape (batch, kept), only those, in that order."""
        self.grid(tuple(volume.shape[2:]))  # refuses what the cube does not divide
        cubes = split_cubes(volume.squeeze(1), self.cube)
        return self.project(cubes if keep is None else take_tokens(cubes, keep))

    def project(self, cubes: torch.Tensor) -> torch.Tensor:
        """Tokens of the voxels of cubes, (..., voxels) -> (..., dim)."""
        # A strided convolution without overlap is a matrix product, which is much faster on a CPU.
        return F.linear(cubes.float(), self.weight.flatten(1).float(), self.bias.float())


class CubePositions(nn.Module):
    """Learnt positions of tokens: spatial[row, column] + temporal[z], and one for the class token.

    Tables are interpolated to other grids: bicubic in-plane, linear along z. A ``planar`` one, for images, has no
    table along z. New tables hold sines and cosines, as those of masked autoencoders (He et al., arXiv:2111.06377):
    from small random numbers a network learns late where anything is.
    """

    def __init__(self, dim: int, grid: Triple, planar: bool = False) -> None:
        super().__init__()
        self.table_grid = grid
        z, y, x = grid
        rows, columns = wave_code(y, (dim + 1) // 2), wave_code(x, dim // 2)
        spatial = torch.cat([rows.repeat_interleave(x, dim=0), columns.repeat(y, 1)], dim=1)
        self.spatial = nn.Parameter(POSITION_AMPLITUDE * spatial[None])
        self.temporal = (
            None if planar else nn.Parameter(POSITION_AMPLITUDE * wave_code(z, dim)[None])
        )
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))

    def tables(self, grid: Triple) -> tuple[torch.Tensor, torch.Tensor]:
        """The tables brought to a (z, y, x) grid, in float32: spatial (1, y * x, dim) and temporal (1, z, dim)."""
        spatial: torch.Tensor = self.spatial.float()
        if grid[1:] != self.table_grid[1:]:
            image = spatial.reshape(1, *self.table_grid[1:], -1).permute(0, 3, 1, 2)
            image = F.interpolate(image, size=grid[1:], mode="bicubic", align_corners=False)
            spatial = image.flatten(2).transpose(1, 2)
        if self.temporal is None:
            return spatial, spatial.new_zeros(1, grid[0], spatial.shape[-1])
        temporal: torch.Tensor = self.temporal.float()
        if grid[0] != self.table_grid[0]:
            line = F.interpolate(
                temporal.transpose(1, 2), size=grid[0], mode="linear", align_corners=False
            )
            temporal = line.transpose(1, 2)
        return spatial, temporal

    def forward(
        self, grid: Triple, keep: torch.Tensor | None = None, *, along_z: bool = True
    ) -> torch.Tensor:
        """Positions of the tokens of a (z, y, x) grid, shape (1, z * y * x, dim).

        Of ``keep``, shape (batch, kept), only those tokens: (batch, kept, dim). Without ``along_z``, those of a
        single layer that lies nowhere along z.
        """
        spatial, temporal = self.tables(grid)
        if not along_z:
            temporal = torch.zeros_like(temporal)
        if keep is None:
            return (temporal[:, :, None] + spatial[:, None]).flatten(1, 2)
        plane = grid[1] * grid[2]
        return F.embedding(keep // plane, temporal[0]) + F.embedding(keep % plane, spatial[0])


def wave_code(count: int, dim: int) -> torch.Tensor:
    """Sines and cosines of places 0, 1, ... along an axis (Vaswani et al., arXiv:1706.03762), shape (count, dim).

    Their wavelengths grow geometrically from 2 pi places, as there, to four times the axis: with the ten thousand
    places of a text most of them would be the same everywhere on an axis as short as these.
    """
    pairs = (dim + 1) // 2
    longest = max(4 * count / (2 * math.pi), 1.0)
    rates = longest ** -(torch.arange(pairs) / max(1, pairs - 1))
    angles = torch.arange(count)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=1)[:, :dim]
