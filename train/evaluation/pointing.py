"""Whether maps lie on lesions: the pointing game, and the mass inside the lesion."""

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
    """Whether the maximum of a map (z, y, x) lies in a lesion token (Zhang et al., arXiv:1608.00507).

    An all-zero map points nowhere.
    """
    if not saliency.any():
        return False
    return bool(lesion_tokens.flat[int(saliency.argmax())])


def mass_inside(saliency: NDArray[np.float32], lesion_tokens: NDArray[np.bool_]) -> float:
    """Share of a map's sum in lesion tokens: the energy-based pointing game (Wang et al., arXiv:1910.01279).

    A cube that touches the lesion counts as a whole, as a bounding box does there: a map says no more than which
    cubes, and so a perfect one reaches 1 and an even one the share of lesion tokens. An all-zero map has 0.
    """
    total = float(saliency.sum(dtype=np.float64))
    return float(saliency[lesion_tokens].sum(dtype=np.float64)) / total if total > 0 else 0.0
