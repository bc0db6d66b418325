"""Pixel sizes that a TIFF file states.

Taken from OME PhysicalSizeX/Y/Z, from ImageJ's unit and spacing, and from the resolution tags only where they are
physical: in centimetres and no multiple of a printing resolution. Inches are always printing resolutions. Sizes that
are all 1 (micrometre, mostly) are what programs write when they know none. The distance between B-scans counts only if
the stack axis is Z.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from xml.etree import ElementTree

import tifffile

from octcube_core.exam import Spacing

_MM_PER_UNIT = {
    "nm": 1e-6,
    "µm": 1e-3,  # micro sign
    "μm": 1e-3,  # Greek mu
    "um": 1e-3,
    "\\u00b5m": 1e-3,  # ImageJ escapes it
    "micron": 1e-3,
    "microns": 1e-3,
    "micrometer": 1e-3,
    "mm": 1.0,
    "millimeter": 1.0,
    "cm": 10.0,
    "m": 1000.0,
}
_PRINTING_DPI = (72, 96, 100, 150, 200, 254, 300, 600, 1200)

_Spacing3 = tuple[Spacing, Spacing, Spacing]


def tiff_spacing(tiff: tifffile.TiffFile, stack_axis: str) -> _Spacing3:
    """Spacing (between B-scans, axial, lateral) in mm of the first image of a file.

    Parameters
    ----------
    tiff : tifffile.TiffFile
    stack_axis : str
        tifffile's name of the axis along which the pages lie; empty if there is one page only.
    """
    if tiff.is_ome and tiff.ome_metadata:
        z, y, x = ome_spacing(ElementTree.fromstring(tiff.ome_metadata).find(".//{*}Pixels"))
    elif tiff.is_imagej:
        z, y, x = _imagej_spacing(tiff)
    else:
        z, (y, x) = None, _resolution_mm(tiff)
    return (z if stack_axis == "Z" else None), y, x


def ome_spacing(pixels: ElementTree.Element | None) -> _Spacing3:
    """Spacing along (Z, Y, X) in mm that an OME Pixels element states."""
    if pixels is None:
        return None, None, None

    if _placeholders([pixels.get(f"PhysicalSize{axis}") for axis in "XYZ"]):
        return None, None, None

    def size(axis: str) -> Spacing:
        unit = _MM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        try:
            return _positive(float(pixels.get(f"PhysicalSize{axis}", "nan")) * (unit or math.nan))
        except ValueError:
            return None

    return size("Z"), size("Y"), size("X")


def _placeholders(stated: Sequence[str | float | None]) -> bool:
    """Whether all sizes that are stated are 1."""
    try:
        return {float(value) for value in stated if value is not None} == {1.0}
    except ValueError:
        return False


def _positive(value: float | None) -> Spacing:
    return value if value is not None and math.isfinite(value) and value > 0 else None


def _imagej_spacing(tiff: tifffile.TiffFile) -> _Spacing3:
    stated = tiff.imagej_metadata or {}
    unit = _MM_PER_UNIT.get(str(stated.get("unit", "")).strip().lower())
    if unit is None:
        return None, None, None
    pitch = stated.get("spacing")
    number = pitch if isinstance(pitch, int | float) else None
    if _placeholders([number, *(value or None for value in _resolution(tiff))]):
        return None, None, None
    z = _positive(abs(float(pitch)) * unit) if isinstance(pitch, int | float) else None
    y, x = (_positive(unit / r) if r else None for r in _resolution(tiff))
    return z, y, x


def _resolution_mm(tiff: tifffile.TiffFile) -> tuple[Spacing, Spacing]:
    """Pixel size (rows, columns) by the resolution tags, if they are in centimetres."""
    page = tiff.pages.first
    tag = page.tags.get("ResolutionUnit")
    if tag is None or tag.value != tifffile.RESUNIT.CENTIMETER:
        return None, None
    per_cm = _resolution(tiff)
    dpi = [value * 2.54 for value in per_cm]
    if any(math.isclose(d, known, rel_tol=5e-3) for d in dpi for known in _PRINTING_DPI):
        return None, None
    y, x = (_positive(10.0 / value) if value else None for value in per_cm)
    return y, x


def _resolution(tiff: tifffile.TiffFile) -> tuple[float, float]:
    """Pixels per unit along (rows, columns); 0 where not stated."""

    def value(name: str) -> float:
        tag = tiff.pages.first.tags.get(name)
        if tag is None or not tag.value[1]:
            return 0.0
        return float(tag.value[0]) / float(tag.value[1])

    return value("YResolution"), value("XResolution")
