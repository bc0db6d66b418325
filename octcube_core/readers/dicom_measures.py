"""Voxel spacing and scan pattern that a DICOM file's multi-frame functional groups state.

Pixel Spacing of an OCT frame is (axial, lateral). The distance between B-scans is Spacing Between Slices or the
distance of the frames' planes (Image Position); where the two disagree it is unknown. Slice Thickness, which DICOM
defines as the nominal thickness of a slice, is kept apart (see `dicom_geometry`). Conflicting values of different
frames count as unknown, and so does what no OCT can have. A pixel spacing outside of the groups may be that of a
detector or a screen; only of a single Ophthalmic Tomography frame it can be no other than its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

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
from octcube_core.readers.dicom_file import OPT, DicomFile
from octcube_core.readers.dicom_values import stated_items, stated_numbers, stated_text
from octcube_core.readers.plausible import plausible_spacing

UNEVEN_SPACING = "The frames state different pixel spacings; their common spacing is unknown."
UNEVEN_PLANES = "The B-scans are not evenly apart; the distance between B-scans is left unknown."
PLANES_CONTRADICT = (
    "The stated distance between B-scans contradicts their positions; it is left unknown."
)
NOT_OF_FRAMES = "The spacing that the file states is not that of its frames; it is not used."
TOO_LARGE = (
    "By its spacing the scan would be {0} x {1} x {2} mm (across B-scans, depth, width), larger than any OCT; sizes "
    "are shown in pixels."
)

CONTRADICTION = 0.05  # relative difference of two sizes that is no rounding
_SAME = 1e-3  # relative difference of spacings that rounding in decimal strings explains
_EVEN = 0.05  # relative unevenness of B-scan positions that counts as a raster
_ROUNDING_MM = 0.005  # in positions of two decimals
_LARGEST_MM = (60.0, 30.0, 60.0)  # wide-field and anterior segment scans have less
_PATTERN_CODES: dict[str, ScanPattern] = {  # PS3.16 CID 4272
    "128279": "raster",  # cube
    "128280": "raster",
    "128281": "line",
    "128282": "radial",
    "128284": "circle",
}
ALL_AXES = frozenset({0, 1, 2})

_Spacing3 = tuple[Spacing, Spacing, Spacing]


@dataclass(frozen=True)
class ScanGeometry:
    """What is known of the size of a scan.

    Attributes
    ----------
    spacing_mm : tuple of 3 float or None
        (bscan, depth, width).
    scan_pattern : str or None
    warnings : tuple of str
    told : frozenset of int
        Axes of which a warning says already that their spacing is unknown.
    pitch_doubt : str or None
        Why the distance between B-scans is unknown, unless it is measured after all.
    thickness_mm : float or None
        Slice Thickness, which may be the distance between B-scans.
    fundus_spacing_holds : bool
        Whether nothing contradicts the pixel spacing of the fundus image.
    """

    spacing_mm: _Spacing3
    scan_pattern: ScanPattern | None
    warnings: tuple[str, ...] = ()
    told: frozenset[int] = frozenset()
    pitch_doubt: str | None = None
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
    notes: tuple[str, ...] = ()
    told: frozenset[int] = frozenset()
    elsewhere = stated_numbers(file.head, "PixelSpacing", 2)
    if not in_plane and len(elsewhere) == 2 and all(0 < value < np.inf for value in elsewhere):
        if frames == 1 and file.sop_class == OPT:  # as in a series of such files
            in_plane = [elsewhere]
        else:
            notes, told = (NOT_OF_FRAMES,), ALL_AXES
    axial, axial_differs = _common([spacing[0] for spacing in in_plane])
    lateral, lateral_differs = _common([spacing[1] for spacing in in_plane])
    if axial_differs or lateral_differs:
        notes += (UNEVEN_SPACING,)
        told |= {axis for axis, differs in ((1, axial_differs), (2, lateral_differs)) if differs}
    pitch = thickness = doubt = None
    planes = _planes(file, frames)
    if frames > 1:  # else there is no next B-scan
        pitch, doubt = _distance(measures, planes)
        thickness = _common(_values(measures, SLICE_THICKNESS))[0] if pitch is None else None
    volumetric = file.text("OphthalmicVolumetricPropertiesFlag") == "YES"
    pattern = _pattern_code(file)
    if pattern is None and frames > 1 and (volumetric or planes.apart is not None):
        pattern = "raster"
    return ScanGeometry((pitch, axial, lateral), pattern, notes, told, doubt, thickness)


def plausible_geometry(geometry: ScanGeometry, shape: tuple[int, int, int]) -> ScanGeometry:
    """The same, but with unknown sizes where the stated ones are none of an OCT.

    A size of a wrong unit puts the others in doubt, so all become unknown.
    """
    spacing, notes = plausible_spacing(geometry.spacing_mm)
    extents = [(value or 0.0) * count for value, count in zip(spacing, shape, strict=True)]
    if any(extent > most for extent, most in zip(extents, _LARGEST_MM, strict=True)):
        sizes = [f"{extent:.4g}" if extent else "?" for extent in extents]
        spacing, notes = (None, None, None), (TOO_LARGE.format(*sizes),)
    if not notes:
        return geometry
    return replace(
        geometry,
        spacing_mm=spacing,
        warnings=(*geometry.warnings, *notes),
        told=ALL_AXES,
        pitch_doubt=None,
        thickness_mm=None,
    )


@dataclass(frozen=True)
class _Planes:
    """Distance of the frames' planes; ``uneven`` where they are stated but have no common one."""

    apart: Spacing = None
    uneven: bool = False


