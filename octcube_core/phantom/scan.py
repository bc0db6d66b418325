"""Where the A-scans of a synthetic eye lie: rasters in any direction, radial lines, a circle, a line.

Positions are (x, z) in millimetres from the centre of the scanned field of 6 x 6 mm, ``x`` towards the right of the
fundus image and ``z`` downwards, so that a turn by a positive angle is clockwise on the fundus image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import BScanLocations, ScanPattern, Spacing
from octcube_core.phantom.alignment import SCAN_MM
from octcube_core.phantom.camera import Camera

CIRCLE_RADIUS_MM = 1.7  # the usual circle scan is 3.4 mm across


@dataclass(frozen=True, eq=False)
class Scan:
    """The A-scans of one acquisition.

    Attributes
    ----------
    pattern : 'raster', 'radial', 'circle' or 'line'
    positions : array, shape (bscans, width, 2)
        (x, z) of each A-scan.
    between_bscans_mm : float or None
        Distance between neighbouring B-scans; None where there is no one distance.
    along_bscan_mm : float
        Distance between neighbouring A-scans along the B-scan (on the circle: the arc between them).
    """

    pattern: ScanPattern
    positions: NDArray[np.float64]
    between_bscans_mm: Spacing
    along_bscan_mm: float

    def on_fundus(self, camera: Camera) -> BScanLocations:
        """The lines on a fundus image; straight ones by their first and last A-scan, the circle by every one."""
        pixels = camera.pixels(self.positions)
        points = slice(None) if self.pattern == "circle" else [0, -1]
        return BScanLocations(tuple(line[points] for line in pixels), image=0)


def plan_scan(pattern: ScanPattern, bscans: int, width: int, rotation_deg: float = 0.0) -> Scan:
    """Lay a scan pattern into the field of 6 x 6 mm.

    Parameters
    ----------
    pattern : str
        'raster': a square of parallel lines, as large as the field lets it be when it is turned. 'radial': lines of
        6 mm through the centre at equal angles over half a turn. 'circle': one B-scan on a circle of 3.4 mm around
        the centre. 'line': one B-scan of 6 mm through the centre.
    bscans, width : int
        B-scans and A-scans per B-scan; a circle and a line have one B-scan whatever ``bscans`` is.
    rotation_deg : float
        Turns the pattern clockwise about the centre. Unturned, B-scans run from left to right, the superior one first;
        a circle starts on the right and runs clockwise.

    Raises
    ------
    InputError
        If the pattern is unknown or the angle is not a number.
    """
    if pattern not in get_args(ScanPattern):
        raise InputError(
            f"Unknown scan pattern {pattern!r}; known are {', '.join(get_args(ScanPattern))}."
        )
    if not math.isfinite(rotation_deg):
        raise InputError("The rotation of a scan must be a number of degrees.")
    if pattern == "circle":
        angles = 2 * np.pi * np.arange(width) / width
        circle = CIRCLE_RADIUS_MM * np.stack([np.cos(angles), np.sin(angles)], axis=-1)
        arc = 2 * np.pi * CIRCLE_RADIUS_MM / width
        return Scan(pattern, _turned(circle[None], rotation_deg), None, arc)
    if pattern == "raster":
        cos, sin = _direction(rotation_deg)
        side = SCAN_MM / (abs(cos) + abs(sin))
        x, z = np.meshgrid(_centres(width, side), _centres(bscans, side))
        raster = np.stack([x, z], axis=-1)
        return Scan(
            pattern,
            _turned(raster, rotation_deg),
            side / bscans if bscans > 1 else None,
            side / width,
        )
    line = np.stack([_centres(width, SCAN_MM), np.zeros(width)], axis=-1)
    lines = 1 if pattern == "line" else bscans
    turned = [_turned(line, rotation_deg + 180 * number / lines) for number in range(lines)]
    return Scan(pattern, np.stack(turned), None, SCAN_MM / width)


def _centres(count: int, length: float) -> NDArray[np.float64]:
    return (np.arange(count) + 0.5) / count * length - length / 2


def _direction(degrees: float) -> tuple[float, float]:
    """Cosine and sine, exact at quarter turns, so that a vertical raster fills the field."""
    quarters, rest = divmod(degrees, 90)
    cos, sin = math.cos(math.radians(rest)), math.sin(math.radians(rest))
    for _ in range(int(quarters) % 4):
        cos, sin = -sin, cos
    return cos, sin


def _turned(points: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    cos, sin = _direction(degrees)
    x, z = points[..., 0], points[..., 1]
    return np.stack([cos * x - sin * z, sin * x + cos * z], axis=-1)
