"""Where a fundus image lies relative to the OCT scan: turned, shifted, and with a field of view of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octcube_core.phantom.vessels import FIELD_MM

SIZE = 384


@dataclass(frozen=True)
class Camera:
    """The pose of one fundus image of 384 x 384 pixels.

    Attributes
    ----------
    rotation_deg : how far its field is turned against the scan
    shift_mm : (x, z) of its centre from the scan's centre
    side_mm : side of its field
    """

    rotation_deg: float = 0.0
    shift_mm: tuple[float, float] = (0.0, 0.0)
    side_mm: float = FIELD_MM

    @classmethod
    def infrared(cls, rng: np.random.Generator, misalignment: float) -> Camera:
        """The OCT's own camera, which sees nearly what is scanned."""
        return cls._sample(rng, misalignment, turn=1.2, shift=0.1, zoom=0.03)

    @classmethod
    def autofluorescence(cls, rng: np.random.Generator, misalignment: float) -> Camera:
        """A picture taken before or after the scan, perhaps by another device."""
        return cls._sample(rng, misalignment, turn=4.0, shift=0.35, zoom=0.14)

    @classmethod
    def _sample(
        cls, rng: np.random.Generator, misalignment: float, turn: float, shift: float, zoom: float
    ) -> Camera:
        along_x, along_z, turned = rng.uniform(-1, 1, 3) * misalignment
        return cls(
            float(turned * turn),
            (float(along_x * shift), float(along_z * shift)),
            FIELD_MM * (1 - float(rng.uniform(0, 1)) * zoom * misalignment),
        )

    @property
    def pitch_mm(self) -> float:
        """Distance between pixels."""
        return self.side_mm / SIZE

    @property
    def aligned(self) -> bool:
        """Whether it sees the scan's centre upright on 9 x 9 mm."""
        return self == Camera()

    def rotation(self) -> NDArray[np.float64]:
        """Matrix from (row, column) directions of the image to (z, x) directions of the scan."""
        cos, sin = (f(math.radians(self.rotation_deg)) for f in (math.cos, math.sin))
        return np.array([[cos, sin], [-sin, cos]])

    def pixels(self, positions: NDArray[np.float64]) -> NDArray[np.float64]:
        """(row, column) of positions (x, z) in millimetres from the scan's centre; any leading shape."""
        from_centre = positions[..., ::-1] - np.array(self.shift_mm[::-1])
        in_image = from_centre @ self.rotation()
        return np.asarray((in_image + self.side_mm / 2) / self.side_mm * SIZE - 0.5)