def _distance(measures: list[Item], planes: _Planes) -> tuple[Spacing, str | None]:
    """Distance between B-scans, or why it is unknown."""
    between, differs = _common(_values(measures, BETWEEN_SLICES))
    if planes.uneven or differs:
        return None, UNEVEN_PLANES
    if between is None or planes.apart is None:
        return between or planes.apart, None
    if abs(between - planes.apart) > CONTRADICTION * max(between, planes.apart):
        return None, PLANES_CONTRADICT
    return between, None


def _planes(file: DicomFile, frames: int) -> _Planes:
    groups = file.frame_groups
    positions = [
        numbers(item, IMAGE_POSITION) for group in groups for item in items(group, PLANE_POSITION)
    ]
    if frames < 2 or len(positions) != frames or any(len(point) != 3 for point in positions):
        return _Planes()
    points = np.asarray(positions, dtype=float)
    if not np.ptp(points, axis=0).any():
        return _Planes(uneven=True)
    orientations = [
        numbers(item, IMAGE_ORIENTATION)
        for group in (file.shared, *groups)
        for item in items(group, PLANE_ORIENTATION)
    ]
    if not orientations or any(len(angles) != 6 for angles in orientations):
        return _Planes()
    axes = np.asarray(orientations, dtype=float)
    if np.ptp(axes, axis=0).max() > _SAME:
        return _Planes(uneven=True)  # radial scans turn from frame to frame
    normal = np.cross(axes[0, :3], axes[0, 3:])
    if abs(np.hypot(np.hypot(normal[0], normal[1]), normal[2]) - 1.0) > _SAME:
        return _Planes()  # no direction cosines
    places = points @ normal
    step = float((places[-1] - places[0]) / (frames - 1))
    off = places - places.mean() - step * (np.arange(frames) - (frames - 1) / 2)
    if abs(step) * (frames - 1) <= _ROUNDING_MM or (
        np.abs(off).max() > max(_EVEN * abs(step), _ROUNDING_MM)
    ):
        return _Planes(uneven=True)
    return _Planes(abs(step))


def _pattern_code(file: DicomFile) -> ScanPattern | None:
    codes = stated_items(file.head, "ScanPatternTypeCodeSequence")
    return _PATTERN_CODES.get(stated_text(codes[0], "CodeValue")) if codes else None


def _values(measures: list[Item], tag: int) -> list[float]:
    return [values[0] for item in measures if (values := numbers(item, tag))]


def _common(values: list[float]) -> tuple[Spacing, bool]:
    """Return the one positive value that all frames share, and whether they differ."""
    stated = [value for value in values if value > 0]
    if not stated:
        return None, False
    if max(stated) - min(stated) > _SAME * max(stated):
        return None, True
    return stated[0], False
