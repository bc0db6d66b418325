"""Smooth random fields that belong to an eye: the same wherever, and however finely, it is scanned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

Map = NDArray[np.floating[Any]]

EXTENT_MM = 11.0  # side of the square around the fovea that fields cover
_FINENESS = 4096


@lru_cache(maxsize=64)
def _spline_basis(knots: int) -> NDArray[np.float32]:
    """Cubic interpolation from knots + 1 values to finely spaced samples, as a matrix."""
    spline = make_interp_spline(np.arange(knots + 1), np.eye(knots + 1), k=3)
    return np.asarray(spline(np.linspace(0, knots, _FINENESS)), np.float32)


def _weights(positions_mm: Map, knots: int) -> NDArray[np.float32]:
    at = (positions_mm / EXTENT_MM + 0.5) * (_FINENESS - 1)
    nearest = np.clip(np.rint(at), 0, _FINENESS - 1).astype(np.intp)
    return np.asarray(_spline_basis(knots)[nearest])


@dataclass(frozen=True, eq=False)
class Field:
    """A random field over the eye with mean 0 and standard deviation about 1, smooth below its grain."""

    values: NDArray[np.float32]

    @classmethod
    def sample(cls, rng: np.random.Generator, grain_mm: float | tuple[float, float]) -> Field:
        """Draw a field whose bumps are about ``grain_mm`` (or (down, across)) wide."""
        down, across = (grain_mm, grain_mm) if isinstance(grain_mm, float | int) else grain_mm
        shape = tuple(max(round(EXTENT_MM / grain), 3) + 1 for grain in (down, across))
        values = rng.standard_normal(shape, dtype=np.float32)
        # Interpolation between knots takes about a quarter of the deviation away.
        return cls((values - values.mean()) / (0.75 * values.std() + np.float32(1e-6)))

    def at(self, z_mm: Map, x_mm: Map) -> NDArray[np.float32]:
        """Values at rows ``z_mm`` and columns ``x_mm`` from the fovea, shape (rows, columns)."""
        rows, columns = (size - 1 for size in self.values.shape)
        return np.asarray(_weights(z_mm, rows) @ self.values @ _weights(x_mm, columns).T)
