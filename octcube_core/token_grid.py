"""The exact maps between models' token grids and an exam's voxels, pixels and micrometres. numpy only.

The model's input is the volume resized with voxel *edges* aligned (``align_corners=False``), so
along each axis ``voxel = (model + 0.5) * voxels / size - 0.5`` for indices of centres. A token is a
run of ``cube`` model samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Triple = tuple[int, int, int]


def grid_of(shape: Sequence[Any], cube: Triple) -> Triple | None:
    """Token grid (z, y, x) of an input of (frames, height, width); None where the cubes do not divide it."""
    if len(shape) != 3 or not all(isinstance(size, Integral) for size in shape):
        return None
    z, y, x = (int(size) // step for size, step in zip(shape, cube, strict=True))
    whole = tuple(shape) == (z * cube[0], y * cube[1], x * cube[2])
    return (z, y, x) if whole and min(z, y, x) > 0 else None


@dataclass(frozen=True)
class TokenGrid:
    """Geometry of the tokens of one exam in one model.

    Attributes
    ----------
    volume_shape : (bscans, depth, width) of the exam
    input_shape : (frames, height, width) that the model sees
    cube : (frames, height, width) of one token in the model's input
    depth : (first, end), optional
        The depth samples that the model sees, without the end; all by default.
    """

    volume_shape: Triple
    input_shape: Triple
    cube: Triple
    depth: tuple[int, int] | None = None

    @property
    def shape(self) -> Triple:
        """Number of tokens along (z, y, x)."""
        z, y, x = (size // cube for size, cube in zip(self.input_shape, self.cube, strict=True))
        return z, y, x

    @property
    def step_voxels(self) -> NDArray[np.float64]:
        """Distance between token centres in voxels, shape (3,)."""
        bscans, depth, width = self.volume_shape
        first, end = self.depth or (0, depth)
        seen, model, cube = (
            np.asarray(shape, np.float64)
            for shape in ((bscans, end - first, width), self.input_shape, self.cube)
        )
        step: NDArray[np.float64] = cube * seen / model
        return step

    @property
    def origin_voxels(self) -> NDArray[np.float64]:
        """Centre of token (0, 0, 0) in voxel indices, shape (3,)."""
        return self.step_voxels / 2 - 0.5 + self._first_voxel

    @property
    def _first_voxel(self) -> NDArray[np.float64]:
        return np.array([0.0, self.depth[0] if self.depth else 0.0, 0.0])

    def voxel_of_token(self, token: ArrayLike) -> NDArray[np.float64]:
        """Voxel index (of centres, fractional) of token indices, shape (..., 3)."""
        return np.asarray(token, float) * self.step_voxels + self.origin_voxels

    def token_of_voxel(self, voxel: ArrayLike) -> NDArray[np.int64]:
        """Token that covers each voxel index, or the nearest one, shape (..., 3)."""
        seen = np.asarray(voxel, float) + 0.5 - self._first_voxel
        token = np.floor(seen / self.step_voxels)
        return np.clip(token, 0, np.asarray(self.shape) - 1).astype(np.int64)

    def bscan_of_token(self, z: int) -> int:
        """B-scan nearest to the centre of token layer ``z``."""
        centre = z * self.step_voxels[0] + self.origin_voxels[0]
        return int(np.clip(np.rint(centre), 0, self.volume_shape[0] - 1))

    def key_bscans(self, saliency: NDArray[np.float32], count: int) -> list[int]:
        """B-scans at the centres of the most salient layers of a map on this grid, most salient first."""
        importance = saliency.mean(axis=(1, 2))
        order = [z for z in np.argsort(-importance, kind="stable") if importance[z] > 0]
        return list(dict.fromkeys(self.bscan_of_token(int(z)) for z in order))[:count]

    def scale_and_translate(
        self, spacing: ArrayLike
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Size of a token and centre of the first one, in the units of the voxel spacing given.

        World coordinates are 0 at the centre of voxel (0, 0, 0). Both results have shape (3,).
        """
        unit = np.asarray(spacing, float)
        return self.step_voxels * unit, self.origin_voxels * unit


@dataclass(frozen=True)
class PatchGrid:
    """Geometry of the patches of an en-face image in a model that sees its central part.

    The image is scaled by one factor until it covers the model's input, whose centre is then cut out.

    Attributes
    ----------
    image_shape : (rows, columns) of the image
    scaled_shape : (rows, columns) after scaling
    input_shape : (height, width) that the model sees
    patch : (height, width) of one token in the model's input
    """

    image_shape: tuple[int, int]
    scaled_shape: tuple[int, int]
    input_shape: tuple[int, int]
    patch: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of patches along (rows, columns)."""
        return self.input_shape[0] // self.patch[0], self.input_shape[1] // self.patch[1]

    @property
    def corner(self) -> tuple[int, int]:
        """(row, column) of the scaled image where the model's input begins."""
        rows, columns = (
            round((scaled - seen) / 2)
            for scaled, seen in zip(self.scaled_shape, self.input_shape, strict=True)
        )
        return rows, columns

    @property
    def step_pixels(self) -> NDArray[np.float64]:
        """Distance between patch centres in pixels of the image, shape (2,)."""
        image, scaled = np.asarray(self.image_shape, float), np.asarray(self.scaled_shape, float)
        step: NDArray[np.float64] = np.asarray(self.patch) * image / scaled
        return step

    @property
    def origin_pixels(self) -> NDArray[np.float64]:
        """Centre of patch (0, 0) in pixel indices, shape (2,)."""
        image, scaled = np.asarray(self.image_shape, float), np.asarray(self.scaled_shape, float)
        centre = np.asarray(self.corner) + np.asarray(self.patch) / 2
        origin: NDArray[np.float64] = centre * image / scaled - 0.5
        return origin
