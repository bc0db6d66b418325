"""Which scan pattern the places of the B-scans on an en-face image make.

Rules, with a tolerance for places rounded to whole pixels:

- circle: every line goes round by 300 degrees or more, at about the same distance from its centre;
- line: one straight line, or several at the same place;
- raster: straight lines that are parallel, run the same way side by side, are equally long and evenly spaced;
- radial: straight lines of different directions whose middles meet in one point;
- anything else has no name here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import ScanPattern

_ROUNDING = 0.75  # pixels by which a place rounded to whole pixels (twice) may be off
_STRAIGHT = 0.01  # bending of a straight line, relative to its length
_EVEN = 0.05  # unevenness of the distance between lines, relative to it
_ALIKE = 0.05  # difference in length or place along the line of a raster's lines, relative to their length
_ROUND = 0.05  # difference of a circle's radii, relative to their mean
_ROUND_TRIP = np.deg2rad(300.0)
_TURN = np.deg2rad(0.5)  # directions that differ by less are the same
_CENTRAL = 0.1  # distance of radial lines' middles from their centre, relative to their length

_Lines = Sequence[NDArray[np.float64]]


def scan_pattern(polylines: _Lines) -> ScanPattern | None:
    """Name the pattern of B-scan lines.

    Parameters
    ----------
    polylines : sequence of arrays, each of shape (points, 2)
        (row, column) of each B-scan from its first A-scan to its last.

    Returns
    -------
    'raster', 'radial', 'circle', 'line' or None
        None for no lines and for lines of no known pattern.
    """
    lines = [np.asarray(line, dtype=np.float64) for line in polylines]
    if not lines:
        return None
    ends = _ends_of_straight_lines(lines)
    if ends is None:
        circles = all(_is_line(line) for line in lines) and all(_is_circle(line) for line in lines)
        return "circle" if circles else None
    if np.ptp(ends, axis=0).max() <= 2 * _ROUNDING:
        return "line"
    if _pitch(ends) is not None:
        return "raster"
    return "radial" if _is_radial(ends) else None


def raster_pitch(polylines: _Lines) -> float | None:
    """Distance between neighbouring lines of a raster, in the unit of their places; None if they make no raster."""
    if len(polylines) < 2:
        return None
    ends = _ends_of_straight_lines([np.asarray(line, dtype=np.float64) for line in polylines])
    return None if ends is None else _pitch(ends)


def _ends_of_straight_lines(lines: _Lines) -> NDArray[np.float64] | None:
    """First and last point of each line, shape (lines, 2, 2); None unless all are straight."""
    if all(line.shape == (2, 2) for line in lines):
        ends = np.stack(lines)
        long_enough = np.hypot(*(ends[:, 1] - ends[:, 0]).T) > 2 * _ROUNDING  # not with NaN
        return ends if np.isfinite(ends).all() and long_enough.all() else None
    if not all(_is_line(line) and _is_straight(line) for line in lines):
        return None
    return np.array([(line[0], line[-1]) for line in lines])


def _pitch(ends: NDArray[np.float64]) -> float | None:
    if len(ends) < 2:
        return None
    steps = ends[:, 1] - ends[:, 0]
    lengths = np.hypot(*steps.T)
    length = lengths.mean()
    along = steps.mean(axis=0)
    along /= np.hypot(*along) or 1.0
    across = np.array([-along[1], along[0]])
    alike = max(_ALIKE * length, 2 * _ROUNDING)
    # A line that runs the other way has a negative extent along the mean direction.
    if np.abs(steps @ across).max() > max(_TURN * length, 2 * _ROUNDING):
        return None
    if np.abs(steps @ along - length).max() > alike:
        return None
    middles = ends.mean(axis=1)
    if np.ptp(middles @ along) > alike:
        return None
    places = middles @ across
    order = np.arange(len(places)) - (len(places) - 1) / 2
    pitch = float(places @ order / (order @ order))  # least squares
    off = np.abs(places - (places.mean() + pitch * order)).max()
    pitch = abs(pitch)
    if pitch * 2 * order[-1] <= 2 * _ROUNDING or off > max(_EVEN * pitch, _ROUNDING):
        return None
    return pitch


def line_length(polylines: _Lines) -> float:
    """Mean length of the lines, in the unit of their places."""
    if all(len(line) == 2 for line in polylines):
        ends = np.stack(polylines)
        return float(np.hypot(*(ends[:, 1] - ends[:, 0]).T).mean())
    return float(
        np.mean([np.hypot(*np.diff(np.asarray(line), axis=0).T).sum() for line in polylines])
    )


def _is_line(line: NDArray[np.float64]) -> bool:
    return line.ndim == 2 and line.shape[1] == 2 and len(line) > 1 and bool(np.isfinite(line).all())


def _is_straight(line: NDArray[np.float64]) -> bool:
    chord = line[-1] - line[0]
    length = float(np.hypot(*chord))
    if length <= 2 * _ROUNDING:
        return False
    aside = np.abs((line - line[0]) @ np.array([-chord[1], chord[0]])) / length
    forth = (line - line[0]) @ chord / length
    tolerance = max(_STRAIGHT * length, _ROUNDING)
    inside = forth.min() >= -tolerance and forth.max() <= length + tolerance
    return bool(aside.max() <= tolerance and inside)


def _is_circle(line: NDArray[np.float64]) -> bool:
    if len(line) < 6:
        return False
    middle = line.mean(axis=0)
    # |p - c|^2 = r^2 is linear in the centre c and r^2 - |c|^2.
    design = np.column_stack([2 * (line - middle), np.ones(len(line))])
    solution, _, rank, _ = np.linalg.lstsq(design, ((line - middle) ** 2).sum(axis=1), rcond=None)
    if rank < 3:
        return False
    spokes = line - middle - solution[:2]
    radii = np.hypot(*spokes.T)
    radius = radii.mean()
    if radius <= 2 * _ROUNDING or np.abs(radii - radius).max() > max(_ROUND * radius, _ROUNDING):
        return False
    angles = np.unwrap(np.arctan2(spokes[:, 0], spokes[:, 1]))
    return bool(abs(angles[-1] - angles[0]) >= _ROUND_TRIP and np.ptp(angles) < 2.2 * np.pi)


def _is_radial(ends: NDArray[np.float64]) -> bool:
    steps = ends[:, 1] - ends[:, 0]
    lengths = np.hypot(*steps.T)
    middles = ends.mean(axis=1)
    normals = np.column_stack([-steps[:, 1], steps[:, 0]]) / lengths[:, None]
    angles = np.sort(np.arctan2(steps[:, 0], steps[:, 1]) % np.pi)
    gaps = np.diff([*angles, angles[0] + np.pi])
    if gaps.min() < max(_TURN, min(2 * _ROUNDING / lengths.mean(), 0.1)):
        return False
    centre = np.linalg.lstsq(normals, (normals * middles).sum(axis=1), rcond=None)[0]
    beside = np.abs(((centre - middles) * normals).sum(axis=1))
    away = np.hypot(*(centre - middles).T)
    return bool(
        (beside <= np.maximum(_STRAIGHT * lengths, _ROUNDING)).all()
        and (away <= np.maximum(_CENTRAL * lengths, 2 * _ROUNDING)).all()
    )
