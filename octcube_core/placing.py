"""From (B-scan, A-scan) to the image on which the B-scans are placed. numpy only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from octcube_core.scan_pattern import raster_pitch

RIBBON = 0.012  # half the width of a line's ribbon, relative to the image's longer side
SINGLE_RIBBON = 0.03  # of an only line, which a mark of its place would else hide
ROWS_AT_ONCE = 256  # so that coordinates of a large image are never held as a whole
HALF_SAMPLE = 0.5

Values = NDArray[np.float32]
Lines = Sequence[NDArray[np.float64]]


def on_image(values: Values, polylines: Lines, shape: tuple[int, int]) -> Values:
    """Lay a value per A-scan on the pixels of an image.

    Parameters
    ----------
    values : float32 array, shape (bscans, width)
        Not negative.
    polylines : sequence of arrays, each of shape (points, 2)
        (row, column) of each B-scan from its first A-scan to its last; A-scans are evenly spaced along it.
    shape : (rows, columns) of the image

    Returns
    -------
    float32 array, shape (rows, columns)
        Bilinear within a raster; for any other pattern a ribbon along each line, the larger value where they cross.
        0 elsewhere.
    """
    if raster_pitch(polylines) is not None:
        return _within_raster(values, polylines, shape)
    placed = np.zeros(shape, np.float32)
    ribbon = SINGLE_RIBBON if len(polylines) == 1 else RIBBON
    for line, along in zip(polylines, values, strict=True):
        _add_ribbon(placed, line, along, max(1.0, ribbon * max(shape)))
    return placed


def _within_raster(values: Values, polylines: Lines, shape: tuple[int, int]) -> Values:
    bscans, width = values.shape
    # Least squares over both ends of all lines: place = corner + bscan * across + part * along.
    ends = np.array([line[end] for line in polylines for end in (0, -1)])
    design = np.column_stack(
        [np.ones(2 * bscans), np.repeat(np.arange(bscans), 2), np.tile([0.0, 1.0], bscans)]
    )
    corner, across, along = np.linalg.lstsq(design, ends, rcond=None)[0]
    inverse = np.linalg.inv(np.column_stack([across, along]))
    reach = HALF_SAMPLE / max(width - 1, 1)
    corners = [
        corner + bscan * across + part * along
        for bscan in (-HALF_SAMPLE, bscans - 1 + HALF_SAMPLE)
        for part in (-reach, 1 + reach)
    ]
    low = np.clip(np.floor(np.min(corners, axis=0)), 0, shape).astype(int)
    high = np.clip(np.ceil(np.max(corners, axis=0)) + 1, 0, shape).astype(int)
    columns = np.arange(low[1], high[1])
    placed = np.zeros(shape, np.float32)
    for first in range(low[0], high[0], ROWS_AT_ONCE):
        rows = np.arange(first, min(first + ROWS_AT_ONCE, high[0]))
        down, right = rows[:, None] - corner[0], columns[None, :] - corner[1]
        bscan, part = (by_row * down + by_column * right for by_row, by_column in inverse)
        placed[first : first + len(rows), low[1] : high[1]] = _bilinear(
            values, bscan, part * (width - 1)
        )
    return placed


def _bilinear(
    values: Values, rows: NDArray[np.float64], columns: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Values between samples; constant for half a sample beyond the outer ones, then 0."""
    inside = np.ones(rows.shape, bool)
    below, above, weight = [], [], []
    for at, size in zip((rows, columns), values.shape, strict=True):
        inside &= (at >= -HALF_SAMPLE) & (at <= size - 1 + HALF_SAMPLE)
        clipped = np.clip(at, 0, size - 1)
        low = np.minimum(clipped.astype(np.intp), max(size - 2, 0))
        below.append(low)
        above.append(np.minimum(low + 1, size - 1))
        weight.append(clipped - low)
    upper = values[below[0], below[1]] * (1 - weight[1]) + values[below[0], above[1]] * weight[1]
    lower = values[above[0], below[1]] * (1 - weight[1]) + values[above[0], above[1]] * weight[1]
    result: NDArray[np.float64] = (upper * (1 - weight[0]) + lower * weight[0]) * inside
    return result


def _add_ribbon(placed: Values, line: NDArray[np.float64], along: Values, reach: float) -> None:
    """Raise pixels within reach of a line to the value of the A-scan beside them."""
    steps = np.diff(line, axis=0)
    reached = np.concatenate([[0.0], np.cumsum(np.hypot(*steps.T))])
    if reached[-1] == 0:
        return
    samples = np.linspace(0.0, reached[-1], max(2, int(np.ceil(reached[-1] / HALF_SAMPLE)) + 1))
    places = np.column_stack([np.interp(samples, reached, line[:, axis]) for axis in (0, 1)])
    directions = np.gradient(places, axis=0)
    normals = np.column_stack([-directions[:, 1], directions[:, 0]])
    normals /= np.maximum(np.hypot(*normals.T), 1e-12)[:, None]
    asides = np.arange(-reach, reach + HALF_SAMPLE, HALF_SAMPLE)
    pixels = np.rint(places[:, None] + asides[None, :, None] * normals[:, None]).astype(np.intp)
    inside = ((pixels >= 0) & (pixels < placed.shape)).all(axis=2)
    ascans = samples / reached[-1] * (len(along) - 1)
    values = np.interp(ascans, np.arange(len(along)), along).astype(np.float32)
    values = np.broadcast_to(values[:, None], inside.shape)
    np.maximum.at(placed, tuple(pixels[inside].T), values[inside])
