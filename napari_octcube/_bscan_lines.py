"""The B-scans' places as lines on a picture: fit to draw, and fit to find the one nearest to a click. No Qt."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import BScanLocations

STRAIGHT_PX = 0.25  # a line that bends less than this is drawn as a straight one
MAX_POINTS = 181  # of a bent line: a circle with a corner every two degrees
CLOSED_PART = 0.05  # of its length between the ends of a line that counts as closed
ARROW_PART = 0.08  # of its length at which a closed line shows its direction

Points = NDArray[np.float64]


class BScanLines:
    """Lines in the coordinates of a picture whose top-left corner is (0, 0): x to the right, y downwards.

    Parameters
    ----------
    locations : BScanLocations
        In (row, column), pixel centres at integers.

    Attributes
    ----------
    lines : tuple of arrays, each of shape (points, 2)
        (x, y) from the first A-scan to the last.
    """

    def __init__(self, locations: BScanLocations) -> None:
        self.lines: tuple[Points, ...] = tuple(
            _drawable(line[:, ::-1] + 0.5) for line in locations.polylines
        )
        self._starts = np.concatenate([line[:-1] for line in self.lines])
        self._ends = np.concatenate([line[1:] for line in self.lines])
        self._owner = np.repeat(np.arange(len(self.lines)), [len(line) - 1 for line in self.lines])

    def touch(self, shape: tuple[int, int]) -> bool:
        """Whether any line has a point on a picture of (rows, columns), or spans it."""
        low, high = np.minimum(self._starts, self._ends), np.maximum(self._starts, self._ends)
        return bool(((high >= 0) & (low <= np.array(shape[::-1]))).all(axis=1).any())

    def nearest(self, point: tuple[float, float], stretch: float = 1.0) -> int:
        """Index of the B-scan whose line passes closest to a point; `stretch` is a pixel's height over its width."""
        true = np.array([1.0, stretch])
        starts, ends, at = self._starts * true, self._ends * true, np.asarray(point) * true
        along = ends - starts
        squared = np.maximum((along**2).sum(axis=1), 1e-12)
        part = np.clip(((at - starts) * along).sum(axis=1) / squared, 0.0, 1.0)
        distance = np.hypot(*(starts + part[:, None] * along - at).T)
        return int(self._owner[np.argmin(distance)])


def _drawable(line: Points) -> Points:
    """As few points as look the same: some devices state one per A-scan."""
    first, last = line[0], line[-1]
    along = last - first
    length = float(np.hypot(*along))
    if length > 0:
        offset = line - first
        across = np.abs(offset[:, 0] * along[1] - offset[:, 1] * along[0]) / length
        position = offset @ along / length
        if across.max() <= STRAIGHT_PX and position.min() >= 0 and position.max() <= length:
            return np.stack([first, last])
    if len(line) <= MAX_POINTS:
        return line
    return line[np.unique(np.linspace(0, len(line) - 1, MAX_POINTS).round().astype(int))]


def arrow_of(line: Points) -> tuple[Points, Points]:
    """Where on a line its direction is shown, at the end or after the start of a closed one; and that direction."""
    steps = np.diff(line, axis=0)
    lengths = np.hypot(*steps.T)
    total = float(lengths.sum())
    if total == 0:
        return line[-1], np.array([1.0, 0.0])
    closed = np.hypot(*(line[-1] - line[0])) < CLOSED_PART * total
    reached = np.cumsum(lengths)
    want = ARROW_PART * total if closed else total
    step = min(int(np.searchsorted(reached, want)), len(lengths) - 1)
    while lengths[step] == 0:  # points stated twice
        step -= 1
    before = reached[step] - lengths[step]
    direction = steps[step] / lengths[step]
    return line[step] + direction * (want - before), direction
