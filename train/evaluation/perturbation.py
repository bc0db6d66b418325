"""Deletion and insertion curves: does a score fall and rise with the cubes that a map calls salient.

Petsiuk et al., arXiv:1806.07421, with cubes for pixels. Cubes are removed from the volume (deletion), or put into an
emptied one (insertion), the most salient first; the area under the probability is low for a good map in the one and
high in the other. Random order says what any order would give: a random share of cubes removed and the rest put in
are the same thing, so both curves have the same expected area in random order.

A removed cube takes the level of the volume's own background, as if vitreous or shadow were there. Blurred content,
which is usual for photographs, is no absence here but evidence: the demo model then sees drusen and a detached vitreous
in nearly every eye (figures in docs/benchmarks.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from octcube_core.models.heads import disease_probabilities
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.token_grid import Triple

# Over half of a macular scan is vitreous and shadow; a black border or a very thick retina leaves a quarter of it.
BACKGROUND_QUANTILE = 0.25
RANDOM_ORDERS = 5
VOLUMES_AT_ONCE = 16

Predict = Callable[[torch.Tensor], NDArray[np.float32]]  # (n, 1, frames, height, width) -> (n, d)


class Perturbation:
    """One volume with cubes taken out.

    Parameters
    ----------
    predict : callable
        From volumes to the probabilities of the diseases.
    volume : tensor, shape (1, 1, frames, height, width)
    cube : (frames, height, width) of one token
    steps : int
        A curve has ``steps + 1`` points, at equal shares of the cubes from none to all.
    rng : numpy Generator
        Of the random orders, one of which also ranks equally salient cubes.
    """

    def __init__(
        self,
        predict: Predict,
        volume: torch.Tensor,
        cube: Triple,
        steps: int,
        rng: np.random.Generator,
    ) -> None:
        self._predict, self._volume, self._cube, self._steps = predict, volume, cube, steps
        z, y, x = (size // edge for size, edge in zip(volume.shape[-3:], cube, strict=True))
        self._grid = z, y, x
        level = np.quantile(volume.float().cpu().numpy(), BACKGROUND_QUANTILE)
        self._emptied = torch.full_like(volume, float(level))
        self._random_ranks = np.stack([rng.permutation(z * y * x) for _ in range(RANDOM_ORDERS)])
        self._whole, self._empty = predict(torch.cat([volume, self._emptied]))

    def areas(
        self, maps: NDArray[np.float32], disease: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Areas under the deletion and the insertion curve of a disease by each of its maps.

        Parameters
        ----------
        maps : array, shape (map, z, y, x)
        disease : int
            Its place in what ``predict`` returns.

        Returns
        -------
        deletion, insertion : arrays, shape (map,)
        """
        flat = maps.reshape(len(maps), -1)
        # The last key is the first to sort by; without ties broken at random, zeros would go slice by slice.
        orders = np.stack([np.lexsort((self._random_ranks[0], -values)) for values in flat])
        ranks = np.argsort(orders, axis=1)
        removed = self._first(ranks)
        deletion = self._area(~removed, self._whole, self._empty)
        insertion = self._area(removed, self._empty, self._whole)
        return deletion[:, disease], insertion[:, disease]

    def random_area(self) -> NDArray[np.float64]:
        """Expected area of either curve of each disease in random order, shape (disease,)."""
        removed = self._first(self._random_ranks)
        area: NDArray[np.float64] = self._area(~removed, self._whole, self._empty).mean(axis=0)
        return area

    def _first(self, ranks: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which cubes are among the first at every step but the two ends: (order, cube) -> (order, step, cube)."""
        cubes = ranks.shape[1]
        counts = np.rint(np.arange(1, self._steps) * cubes / self._steps)
        first: NDArray[np.bool_] = ranks[:, None] < counts[:, None]
        return first

    def _area(
        self, kept: NDArray[np.bool_], start: NDArray[np.float32], end: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Areas under the curves, shape (order, disease), from what is kept at each step and the two ends."""
        orders, steps, _ = kept.shape
        masks = kept.reshape(orders * steps, *self._grid)
        chunks = [
            self._predict(self._with_cubes(masks[first : first + VOLUMES_AT_ONCE]))
            for first in range(0, len(masks), VOLUMES_AT_ONCE)
        ]
        diseases = len(start)
        inner = np.concatenate([np.zeros((0, diseases)), *chunks]).reshape(orders, steps, diseases)
        ends = [np.broadcast_to(values, (orders, 1, diseases)) for values in (start, end)]
        curves = np.concatenate([ends[0], inner, ends[1]], axis=1)
        return np.asarray(np.trapezoid(curves, dx=1 / self._steps, axis=1))

    def _with_cubes(self, kept: NDArray[np.bool_]) -> torch.Tensor:
        """Volumes that hold the given cubes (n, z, y, x) alone."""
        voxels = torch.from_numpy(kept).to(self._volume.device)
        for axis, edge in enumerate(self._cube, start=1):
            voxels = voxels.repeat_interleave(edge, dim=axis)
        return torch.where(voxels[:, None], self._volume, self._emptied)


def predictor(model: OCTCubeClassifier) -> Predict:
    """The model's probabilities as a function of volumes."""

    def predict(volumes: torch.Tensor) -> NDArray[np.float32]:
        with torch.no_grad():
            logits = model(volumes)
        probabilities: NDArray[np.float32] = disease_probabilities(
            logits.cpu(), model.card.temperature
        ).numpy()
        return probabilities

    return predict
