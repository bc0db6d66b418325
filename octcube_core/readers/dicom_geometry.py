"""Voxel spacing and scan pattern from a DICOM file's multi-frame functional groups.

Pixel Spacing of an OCT frame is (axial, lateral). The distance between B-scans is, in this order,
Spacing Between Slices, the distance of the frames' planes (Image Position), or Slice Thickness,
which devices fill with the pitch but which DICOM defines as the nominal thickness: hence a warning.
Conflicting values of different frames count as unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from octcube_core.exam import ScanPattern, Spacing

SLICE_THICKNESS = (
    "The distance between B-scans is taken from the slice thickness, which may not include gaps."
)
UNEVEN_SPACING = "The frames state different pixel spacings; their common spacing is unknown."

_SAME = 1e-3  # relative difference of spacings that rounding in decimal strings explains
_EVEN = 0.05  # relative unevenness of B-scan positions that counts as a raster


@dataclass(frozen=True)
class ScanGeometry:
    """Spacing in mm (bscan, depth, width), scan pattern, and what to warn of."""

    spacing_mm: tuple[Spacing, Spacing, Spacing]
    scan_pattern: ScanPattern | None
    warnings: tuple[str, ...]


def frame_groups(dataset: Dataset) -> Iterator[Dataset]:
    """Items of the Shared and of the Per-frame Functional Groups Sequence, in this order."""
    for keyword in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        yield from dataset.get(keyword) or ()


def scan_geometry(dataset: Dataset, frames: int) -> ScanGeometry:
    """Geometry of a multi-frame file's volume; all unknown for files without functional groups."""
    measures = [
        item for group in frame_groups(dataset) for item in group.get("PixelMeasuresSequence") or ()
    ]
    in_plane = [
        tuple(float(value) for value in item.PixelSpacing)
        for item in measures
        if item.get("PixelSpacing") and len(item.PixelSpacing) == 2
    ]
    axial, axial_differs = _common([spacing[0] for spacing in in_plane])
    lateral, lateral_differs = _common([spacing[1] for spacing in in_plane])
    notes: tuple[str, ...] = (UNEVEN_SPACING,) if axial_differs or lateral_differs else ()

    volumetric = dataset.get("OphthalmicVolumetricPropertiesFlag") == "YES"
    positions_pitch = _pitch_of_positions(dataset, frames)
    pitch = _stated(measures, "SpacingBetweenSlices") or positions_pitch
    if frames == 1:
        pitch = None  # there is no next B-scan, whatever the thickness of this one
    elif pitch is None and (pitch := _stated(measures, "SliceThickness")) is not None:
        notes += (SLICE_THICKNESS,)
    raster = frames > 1 and (volumetric or positions_pitch is not None)
    return ScanGeometry((pitch, axial, lateral), "raster" if raster else None, notes)


def _stated(measures: list[Dataset], keyword: str) -> Spacing:
    values = [float(item[keyword].value) for item in measures if item.get(keyword) is not None]
    return _common(values)[0]


def _common(values: list[float]) -> tuple[Spacing, bool]:
    """Return the one positive value that all frames share, and whether they differ."""
    stated = [value for value in values if np.isfinite(value) and value > 0]
    if not stated:
        return None, False
    if max(stated) - min(stated) > _SAME * max(stated):
        return None, True
    return stated[0], False


def _pitch_of_positions(dataset: Dataset, frames: int) -> Spacing:
    """Distance of parallel, evenly spaced planes along their normal, or None if they are not so."""
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    positions = [
        [float(value) for value in item.ImagePositionPatient]
        for group in groups
        for item in group.get("PlanePositionSequence") or ()
        if item.get("ImagePositionPatient")
    ]
    orientations = [
        [float(value) for value in item.ImageOrientationPatient]
        for group in frame_groups(dataset)
        for item in group.get("PlaneOrientationSequence") or ()
        if item.get("ImageOrientationPatient")
    ]
    if frames < 2 or len(positions) != frames or not orientations:
        return None
    axes = np.asarray(orientations, dtype=float)
    if axes.shape[1:] != (6,) or np.ptp(axes, axis=0).max() > _SAME:
        return None  # radial scans turn from frame to frame
    normal = np.cross(axes[0, :3], axes[0, 3:])
    steps = np.diff(np.asarray(positions, dtype=float) @ normal)
    pitch = float(abs(steps.mean()))
    if not pitch or np.abs(steps - steps.mean()).max() > _EVEN * pitch:
        return None
    return pitch
