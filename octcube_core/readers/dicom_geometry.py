"""Voxel spacing and scan pattern of a DICOM file, compared with the lines of its B-scans on a fundus image.

The lines must be as long as the B-scans are wide, and as far apart as these are; a stated value that they contradict
counts as unknown. Slice Thickness, which some devices fill with the distance between B-scans, counts only where the
lines confirm it; where they do not, or nothing is stated, the distance is measured on them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import Spacing
from octcube_core.readers.dicom_measures import CONTRADICTION, ScanGeometry
from octcube_core.scan_pattern import line_length, raster_pitch, scan_pattern

THICKNESS_ONLY = "The file states the thickness of a B-scan but not the distance to the next, which is left unknown."
MEASURED_PITCH = "The distance between B-scans is measured on their lines on the fundus image."
NO_RASTER = (
    "The lines of the B-scans on the fundus image are not evenly side by side; the distance between B-scans is left "
    "unknown."
)
PITCH_CONTRADICTED = (
    "The stated distance between B-scans contradicts their lines on the fundus image; it is left "
    "unknown."
)
LATERAL_CONTRADICTED = (
    "The stated lateral spacing contradicts the lines of the B-scans on the fundus image; it is "
    "left unknown."
)
FUNDUS_CONTRADICTED = (
    "The stated pixel spacing of the fundus image contradicts the lines of the B-scans on it; it is "
    "left unknown."
)


def checked_geometry(
    stated: ScanGeometry,
    shape: tuple[int, int, int],
    lines: Sequence[NDArray[np.float64]] | None,
    fundus_spacing: tuple[Spacing, Spacing] = (None, None),
) -> ScanGeometry:
    """Compare what a file states with the lines of its B-scans on a fundus image.

    Parameters
    ----------
    stated : ScanGeometry
    shape : tuple of 3 int
        (B-scans, depth samples, A-scans per B-scan).
    lines : sequence of arrays of shape (points, 2), or None
        (row, column) of each B-scan, None where unknown.
    fundus_spacing : tuple of 2 float or None
        Pixel spacing of the fundus image in mm.
    """
    geometry = stated
    if lines is not None:
        pattern = scan_pattern(lines)
        geometry = _against_lines(
            replace(geometry, scan_pattern=pattern), shape, lines, fundus_spacing
        )
    pitch, axial, lateral = geometry.spacing_mm
    if geometry.scan_pattern not in (None, "raster"):
        pitch = doubt = None  # no one distance lies between such B-scans
    elif lines is not None and geometry.scan_pattern is None and shape[0] > 1:
        pitch, doubt = None, NO_RASTER
    elif pitch is not None:
        doubt = None
    else:
        doubt = geometry.pitch_doubt or (THICKNESS_ONLY if geometry.thickness_mm else None)
    geometry = replace(geometry, spacing_mm=(pitch, axial, lateral))
    if doubt is None:
        return geometry
    return replace(
        geometry, warnings=(*geometry.warnings, doubt), told=frozenset({0, *geometry.told})
    )


def _against_lines(
    geometry: ScanGeometry,
    shape: tuple[int, int, int],
    lines: Sequence[NDArray[np.float64]],
    fundus_spacing: tuple[Spacing, Spacing],
) -> ScanGeometry:
    """Let width, distance and fundus spacing vote on the size of the lines; what is outvoted becomes unknown."""
    pitch, axial, lateral = geometry.spacing_mm
    thickness, notes, holds = geometry.thickness_mm, list(geometry.warnings), True
    told = set(geometry.told)
    down, right = fundus_spacing
    metric = down is not None and right is not None
    unit = np.array([down, right] if metric else [1.0, 1.0], dtype=float)  # else pixels
    scaled = [line * unit for line in lines]
    pitch_pixels, length_pixels = raster_pitch(lines), line_length(lines)
    apart = _apart(scaled) if pitch_pixels else None
    length = line_length(scaled)
    spans = [shape[2], length_pixels, pitch_pixels * (shape[0] - 1) if pitch_pixels else math.inf]
    slack = CONTRADICTION + sum(1.0 / max(span, 1.0) for span in spans)  # ends may be a pixel off
    # How many mm one unit of the lines is, by each witness.
    by_fundus = 1.0 if metric else None
    by_width = lateral * (shape[2] - 1) / length if lateral and length and shape[2] > 1 else None
    by_pitch = pitch / apart if pitch and apart else None

    if by_fundus and by_width and not _agree(by_fundus, by_width, slack):
        if by_pitch and _agree(by_pitch, by_fundus, slack):
            lateral = by_width = None
            notes.append(LATERAL_CONTRADICTED)
            told.add(2)
        else:
            holds, unconfirmed = False, by_pitch is None
            notes.append(FUNDUS_CONTRADICTED)
            by_fundus = None
            if unconfirmed:
                by_width = None  # nothing tells which of the two is wrong, so measure with neither
    witness = by_width or by_fundus
    if by_pitch and witness and not _agree(by_pitch, witness, slack):
        pitch = None
        notes.append(PITCH_CONTRADICTED)
        told.add(0)
    elif pitch is None and apart and witness:
        measured = apart * (by_fundus or witness)
        confirmed = thickness is not None and _agree(thickness, measured, slack)
        pitch = thickness if confirmed else measured
        notes += [] if confirmed else [MEASURED_PITCH]
    return replace(
        geometry,
        spacing_mm=(pitch, axial, lateral),
        warnings=tuple(notes),
        told=frozenset(told),
        thickness_mm=None if pitch else thickness,
        fundus_spacing_holds=holds,
    )


def _apart(scaled: list[NDArray[np.float64]]) -> Spacing:
    """Distance between the lines of a raster in their unit, which may be far from a pixel."""
    ends = np.array([(line[0], line[-1]) for line in scaled])
    along = (ends[:, 1] - ends[:, 0]).mean(axis=0)
    along /= np.hypot(*along)
    places = ends.mean(axis=1) @ np.array([-along[1], along[0]])
    order = np.arange(len(places)) - (len(places) - 1) / 2
    return float(abs(places @ order / (order @ order))) or None  # least squares


def _agree(one: float, other: float, slack: float) -> bool:
    return abs(one - other) <= slack * max(one, other)
