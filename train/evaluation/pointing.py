"""The pointing game: does the brightest spot of a map lie in the lesion (Zhang et al., arXiv:1608.00507)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from octcube_core.token_grid import TokenGrid

# Diseases whose lesions are small parts of the eye; the others change whole layers.
FOCAL = ("DME", "AMD", "ERM/MH", "DR", "RNV")


def tokens_in_lesion(mask: NDArray[np.bool_], grid: TokenGrid) -> NDArray[np.bool_]:
    """Which tokens' cubes hold at least one lesion voxel; mask (bscan, depth, width) -> (z, y, x)."""
    hit = np.zeros(grid.shape, bool)
    hit[tuple(grid.token_of_voxel(np.argwhere(mask)).T)] = True
    return hit


def points_at(saliency: NDArray[np.float32], lesion_tokens: NDArray[np.bool_]) -> bool:
    """Whether the maximum of a map (z, y, x) lies in a lesion token; an all-zero map points nowhere."""
    if not saliency.any():
        return False
    return bool(lesion_tokens.flat[int(saliency.argmax())])
