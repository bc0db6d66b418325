"""How an eye lies under a device in one examination: gaze, tilt, depth, and its motion from B-scan to B-scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SCAN_MM = 6.0


@dataclass(frozen=True, eq=False)
class Alignment:
    """The position of an eye, and a stream for its motion.

    Attributes
    ----------
    fovea_mm : (x, z) of the fovea from the centre of the scan
    tilt : micrometres of depth per millimetre along x and z
    depth_um : mean depth of Bruch's membrane in the scan
    motion : random stream, or None for an eye at rest
    """

    fovea_mm: tuple[float, float]
    tilt: tuple[float, float]
    depth_um: float
    motion: np.random.Generator | None

    @classmethod
    def sample(cls, rng: np.random.Generator, scan_depth_um: float, *, still: bool) -> Alignment:
        """Where a patient happens to look; ``still`` gives the same position without motion."""
        gaze = rng.normal(0, 0.24, 2)
        tilt = rng.normal(0, [38, 22])
        depth = float(rng.uniform(0.50, 0.72)) * scan_depth_um
        motion = rng.spawn(1)[0]
        return cls(
            (float(gaze[0]), float(gaze[1])),
            (float(tilt[0]), float(tilt[1])),
            depth,
            None if still else motion,
        )

    def lateral_motion_mm(self, bscans: int) -> NDArray[np.float64]:
        """Sideways shift of each B-scan."""
        if self.motion is None:
            return np.zeros(bscans)
        return 0.012 * self.motion.standard_normal(bscans)

    def axial_motion_um(self, bscans: int) -> NDArray[np.float64]:
        """Shift of each B-scan in depth; slow and small, as the device tracks the eye."""
        if self.motion is None:
            return np.zeros(bscans)
        steps = self.motion.normal(0, 12, bscans)
        return np.asarray(ndimage.gaussian_filter1d(steps, 1.5, mode="nearest"))
