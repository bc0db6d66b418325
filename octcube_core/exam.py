"""What one eye's visit consists of: an OCT volume, en-face images, and where they lie. numpy only.

Volume axes are (bscan, depth, width), which are napari's world axes (z, y, x): slow scan, axial,
fast scan. Spacings are in millimetres in the order of the axes; an unknown spacing is ``None``,
never a guess.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError

Laterality = Literal["OD", "OS"]
Modality = Literal["IR", "FAF", "CFP", "OCT", "FA", "ICGA"]
ScanPattern = Literal["raster", "radial", "circle", "line"]
Spacing = float | None


def _checked_spacing(spacing: tuple[Spacing, ...], axes: int, what: str) -> tuple[Spacing, ...]:
    if len(spacing) != axes:
        raise ExamReadError(f"{what} needs {axes} spacings, one per axis, but got {len(spacing)}.")
    for value in spacing:
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ExamReadError(f"{what} has a spacing of {value} mm; a spacing must be positive.")
    return tuple(None if value is None else float(value) for value in spacing)


def _default_value_range(values: NDArray[Any]) -> tuple[float, float]:
    """Black and white of an array: for integers the type's range, for floats [0, 1] or extremes."""
    if np.issubdtype(values.dtype, np.integer):
        info = np.iinfo(values.dtype)
        return float(max(info.min, 0)), float(info.max)
    low, high = float(np.min(values)), float(np.max(values))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ExamReadError("The image holds values that are not numbers (NaN or infinite).")
    if low >= 0.0 and high <= 1.0:
        return 0.0, 1.0
    return low, high if high > low else low + 1.0  # a constant image is black


@dataclass(frozen=True, eq=False)
class OCTVolume:
    """An OCT scan as a stack of B-scans.

    Attributes
    ----------
    voxels : array, shape (bscan, depth, width)
        Display intensities (after any device transform), uint8, uint16 or float32.
    spacing_mm : tuple of 3 float or None
        Distance between voxel centres in mm: (between B-scans, axial, lateral).
    value_range : tuple of 2 float, optional
        The values shown as black and as white; by default that of the data type.
    """

    voxels: NDArray[Any]
    spacing_mm: tuple[Spacing, Spacing, Spacing] = (None, None, None)
    value_range: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        voxels = self.voxels
        if voxels.ndim != 3 or 0 in voxels.shape:
            raise ExamReadError(
                "An OCT volume must have three axes (B-scan, depth, width) and no empty one; "
                f"this one has shape {voxels.shape}."
            )
        if voxels.dtype.kind not in "uif":
            raise ExamReadError(
                f"An OCT volume must hold numbers, not values of type {voxels.dtype}."
            )
        spacing = _checked_spacing(self.spacing_mm, 3, "The OCT volume")
        object.__setattr__(self, "spacing_mm", spacing)
        if self.value_range is None:
            object.__setattr__(self, "value_range", _default_value_range(voxels))
        elif not self.value_range[0] < self.value_range[1]:
            raise ExamReadError("The value shown as black must be below the one shown as white.")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of (B-scans, depth samples, A-scans per B-scan)."""
        bscans, depth, width = self.voxels.shape
        return bscans, depth, width

    @property
    def black_white(self) -> tuple[float, float]:
        """The values shown as black and as white."""
        assert self.value_range is not None  # set in __post_init__
        return self.value_range

    @property
    def is_metric(self) -> bool:
        """Whether all three spacings are known."""
        return all(value is not None for value in self.spacing_mm)


@dataclass(frozen=True, eq=False)
class EnFaceImage:
    """A picture of the fundus seen from the front.

    Attributes
    ----------
    pixels : array, shape (rows, columns) or (rows, columns, 3)
        Grey or RGB. Row 0 is superior; the orientation is that of the device.
    modality : str
        One of IR, FAF, CFP, OCT (a projection), FA, ICGA.
    spacing_mm : tuple of 2 float or None
        Pixel distance in mm: (rows, columns).
    """

    pixels: NDArray[Any]
    modality: Modality
    spacing_mm: tuple[Spacing, Spacing] = (None, None)

    def __post_init__(self) -> None:
        colour = self.pixels.ndim == 3 and self.pixels.shape[2] == 3
        if not (self.pixels.ndim == 2 or colour) or 0 in self.pixels.shape:
            raise ExamReadError(
                f"An en-face image must be grey or RGB; the {self.modality} image has shape "
                f"{self.pixels.shape}."
            )
        if self.modality not in get_args(Modality):
            raise ExamReadError(f"Unknown en-face modality {self.modality!r}.")
        spacing = _checked_spacing(self.spacing_mm, 2, f"The {self.modality} image")
        object.__setattr__(self, "spacing_mm", spacing)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of (rows, columns)."""
        return self.pixels.shape[0], self.pixels.shape[1]


