"""Which tokens of a volume hold tissue, and a weighted sample of the others: what fast mode attends to.

About half of a volume is background: noise in front of the retina and below the choroid. Leaving it out altogether
shifts the scores, as every softmax and the pooled mean have seen it in training. So a regular sample of the background
stays, each of its tokens in place of those nearest to it: in every softmax and in the mean it counts as often as it
stands for a token (proportional attention, Bolya et al., arXiv:2210.09461).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F

from octcube_core.token_grid import Triple

ROWS = 128  # depth steps in which tissue is looked for, more where a cube's height asks for it
# Margin around the band, as a share of the depth (90 and 60 um of 1.92 mm).
ABOVE, BELOW = 6 / ROWS, 4 / ROWS
TISSUE = 0.35  # of the way from the noise's level to bright tissue: where the band of tissue begins and ends
CONTENT = 0.01  # the same for what stands out in the vitreous, such as a detached hyaloid, ...
SIGMAS = 5.0  # ... and both rise so far above the noise
LIT = 0.5  # of the columns must show tissue, or none of this can be trusted
EVERY = 8  # one background token in so many stays


@dataclass(frozen=True, eq=False)
class TokenSample:
    """Tokens that stand for all tokens of a volume.

    Attributes
    ----------
    index : int64 tensor, shape (kept,)
        Which tokens are kept, rising, in the order (z, row, column).
    stand_in : int64 tensor, shape (tokens,)
        For every token of the grid, which of the kept ones (0 to kept - 1) stands for it; a kept one for itself.
    tissue : bool tensor, shape (z, rows, columns)
        The tokens that hold tissue. All of them are kept and stand for themselves alone.
    """

    index: torch.Tensor
    stand_in: torch.Tensor
    tissue: torch.Tensor

    @cached_property
    def weight(self) -> torch.Tensor:
        """How many tokens each kept one stands for, float32, shape (kept,); they sum to the number of tokens."""
        return torch.bincount(self.stand_in, minlength=len(self.index)).float()

    @property
    def left_out(self) -> int:
        """Number of tokens that are not kept."""
        return len(self.stand_in) - len(self.index)


def sample_tissue(volume: torch.Tensor, cube: Triple) -> TokenSample | None:
    """All tokens of tissue and every eighth of the background's.

    Parameters
    ----------
    volume : float32 tensor, shape (frames, height, width), in [0, 1]
        A model's input before it is cast to half precision, which would round noise away.
    cube : (frames, height, width) of a token; divides the volume

    Returns
    -------
    TokenSample or None
        None if every token has to be kept: no band of tissue stands out from the noise in at least half of the
        columns, or there is no background. The same volume gives the same sample.
    """
    tissue = find_tissue(volume, cube)
    if tissue is None:
        return None
    z, y, x = (torch.arange(size) for size in tissue.shape)
    lattice = (x + 3 * y[:, None] + 5 * z[:, None, None]) % EVERY == 0
    kept = tissue | lattice
    if not bool((lattice & ~tissue).any()) or bool(kept.all()):
        return None
    index = kept.flatten().nonzero()[:, 0]
    stand_in = kept.flatten().cumsum(0) - 1  # right for the kept ones
    sampled, absent = ((kept & ~tissue).nonzero(), (~kept).nonzero())
    nearest = torch.cdist(absent.float(), sampled.float()).argmin(dim=1)
    position = stand_in.reshape(tissue.shape)[tuple(sampled.T)]
    stand_in[~kept.flatten()] = position[nearest]
    return TokenSample(index, stand_in, tissue)


def find_tissue(volume: torch.Tensor, cube: Triple) -> torch.Tensor | None:
    """Tokens that hold tissue, its margin, or structure in the vitreous: bool, shape (z, rows, columns).

    None if in fewer than half of the columns anything stands out. Parameters are those of ``sample_tissue``.
    """
    halves = _cells(volume, cube)
    column = halves.amax(dim=-1)  # the brighter half of each column of cubes
    z, rows, x = column.shape
    y = volume.shape[1] // cube[1]
    by_cube = column.reshape(z, y, rows // y, x)

    hottest = by_cube.amax(dim=2)
    dark = (hottest <= hottest.flatten().quantile(0.25)).repeat_interleave(rows // y, dim=1)
    floor, noise = _median_and_spread(halves[dark])
    span = hottest.flatten().quantile(0.95) - floor
    # Where a cataract or the pupil's edge dims the scan, tissue is as bright as its surroundings let it be.
    peak = F.max_pool2d(column.amax(dim=1)[None], 3, stride=1, padding=1)[0]
    local = torch.minimum(span, peak - floor)[:, None]
    lit = column > floor + torch.maximum(TISSUE * local, SIGMAS * noise)
    if float(lit.any(dim=1).float().mean()) < LIT:
        return None
    row = torch.arange(rows)[:, None]
    top, bottom = _band(lit, row)
    keep = (row >= top) & (row <= bottom)
    vitreous = (row < top).expand(z, rows, x)
    if bool(vitreous.any()):
        level, noise = _median_and_spread(halves[vitreous])
        keep |= vitreous & (column > level + torch.maximum(CONTENT * span, SIGMAS * noise))
    return keep.reshape(z, y, rows // y, x).any(dim=2)


def _cells(volume: torch.Tensor, cube: Triple) -> torch.Tensor:
    """Mean intensities of small cells, smoothed along the depth, shape (z, rows, columns, halves of a column)."""
    frames, height, width = volume.shape
    wanted = max(height // ROWS, 1)
    step = next(size for size in range(wanted, 0, -1) if cube[1] % size == 0)
    parts = 2 if cube[2] % 2 == 0 else 1
    cells = F.avg_pool3d(volume[None, None], (cube[0], step, cube[2] // parts))
    cells = F.avg_pool3d(F.pad(cells, (0, 0, 1, 1, 0, 0), mode="replicate"), (1, 3, 1), stride=1)
    return cells.reshape(frames // cube[0], height // step, width // cube[2], parts)


def _band(lit: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """First and last row of tissue with margins, each of shape (z, 1, columns).

    A column's band covers those of its neighbours: vessels' shadows, blinks and steep walls leave gaps.
    """
    rows = lit.shape[1]
    first = torch.where(lit, row, rows).amin(dim=1).float()
    last = torch.where(lit, row, -1).amax(dim=1).float()
    top = -F.max_pool2d(-first[None], 3, stride=1, padding=1)[0]
    bottom = F.max_pool2d(last[None], 3, stride=1, padding=1)[0]
    return top[:, None] - round(ABOVE * rows), bottom[:, None] + round(BELOW * rows)


def _median_and_spread(values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Median, and the standard deviation that the median absolute deviation stands for in normal noise."""
    middle = values.median()
    return middle, 1.4826 * (values - middle).abs().median()
