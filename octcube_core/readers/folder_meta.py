"""What ``meta.json`` in a folder of B-scan images may state about the exam.

One JSON object; every entry is optional and may be null (unknown). The same entries, by the same names, are stored
in .npz archives and in the OME-TIFF files that this package writes.

===================  ==============================================================================
``spacing_mm``       [between B-scans, axial, lateral] in mm; each a positive number or null
``ir_spacing_mm``    [rows, columns] in mm of the infrared image; likewise ``faf_spacing_mm``,
                     ``cfp_spacing_mm``, ``oct_spacing_mm``, ``fa_spacing_mm``, ``icga_spacing_mm``
``value_range``      [black, white]: the values shown as black and as white
``laterality``       "OD", "R" or "right"; "OS", "L" or "left" (any case)
``scan_pattern``     "raster", "radial", "circle" or "line"
``device``           manufacturer and model
``locations``        {"image": "ir", "polylines": [[[row, column], ...], ...]}: for each B-scan at
                     least two points in pixels (pixel centres at integers) of the en-face image
                     named "ir", "faf", "cfp", "oct", "fa" or "icga", or numbered 0, 1, ... in that
                     order; "ir" when not stated
===================  ==============================================================================

Unknown entries are ignored with a warning; wrong values are an `ExamReadError`. Spacings that no scan or image of an
eye has (micrometres for millimetres, say) are unknown, with a warning.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import BScanLocations, Laterality, Modality, ScanPattern, Spacing
from octcube_core.readers.failures import reading, spacing_warnings
from octcube_core.readers.plausible import BETWEEN_MM, FUNDUS_MM, plausible_spacing

META_FILE = "meta.json"
_MAX_META_BYTES = 32 * 1024**2
MODALITIES: dict[str, Modality] = {name.lower(): name for name in get_args(Modality)}

EYES: dict[str, Laterality] = {
    "od": "OD",
    "r": "OD",
    "right": "OD",
    "os": "OS",
    "l": "OS",
    "left": "OS",
}
KEYS = (
    *("spacing_mm", "value_range", "laterality", "scan_pattern", "device", "locations"),
    *(f"{name}_spacing_mm" for name in MODALITIES),
)


@dataclass(frozen=True)
class FolderMeta:
    """What ``meta.json`` states; everything is unknown by default."""

    spacing_mm: tuple[Spacing, Spacing, Spacing] = (None, None, None)
    stated_enface_spacing_mm: dict[Modality, tuple[Spacing, Spacing]] = field(default_factory=dict)
    value_range: tuple[float, float] | None = None
    laterality: Laterality | None = None
    scan_pattern: ScanPattern | None = None
    device: str | None = None
    polylines: tuple[NDArray[np.float64], ...] | None = None
    located_on: Modality | int = "IR"
    warnings: tuple[str, ...] = ()
    doubted_spacing: bool = False

    def spacing_warnings(self, bscans: int) -> tuple[str, ...]:
        """Sentence about unknown spacings, unless `warnings` says already why they are."""
        return (
            ()
            if self.doubted_spacing
            else spacing_warnings(self.spacing_mm, bscans, self.scan_pattern)
        )

    def enface_spacing_mm(self, modality: Modality) -> tuple[Spacing, Spacing]:
        """Pixel distance along (rows, columns) of an en-face image in mm."""
        return self.stated_enface_spacing_mm.get(modality, (None, None))

    def locations_on(self, images: tuple[Modality, ...]) -> BScanLocations | None:
        """Places of the B-scans, given the modalities of the en-face images there are."""
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
        if path.stat().st_size > _MAX_META_BYTES:
            raise ExamReadError(f"{META_FILE} is too large to be one; remove it or write it anew.")
        return meta_of(path.read_text(encoding="utf-8-sig"), META_FILE)


def meta_of(text: str, name: str) -> FolderMeta:
    """Check the text of a ``meta.json``, which `name` stands for in the messages."""
    entries = json.loads(text)
    if not isinstance(entries, dict):
        raise ExamReadError(f"{name} must hold one JSON object in braces.")
    return meta_from(entries, name)


def meta_from(entries: dict[str, Any], name: str, also: Iterable[str] = ()) -> FolderMeta:
    """Check the entries of a ``meta.json``.

    Parameters
    ----------
    entries : dict
        Plain Python values.
    name : str
        What holds them, for the messages.
    also : iterable of str
        Further entries that are no mistake.
    """
    check = _Entries(name, {key: value for key, value in entries.items() if value is not None})
    unknown = sorted(set(check.stated) - set(KEYS) - set(also))
    warnings = (
        (f"{name} has unknown entries that are ignored: {', '.join(unknown)}.",) if unknown else ()
    )
    located_on, polylines = check.locations()
    spacing, doubts = plausible_spacing(
        cast(tuple[Spacing, Spacing, Spacing], check.spacing("spacing_mm", 3))
    )
    enface: dict[Modality, tuple[Spacing, Spacing]] = {}
    enface_doubts: tuple[str, ...] = ()
    for image, modality in MODALITIES.items():
        stated = cast(tuple[Spacing, Spacing], check.spacing(f"{image}_spacing_mm", 2))
        enface[modality], doubt = plausible_enface(modality, stated)
        enface_doubts += doubt
    return FolderMeta(
        spacing,
        enface,
        check.value_range(),
        check.laterality(),
        check.scan_pattern(),
        check.device(),
        polylines,
        located_on,
        (*doubts, *enface_doubts, *warnings),
        bool(doubts),
    )


def plausible_enface(
    modality: Modality, spacing: tuple[Spacing, Spacing]
) -> tuple[tuple[Spacing, Spacing], tuple[str, ...]]:
    """Spacings of which each may be one of an en-face image; else both are unknown, with a sentence."""
    # The rows of a projection of the volume are as far apart as its B-scans.
    low, high = BETWEEN_MM if modality == "OCT" else FUNDUS_MM
    if all(value is None or low <= value <= high for value in spacing):
        return spacing, ()
    sizes = " x ".join("?" if value is None else f"{value:.4g}" for value in spacing)
    return (None, None), (
        f"The file states pixels of {sizes} mm for the {modality} image, which no such image has; its sizes are in "
        "pixels.",
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(frozen=True)
class _Entries:
    """The entries that are stated, each checked when asked for."""

    name: str
    stated: dict[str, Any]

    def wrong(self, key: str, expected: str) -> ExamReadError:
        return ExamReadError(f"{self.name} has a wrong '{key}': it must be {expected}.")

    def spacing(self, key: str, axes: int) -> tuple[Spacing, ...]:
        values = self.stated.get(key)
        if values is None:
            return (None,) * axes
        if not isinstance(values, list) or len(values) != axes:
            raise self.wrong(key, f"a list of {axes} distances in mm, each a number or null")
        if not all(value is None or (_is_number(value) and value > 0) for value in values):
            raise self.wrong(key, "positive numbers in mm, or null where unknown")
        return tuple(None if value is None else float(value) for value in values)

    def value_range(self) -> tuple[float, float] | None:
        values = self.stated.get("value_range")
        if values is None:
            return None
        numbers = isinstance(values, list) and len(values) == 2 and all(map(_is_number, values))
        if not numbers or not values[0] < values[1]:
            raise self.wrong("value_range", "two numbers, that of black below that of white")
        return float(values[0]), float(values[1])

    def laterality(self) -> Laterality | None:
        value = self.stated.get("laterality")
        if value is None:
            return None
        eye = EYES.get(value.strip().lower()) if isinstance(value, str) else None
        if eye is None:
            raise self.wrong(
                "laterality", "OD, R or right for the right eye, OS, L or left for the left"
            )
        return eye

    def scan_pattern(self) -> ScanPattern | None:
        value = self.stated.get("scan_pattern")
        if value is None:
            return None
        known = get_args(ScanPattern)
        if value not in known:
            raise self.wrong("scan_pattern", f"one of {', '.join(known)}")
        return cast(ScanPattern, value)

    def device(self) -> str | None:
        value = self.stated.get("device")
        if value is not None and not isinstance(value, str):
            raise self.wrong("device", "a text")
        return value

    def locations(self) -> tuple[Modality | int, tuple[NDArray[np.float64], ...] | None]:
        value = self.stated.get("locations")
        if value is None:
            return "IR", None
        if not isinstance(value, dict) or not isinstance(value.get("polylines"), list):
            raise self.wrong("locations", "an object with 'image' and 'polylines'")
        image = value.get("image", "ir")
        located_on: Modality | int | None = None
        if isinstance(image, str):
            located_on = MODALITIES.get(image.lower())
        elif _is_number(image) and image >= 0 and image == int(image):
            located_on = int(image)
        if located_on is None:
            raise self.wrong("locations", f"on the image {_names(MODALITIES)}, or its index")
        return located_on, tuple(self.polyline(line) for line in value["polylines"])

    def polyline(self, points: Any) -> NDArray[np.float64]:
        numeric = isinstance(points, list) and all(
            isinstance(point, list) and len(point) == 2 and all(map(_is_number, point))
            for point in points
        )
        if not numeric or len(points) < 2:
            raise self.wrong(
                "locations", "at least two [row, column] points in pixels for each B-scan"
            )
        return np.asarray(points, dtype=np.float64)


def _names(names: Iterable[str]) -> str:
    *first, last = (f"'{name}'" for name in names)
    return f"{', '.join(first)} or {last}"
