"""Where Heidelberg's B-scans lie on their fundus image, and what that says about the scan.

A line is stored by its start and end, a circle by its start and its centre, each as (y, x) from the top-left of the
fundus image. One pixel is one scale: row = y / scale, with pixel centres at integers, as eyepy has it. Whether
Heidelberg counts from the corner or from the centre of the first pixel is not published; on a Spectralis the two are
6 um apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import Laterality, ScanPattern, Spacing
from octcube_core.readers.plausible import BETWEEN_MM, plausible_mm

_FAR_MM = 100.0  # no place on a fundus image; a damaged number
_PARALLEL = 0.02  # rad
_AGREE = 0.05  # relative

# Numbers of Heidelberg's headers for them.
SCAN_PATTERNS: dict[int, ScanPattern] = {
    1: "line",
    2: "circle",
    3: "raster",
    4: "raster",
    5: "radial",
}

_FloatArray = NDArray[np.float64]

NO_PLACES = "The file does not state usable places of the B-scans on the fundus image; no lines are drawn on it."
NO_DIRECTION = (
    "The file does not state the eye, which decides the direction of a circle scan; no circle is drawn on the "
    "fundus image."
)


@dataclass(frozen=True)
class ScanLines:
    """Starts and ends (centres, for circles) of all B-scans.

    Attributes
    ----------
    start, end : arrays, shape (bscans, 2)
        (y, x) from the top-left of the fundus image, in mm (or in its pixels).
    """

    start: _FloatArray
    end: _FloatArray

    @property
    def lengths(self) -> _FloatArray:
        """From start to end of each; the radius of a circle."""
        return np.asarray(np.hypot(*(self.end - self.start).T))

    @property
    def usable(self) -> bool:
        """Whether all are finite, near the image and longer than nothing."""
        ends = np.concatenate((self.start, self.end))
        plausible = bool(np.isfinite(ends).all() and (np.abs(ends) < _FAR_MM).all())
        return plausible and bool((self.lengths > 1e-6).all())

    def pattern(self, width_mm: float | None) -> ScanPattern | None:
        """Scan pattern by the geometry alone, or None where it does not tell.

        Parameters
        ----------
        width_mm : float or None
            Width of a B-scan: that of one alone tells a line from a circle.
        """
        if not self.usable:
            return None
        if len(self.start) == 1:
            if width_mm is None:
                return None
            length = float(self.lengths[0])
            if abs(length - width_mm) < _AGREE * width_mm:
                return "line"
            return "circle" if abs(2 * np.pi * length - width_mm) < _AGREE * width_mm else None
        if self._parallel():
            return "raster" if self.distance() is not None else None
        middles = (self.start + self.end) / 2
        spread = np.hypot(*(middles - middles.mean(axis=0)).T).max()
        return "radial" if spread < _AGREE * self.lengths.mean() else None

    @property
    def parallel(self) -> bool:
        """Whether all run the same way."""
        return self.usable and self._parallel()

    def distance(self) -> float | None:
        """Distance between neighbouring lines, None unless they are parallel and equally far apart."""
        if len(self.start) < 2 or not self.parallel:
            return None
        along = self._directions().mean(axis=0)
        across = np.array([-along[1], along[0]]) / np.hypot(*along)
        steps = np.diff(((self.start + self.end) / 2) @ across)
        mean = float(steps.mean())
        if abs(mean) < 1e-6 or np.abs(steps - mean).max() > 0.25 * abs(mean):
            return None
        return abs(mean)

    def polylines(
        self,
        pattern: ScanPattern | None,
        laterality: Laterality | None,
        ascans: int,
        scale: tuple[float, float],
    ) -> tuple[_FloatArray, ...]:
        """Place of each B-scan as (row, column) points in pixels of the fundus image.

        Parameters
        ----------
        pattern, laterality
            A circle has a point for each A-scan. It runs temporal, superior, nasal, inferior: clockwise on the
            picture of a right eye, the other way round on that of a left one.
        ascans : int
        scale : tuple of 2 float
            Size of a pixel: (rows, columns).
        """
        if pattern != "circle":
            return tuple(np.stack(ends) / scale for ends in zip(self.start, self.end, strict=True))
        # The last A-scan meets the first: the files' lateral spacing is the circumference over (ascans - 1).
        turn = np.linspace(0.0, 2 * np.pi, ascans)
        turn = turn if laterality == "OD" else -turn
        lines = []
        for start, centre in zip(self.start, self.end, strict=True):
            radius = np.hypot(*(start - centre))
            # Rows grow downwards, so this is clockwise.
            angle = np.arctan2(*(start - centre)) + turn
            lines.append(
                (centre + radius * np.stack((np.sin(angle), np.cos(angle)), axis=1)) / scale
            )
        return tuple(lines)

    def width_warning(self, pattern: ScanPattern | None, width_mm: float | None) -> tuple[str, ...]:
        """Sentence for a file whose B-scans are not as wide as their lines on the fundus image."""
        if width_mm is None or pattern is None:
            return ()
        length = float(np.median(self.lengths)) * (2 * np.pi if pattern == "circle" else 1.0)
        if _agree(length, width_mm):
            return ()
        return (
            f"By its lateral spacing a B-scan is {width_mm:.2f} mm wide, but its place on the fundus image is "
            f"{length:.2f} mm long; measure with care.",
        )

    def _directions(self) -> _FloatArray:
        return np.asarray((self.end - self.start) / self.lengths[:, np.newaxis])

    def _parallel(self) -> bool:
        directions = self._directions()
        y, x = directions[0]
        crossed = np.abs(directions[:, 0] * x - directions[:, 1] * y)
        return bool((crossed < _PARALLEL).all() and (directions @ directions[0] > 0).all())


@dataclass(frozen=True)
class ScanGeometry:
    """Scan pattern and distance between B-scans, neither of which the places of the B-scans contradict.

    Attributes
    ----------
    pattern : 'raster', 'radial', 'circle', 'line' or None
    between_mm : float or None
    warnings : tuple of str
        Sentences about what the file states but its lines contradict.
    """

    pattern: ScanPattern | None
    between_mm: Spacing = None
    warnings: tuple[str, ...] = ()


def scan_geometry(
    lines: ScanLines | None,
    pattern: ScanPattern | None,
    between_mm: float | None,
    width_mm: float | None,
) -> ScanGeometry:
    """Compare what a file states of a scan with where it says that the B-scans lie.

    Which of two contradicting numbers is wrong cannot be told, so both count as unknown.

    Parameters
    ----------
    lines : ScanLines or None
        None, or lines that are not usable, contradict nothing.
    pattern, between_mm
        As stated; a distance of 0 or None is not stated, and is that of the lines.
    width_mm : float or None
        Width of a B-scan.
    """
    if lines is None or not lines.usable:
        raster = pattern == "raster"
        return ScanGeometry(pattern, plausible_mm(between_mm or 0, *BETWEEN_MM) if raster else None)
    if pattern is None:
        pattern = lines.pattern(width_mm)
    elif len(lines.start) > 1 and (pattern, lines.parallel) in (
        ("raster", False),
        ("radial", True),
    ):
        seen = lines.pattern(width_mm)
        return ScanGeometry(seen, None, (_pattern_warning(pattern, seen),))
    if pattern != "raster" or len(lines.start) == 1:
        return ScanGeometry(pattern)
    distance = lines.distance()
    if not between_mm:
        return ScanGeometry(pattern, plausible_mm(distance or 0, *BETWEEN_MM))
    stated = plausible_mm(between_mm, *BETWEEN_MM)
    if stated is None or (distance is not None and _agree(stated, distance)):
        return ScanGeometry(pattern, stated)
    apart = "at unequal distances" if distance is None else f"{distance:.3g} mm apart"
    return ScanGeometry(
        pattern,
        None,
        (
            f"The file states {stated:.3g} mm between B-scans, but places them {apart}; the distance counts as "
            "unknown.",
        ),
    )


def _pattern_warning(stated: ScanPattern, seen: ScanPattern | None) -> str:
    shown = f"by their places it is a {seen} scan" if seen else "the pattern counts as unknown"
    return (
        f"The file states a {stated} scan, but does not place its B-scans like one; {shown}. The distance between "
        "B-scans counts as unknown."
    )


def _agree(one: float, other: float) -> bool:
    return abs(one - other) < _AGREE * max(one, other)
