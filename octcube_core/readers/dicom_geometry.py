"""Voxel spacing and scan pattern from a DICOM file's multi-frame functional groups.

Pixel Spacing of an OCT frame is (axial, lateral). The distance between B-scans is Spacing Between Slices or the
distance of the frames' planes (Image Position). Slice Thickness, which DICOM defines as the nominal thickness of a
slice and which some devices fill with the distance, counts only where the lines on the fundus image confirm it; where
they do not, the distance is measured on them. Conflicting values of different frames count as unknown, and so does a
value that the lines contradict: they must be as long as the B-scans are wide, and as far apart as these are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import ScanPattern, Spacing
from octcube_core.readers.dicom_elements import (
    BETWEEN_SLICES,
    IMAGE_ORIENTATION,
    IMAGE_POSITION,
    PIXEL_MEASURES,
    PIXEL_SPACING,
    PLANE_ORIENTATION,
    PLANE_POSITION,
    SLICE_THICKNESS,
    Item,
    items,
    numbers,
)
from octcube_core.readers.dicom_file import DicomFile
from octcube_core.readers.dicom_values import stated_items, stated_text
from octcube_core.scan_pattern import line_length, raster_pitch, scan_pattern

THICKNESS_ONLY = "The file states the thickness of a B-scan but not the distance to the next, which is left unknown."
MEASURED_PITCH = "The distance between B-scans is measured on their lines on the fundus image."
UNEVEN_SPACING = "The frames state different pixel spacings; their common spacing is unknown."
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

_SAME = 1e-3  # relative difference of spacings that rounding in decimal strings explains
_EVEN = 0.05  # relative unevenness of B-scan positions that counts as a raster
_CONTRADICTION = 0.05  # relative difference of a stated and a measured size that is no rounding
_PATTERN_CODES: dict[str, ScanPattern] = {  # PS3.16 CID 4272
    "128279": "raster",  # cube
    "128280": "raster",
    "128281": "line",
    "128282": "radial",
    "128284": "circle",
}

_Spacing3 = tuple[Spacing, Spacing, Spacing]


@dataclass(frozen=True)
class ScanGeometry:
    """Spacing in mm (bscan, depth, width), scan pattern, what to warn of, and whether the fundus image's is sound."""

    spacing_mm: _Spacing3
    scan_pattern: ScanPattern | None
    warnings: tuple[str, ...] = ()
    thickness_mm: Spacing = None
    fundus_spacing_holds: bool = True


def stated_geometry(file: DicomFile, frames: int) -> ScanGeometry:
    """Geometry that the functional groups state; all unknown for files without them."""
    groups = [file.shared, *file.frame_groups]
    measures = [item for group in groups for item in items(group, PIXEL_MEASURES)]
    in_plane = [
        pair
        for item in measures
        if len(pair := numbers(item, PIXEL_SPACING)) == 2 and min(pair) > 0
    ]
    axial, axial_differs = _common([spacing[0] for spacing in in_plane])
    lateral, lateral_differs = _common([spacing[1] for spacing in in_plane])
    notes: tuple[str, ...] = (UNEVEN_SPACING,) if axial_differs or lateral_differs else ()
    positions_pitch = _pitch_of_positions(file, frames)
    pitch = thickness = None
    if frames > 1:  # else there is no next B-scan
        pitch = _stated(measures, BETWEEN_SLICES) or positions_pitch
        thickness = _stated(measures, SLICE_THICKNESS) if pitch is None else None
    volumetric = file.text("OphthalmicVolumetricPropertiesFlag") == "YES"
    pattern = _pattern_code(file)
    if pattern is None and frames > 1 and (volumetric or positions_pitch is not None):
        pattern = "raster"
    return ScanGeometry((pitch, axial, lateral), pattern, notes, thickness)


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
        pitch = None  # no one distance lies between such B-scans
    elif pitch is None and geometry.thickness_mm is not None:
        geometry = replace(geometry, warnings=(*geometry.warnings, THICKNESS_ONLY))
    return replace(geometry, spacing_mm=(pitch, axial, lateral))


