"""The optional ``meta.json`` in a folder of B-scan images.

One JSON object; every entry is optional and may be null (unknown):

===================  ==============================================================================
``spacing_mm``       [between B-scans, axial, lateral] in mm; each a positive number or null
``ir_spacing_mm``    [rows, columns] in mm of the infrared image
``faf_spacing_mm``   [rows, columns] in mm of the autofluorescence image
``laterality``       "OD", "R" or "right"; "OS", "L" or "left" (any case)
``scan_pattern``     "raster", "radial", "circle" or "line"
``device``           manufacturer and model
``locations``        {"image": "ir", "polylines": [[[row, column], ...], ...]}: for each B-scan at
                     least two points in pixels (pixel centres at integers) of the fundus image
                     named "ir" or "faf", or numbered 0, 1 in that order; "ir" when not stated
===================  ==============================================================================

Unknown entries are ignored with a warning; wrong values are an `ExamReadError`.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import BScanLocations, Laterality, Modality, ScanPattern, Spacing
from octcube_core.readers.failures import reading

META_FILE = "meta.json"

_LATERALITY: dict[str, Laterality] = {
    "od": "OD",
    "r": "OD",
    "right": "OD",
    "os": "OS",
    "l": "OS",
    "left": "OS",
}
_ENFACE_NAMES: dict[str, Modality] = {"ir": "IR", "faf": "FAF"}
_KEYS = (
    *("spacing_mm", "ir_spacing_mm", "faf_spacing_mm", "laterality"),
    *("scan_pattern", "device", "locations"),
)


def _unknown_enface_spacing() -> dict[Modality, tuple[Spacing, Spacing]]:
    return {"IR": (None, None), "FAF": (None, None)}


@dataclass(frozen=True)
class FolderMeta:
    """What ``meta.json`` states; everything is unknown by default."""

    spacing_mm: tuple[Spacing, Spacing, Spacing] = (None, None, None)
    enface_spacing_mm: dict[Modality, tuple[Spacing, Spacing]] = field(
        default_factory=_unknown_enface_spacing
    )
    laterality: Laterality | None = None
    scan_pattern: ScanPattern | None = None
    device: str | None = None
    polylines: tuple[NDArray[np.float64], ...] | None = None
    located_on: Modality | int = "IR"
    warnings: tuple[str, ...] = ()

    def locations_on(self, images: tuple[Modality, ...]) -> BScanLocations | None:
        """Places of the B-scans, given the fundus images that the folder holds."""
        if self.polylines is None:
            return None
        image = self.located_on
        if isinstance(image, str):
            if image not in images:
                raise ExamReadError(
                    f"{META_FILE} places the B-scans on the {image} image, which the folder lacks; "
                    f"add {image.lower()}.png or remove 'locations'."
                )
            image = images.index(image)
        return BScanLocations(self.polylines, image)


def read_meta(path: Path) -> FolderMeta:
    """Read and check a ``meta.json``.

    Raises
    ------
    ExamReadError
        If it is no JSON object or an entry has a wrong value.
    """
    with reading(path, "JSON"):
        entries = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(entries, dict):
        raise ExamReadError(f"{META_FILE} must hold one JSON object in braces.")
    stated = {key: value for key, value in entries.items() if value is not None}
    unknown = sorted(set(stated) - set(_KEYS))
    warnings = (
        (f"{META_FILE} has unknown entries that are ignored: {', '.join(unknown)}.",)
        if unknown
        else ()
    )
    located_on, polylines = _locations(stated.get("locations"))
    return FolderMeta(
        cast(tuple[Spacing, Spacing, Spacing], _spacing(stated, "spacing_mm", 3)),
        {
            modality: cast(tuple[Spacing, Spacing], _spacing(stated, f"{name}_spacing_mm", 2))
            for name, modality in _ENFACE_NAMES.items()
        },
        _laterality(stated.get("laterality")),
        _scan_pattern(stated.get("scan_pattern")),
        _device(stated.get("device")),
        polylines,
        located_on,
        warnings,
    )


def _wrong(key: str, expected: str) -> ExamReadError:
    return ExamReadError(f"{META_FILE} has a wrong '{key}': it must be {expected}.")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _spacing(entries: dict[str, Any], key: str, axes: int) -> tuple[Spacing, ...]:
    values = entries.get(key)
    if values is None:
        return (None,) * axes
    if not isinstance(values, list) or len(values) != axes:
        raise _wrong(key, f"a list of {axes} distances in mm, each a number or null")
    if not all(value is None or (_is_number(value) and value > 0) for value in values):
        raise _wrong(key, "positive numbers in mm, or null where unknown")
    return tuple(None if value is None else float(value) for value in values)


def _laterality(value: Any) -> Laterality | None:
    if value is None:
        return None
    eye = _LATERALITY.get(value.strip().lower()) if isinstance(value, str) else None
    if eye is None:
        raise _wrong("laterality", "OD, R or right for the right eye, OS, L or left for the left")
    return eye


def _scan_pattern(value: Any) -> ScanPattern | None:
    if value is None:
        return None
    known = get_args(ScanPattern)
    if value not in known:
        raise _wrong("scan_pattern", f"one of {', '.join(known)}")
    return cast(ScanPattern, value)


def _device(value: Any) -> str | None:
    if value is not None and not isinstance(value, str):
        raise _wrong("device", "a text")
    return value


def _locations(value: Any) -> tuple[Modality | int, tuple[NDArray[np.float64], ...] | None]:
    if value is None:
        return "IR", None
    if not isinstance(value, dict) or not isinstance(value.get("polylines"), list):
        raise _wrong("locations", "an object with 'image' and 'polylines'")
    image = value.get("image", "ir")
    located_on: Modality | int | None = None
    if isinstance(image, str):
        located_on = _ENFACE_NAMES.get(image.lower())
    elif _is_number(image) and image >= 0 and image == int(image):
        located_on = int(image)
    if located_on is None:
        raise _wrong("locations", "on the image 'ir' or 'faf', or its index")
    return located_on, tuple(_polyline(line) for line in value["polylines"])


def _polyline(points: Any) -> NDArray[np.float64]:
    numeric = isinstance(points, list) and all(
        isinstance(point, list) and len(point) == 2 and all(map(_is_number, point))
        for point in points
    )
    if not numeric or len(points) < 2:
        raise _wrong("locations", "at least two [row, column] points in pixels for each B-scan")
    return np.asarray(points, dtype=np.float64)
