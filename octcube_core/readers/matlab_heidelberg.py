"""Fields of a Heidelberg .vol header that MATLAB tools (HeyexImport, octSegmentation) save beside the B-scans.

By Heidelberg's description of the .vol format, as for those files themselves: spacings and places are in mm.
"""

from __future__ import annotations

import math
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import (
    BScanLocations,
    EnFaceImage,
    Laterality,
    Patient,
    Spacing,
)
from octcube_core.readers.heyex_intensity import grey_levels
from octcube_core.readers.heyex_locations import (
    NO_DIRECTION,
    NO_PLACES,
    SCAN_PATTERNS,
    ScanGeometry,
    ScanLines,
    scan_geometry,
)
from octcube_core.readers.intensity import display_intensities
from octcube_core.readers.plausible import AXIAL_MM, FUNDUS_MM, LATERAL_MM, plausible_mm

KEYS = (
    *("ScaleX", "ScaleZ", "Distance", "SizeX", "SizeZ", "NumBScans", "ScanPattern"),
    *("ScanPosition", "StartX", "StartY", "EndX", "EndY"),
    *("ScaleXSlo", "ScaleYSlo", "SizeXSlo", "SizeYSlo", "PatientID", "DOB", "VisitDate"),
)

_PLACES = ("StartY", "StartX", "EndY", "EndX")
_EMPTY = 3e38  # A-scans moved out of the picture hold the largest float
_DARK = 0.02  # most of a retina reflects less than this; the fourth root of it is 0.38
_DAY_ZERO = date(1899, 12, 30)


class HeidelbergFacts:
    """What the variables of a file say, asked for by what is needed."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self._facts = facts

    def describes(self, shape: tuple[int, ...]) -> bool:
        """Whether the variables are those of a .vol header of this volume."""
        stated = (self._number("NumBScans"), self._number("SizeZ"), self._number("SizeX"))
        return stated == tuple(map(float, shape)) and self._number("ScaleX") is not None

    @property
    def laterality(self) -> Laterality | None:
        """By ScanPosition."""
        stated = str(self._facts.get("ScanPosition", "")).strip(" \0").upper()
        return {"OD": "OD", "OS": "OS"}.get(stated)  # type: ignore[return-value]

    @property
    def geometry(self) -> ScanGeometry:
        """Scan pattern and distance between B-scans, as far as the places of the B-scans agree with them."""
        stated = SCAN_PATTERNS.get(int(self._number("ScanPattern") or 0))
        width = self._number("SizeX")
        lateral = self._length("ScaleX", *LATERAL_MM)
        width_mm = None if width is None or lateral is None else lateral * width
        return scan_geometry(self._lines(), stated, self._number("Distance"), width_mm)

    def spacing(self) -> tuple[Spacing, Spacing, Spacing]:
        """Spacing (between B-scans, axial, lateral) in mm."""
        between = self.geometry.between_mm
        return between, self._length("ScaleZ", *AXIAL_MM), self._length("ScaleX", *LATERAL_MM)

    def enface_spacing(self, shape: tuple[int, ...]) -> tuple[Spacing, Spacing]:
        """Spacing (rows, columns) of the SLO image in mm."""
        stated = (self._number("SizeYSlo"), self._number("SizeXSlo"))
        if stated != tuple(map(float, shape)):
            return None, None
        return self._length("ScaleYSlo", *FUNDUS_MM), self._length("ScaleXSlo", *FUNDUS_MM)

    def shown(self, voxels: NDArray[Any]) -> NDArray[Any]:
        """Grey levels of reflectivity; others, such as its roots, are shown as they are."""
        if voxels.dtype.kind != "f":
            return display_intensities(voxels)
        stored = voxels[voxels < _EMPTY]
        if not stored.size or stored.min() < 0 or stored.max() > 1:
            return display_intensities(voxels)
        return grey_levels(voxels) if np.median(stored) < _DARK else display_intensities(voxels)

    def places(
        self, shape: tuple[int, int, int], pictures: tuple[EnFaceImage, ...]
    ) -> tuple[BScanLocations | None, tuple[str, ...]]:
        """Places of the B-scans on the SLO image, and what a user should know of them."""
        image = next((i for i, found in enumerate(pictures) if found.modality == "IR"), None)
        pattern = self.geometry.pattern
        if image is None or pattern is None or not any(key in self._facts for key in _PLACES):
            return None, ()
        rows, columns = pictures[image].spacing_mm
        lines = self._lines()
        if rows is None or columns is None or lines is None or not lines.usable:
            return None, (NO_PLACES,)
        if pattern == "circle" and self.laterality is None:
            return None, (NO_DIRECTION,)
        polylines = lines.polylines(pattern, self.laterality, shape[2], (rows, columns))
        lateral = self.spacing()[2]
        width_mm = None if lateral is None else lateral * shape[2]
        return BScanLocations(polylines, image), lines.width_warning(pattern, width_mm)

    def patient(self) -> Patient:
        """Who and when."""
        identity = str(self._facts.get("PatientID", "")).strip(" \0") or None
        return Patient(id=identity, birth_date=self._day("DOB"), exam_date=self._day("VisitDate"))

    def _lines(self) -> ScanLines | None:
        stated = [self._facts.get(key) for key in _PLACES]
        bscans = self._number("NumBScans")
        if any(not isinstance(values, list) or len(values) != bscans for values in stated):
            return None
        start, end = np.array(stated, dtype=np.float64).reshape(2, 2, -1).transpose(0, 2, 1)
        return ScanLines(start, end)

    def _number(self, key: str) -> float | None:
        values = self._facts.get(key)
        if not isinstance(values, list) or len(values) != 1 or not math.isfinite(values[0]):
            return None
        return float(values[0])

    def _length(self, key: str, low: float, high: float) -> Spacing:
        value = self._number(key)
        return None if value is None else plausible_mm(value, low, high)

    def _day(self, key: str) -> str | None:
        days = self._number(key)
        if days is None or not 1 <= days < 100_000:
            return None
        return (_DAY_ZERO + timedelta(days=int(days))).isoformat()