@dataclass(frozen=True, eq=False)
class BScanLocations:
    """Where each B-scan lies on an en-face image of the exam.

    Attributes
    ----------
    polylines : tuple of arrays, each of shape (points, 2)
        For each B-scan, (row, column) in pixels from its first A-scan to its last; pixel centres
        are at integers.
    image : int
        Index into ``Exam.enface``.
    """

    polylines: tuple[NDArray[np.float64], ...]
    image: int = 0

    def __post_init__(self) -> None:
        lines = tuple(np.asarray(line, dtype=np.float64) for line in self.polylines)
        if any(line.ndim != 2 or line.shape[0] < 2 or line.shape[1] != 2 for line in lines):
            raise ExamReadError("A B-scan's place must be at least two (row, column) points.")
        if not all(np.isfinite(line).all() for line in lines):
            raise ExamReadError("A B-scan's place has a row or column that is not a number.")
        object.__setattr__(self, "polylines", lines)


@dataclass(frozen=True)
class Patient:
    """Who and when: nothing writes this to disk or to a log, unless an export is told to keep it."""

    name: str | None = None
    id: str | None = None
    birth_date: str | None = None
    exam_date: str | None = None

    def __repr__(self) -> str:
        return "Patient(...)"  # a repr ends up in logs


@dataclass(frozen=True, eq=False)
class Exam:
    """One eye at one visit.

    Attributes
    ----------
    volume : OCTVolume
    enface : tuple of EnFaceImage
    locations : BScanLocations or None
    laterality : 'OD' (right), 'OS' (left) or None
    scan_pattern : 'raster', 'radial', 'circle', 'line' or None
    device : str or None
        Manufacturer and model as the file states them.
    source : Path or None
        File or folder the exam was read from.
    format : str
        Name of the file format, or 'synthetic'.
    warnings : tuple of str
        What a user should know about this exam, one sentence each.
    """

    volume: OCTVolume
    enface: tuple[EnFaceImage, ...] = ()
    locations: BScanLocations | None = None
    laterality: Laterality | None = None
    scan_pattern: ScanPattern | None = None
    device: str | None = None
    source: Path | None = None
    format: str = ""
    warnings: tuple[str, ...] = ()
    patient: Patient = field(default_factory=Patient)

    def __post_init__(self) -> None:
        if self.locations is None:
            return
        if len(self.locations.polylines) != self.volume.shape[0]:
            raise ExamReadError(
                f"The exam has {self.volume.shape[0]} B-scans but {len(self.locations.polylines)} "
                "places for them."
            )
        if not 0 <= self.locations.image < len(self.enface):
            raise ExamReadError(
                "The B-scans are placed on an en-face image that the exam does not hold."
            )

    @property
    def modalities(self) -> tuple[str, ...]:
        """'OCT' and the modality of each en-face image."""
        return ("OCT", *(image.modality for image in self.enface))

    def image(self, modality: Modality) -> EnFaceImage | None:
        """Return the first en-face image of a modality, or None."""
        return next((image for image in self.enface if image.modality == modality), None)