def _against_lines(
    geometry: ScanGeometry,
    shape: tuple[int, int, int],
    lines: Sequence[NDArray[np.float64]],
    fundus_spacing: tuple[Spacing, Spacing],
) -> ScanGeometry:
    """Let width, distance and fundus spacing vote on the size of the lines; what is outvoted becomes unknown."""
    pitch, axial, lateral = geometry.spacing_mm
    thickness, notes, holds = geometry.thickness_mm, list(geometry.warnings), True
    down, right = fundus_spacing
    metric = down is not None and right is not None
    unit = np.array([down, right] if metric else [1.0, 1.0], dtype=float)  # else pixels
    scaled = [line * unit for line in lines]
    pitch_pixels, length_pixels = raster_pitch(lines), line_length(lines)
    apart = _apart(scaled) if pitch_pixels else None
    length = line_length(scaled)
    spans = [shape[2], length_pixels, pitch_pixels * (shape[0] - 1) if pitch_pixels else math.inf]
    slack = _CONTRADICTION + sum(1.0 / max(span, 1.0) for span in spans)  # ends may be a pixel off
    # How many mm one unit of the lines is, by each witness.
    by_fundus = 1.0 if metric else None
    by_width = lateral * (shape[2] - 1) / length if lateral and length and shape[2] > 1 else None
    by_pitch = pitch / apart if pitch and apart else None

    if by_fundus and by_width and not _agree(by_fundus, by_width, slack):
        if by_pitch and _agree(by_pitch, by_fundus, slack):
            lateral = by_width = None
            notes.append(LATERAL_CONTRADICTED)
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
    elif pitch is None and apart and witness:
        measured = apart * (by_fundus or witness)
        confirmed = thickness is not None and _agree(thickness, measured, slack)
        pitch = thickness if confirmed else measured
        notes += [] if confirmed else [MEASURED_PITCH]
    return replace(
        geometry,
        spacing_mm=(pitch, axial, lateral),
        warnings=tuple(notes),
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


def _pattern_code(file: DicomFile) -> ScanPattern | None:
    codes = stated_items(file.head, "ScanPatternTypeCodeSequence")
    return _PATTERN_CODES.get(stated_text(codes[0], "CodeValue")) if codes else None


def _stated(measures: list[Item], tag: int) -> Spacing:
    return _common([values[0] for item in measures if (values := numbers(item, tag))])[0]


def _common(values: list[float]) -> tuple[Spacing, bool]:
    """Return the one positive value that all frames share, and whether they differ."""
    stated = [value for value in values if value > 0]
    if not stated:
        return None, False
    if max(stated) - min(stated) > _SAME * max(stated):
        return None, True
    return stated[0], False


def _pitch_of_positions(file: DicomFile, frames: int) -> Spacing:
    """Distance of parallel, evenly spaced planes along their normal, or None if they are not so."""
    groups = file.frame_groups
    positions = [
        numbers(item, IMAGE_POSITION) for group in groups for item in items(group, PLANE_POSITION)
    ]
    orientations = [
        numbers(item, IMAGE_ORIENTATION)
        for group in (file.shared, *groups)
        for item in items(group, PLANE_ORIENTATION)
    ]
    if frames < 2 or len(positions) != frames or not orientations:
        return None
    if any(len(position) != 3 for position in positions) or any(len(o) != 6 for o in orientations):
        return None
    axes = np.asarray(orientations, dtype=float)
    if np.ptp(axes, axis=0).max() > _SAME:
        return None  # radial scans turn from frame to frame
    normal = np.cross(axes[0, :3], axes[0, 3:])
    if abs(np.hypot(np.hypot(normal[0], normal[1]), normal[2]) - 1.0) > _SAME:
        return None  # no direction cosines
    steps = np.diff(np.asarray(positions, dtype=float) @ normal)
    pitch = float(abs(steps.mean()))
    if not pitch or np.abs(steps - steps.mean()).max() > _EVEN * pitch:
        return None
    return pitch
