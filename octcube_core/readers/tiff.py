"""TIFF stacks: plain multi-page, ImageJ and OME-TIFF. Each page is one B-scan (depth, width).

Spacing is taken from OME PhysicalSizeX/Y/Z, from ImageJ's unit and spacing, and from the resolution
tags only where they are physical: in centimetres and no multiple of a printing resolution. Inches
are always printing resolutions. The distance between B-scans counts only if the stack axis is Z.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import tifffile
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, OCTVolume, Spacing
from octcube_core.readers.failures import (
    COLOURED_BSCANS,
    check_volume_bytes,
    reading,
    spacing_warnings,
)
from octcube_core.readers.intensity import display_intensities, luminance
from octcube_core.readers.options import NO_OPTIONS, ReadOptions

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
_STACK_AXES = "ZTIQRC"
_PRINTING_DPI = (72, 96, 100, 150, 200, 254, 300, 600, 1200)

_TAG = re.compile(r"TiffTag (\d+)")
_FIRST_PRIVATE_TAG = 32768  # a vendor's broken private tag does no harm

_Spacing3 = tuple[Spacing, Spacing, Spacing]


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a TIFF stack as a volume of shape (pages, rows, columns).

    Raises
    ------
    ExamReadError
        If the file is truncated or damaged, or is not one stack of B-scans of equal size.
    """
    with reading(path, "a TIFF file"), _complaints() as complaints:
        with tifffile.TiffFile(path) as tiff:
            series, notes = _only_series(path, tiff)
            _check_complete(path, tiff, series)
            check_volume_bytes(path, series.shape, series.dtype.itemsize if series.dtype else 1)
            values, stack_axis, coloured = _as_stack(path, series.asarray(), series.axes)
            spacing = _spacing(tiff, stack_axis)
            kind = "OME-TIFF" if tiff.is_ome else "TIFF"
        if complaints:
            raise _damaged(path)
        volume = OCTVolume(display_intensities(values), spacing)
    notes += spacing_warnings(volume.spacing_mm, len(values))
    notes += (COLOURED_BSCANS,) if coloured else ()
    return Exam(volume, source=path, format=kind, warnings=notes)


def _damaged(path: Path) -> ExamReadError:
    return ExamReadError(
        f"{path.name} is truncated or damaged: pages of the TIFF are missing; export or copy it "
        "again."
    )


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Faults that tifffile logs instead of raising: it goes on with fewer or black pages."""
    logged: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            message = record.getMessage()
            tag = _TAG.search(message)
            private = tag is not None and int(tag[1]) >= _FIRST_PRIVATE_TAG
            incomplete = "OME series" in message or "ImageJ series metadata invalid" in message
            if incomplete or (record.levelno >= logging.ERROR and not private):
                logged.append(message)

    handler = Collector(logging.WARNING)
    logger = logging.getLogger("tifffile")
    logger.addHandler(handler)
    try:
        yield logged
    finally:
        logger.removeHandler(handler)


def _only_series(
    path: Path, tiff: tifffile.TiffFile
) -> tuple[tifffile.TiffPageSeries, tuple[str, ...]]:
    series = tiff.series
    if len(series) > 1 and not tiff.is_ome:
        raise ExamReadError(
            f"{path.name} holds pages of different size or type; a TIFF must hold one stack of "
            "equal B-scans."
        )
    if len(series) > 1:
        return series[0], (f"The file holds {len(series)} images; the first is shown.",)
    return series[0], ()


def _check_complete(path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> None:
    """Refuse stacks of which a page or a part of one is not in the file."""
    size = tiff.filehandle.size
    pages = [page for page in series.pages if page is not None]
    if len(pages) < len(series.pages):
        raise _damaged(path)
    if series.dataoffset is not None and series.dataoffset + series.nbytes > size:
        raise _damaged(path)
    for page in pages:
        if page.parent is not tiff:
            continue  # a page of another file of a multi-file OME-TIFF
        for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
            if count == 0 or offset + count > size:
                raise _damaged(path)


def _as_stack(path: Path, values: NDArray[Any], axes: str) -> tuple[NDArray[Any], str, bool]:
    """Values as (bscan, depth, width), the name of the stack axis ('' if none), coloured or not."""
    coloured = False
    samples = axes.find("S")
    if samples < 0 and "C" in axes and values.shape[axes.index("C")] in (3, 4):
        samples = axes.index("C")
    if samples >= 0:
        values, coloured = luminance(np.moveaxis(values, samples, -1))
        axes = axes[:samples] + axes[samples + 1 :]
    if axes == "YX":
        return values[np.newaxis], "", coloured
    if len(axes) == 3 and axes[1:] == "YX" and axes[0] in _STACK_AXES:
        return values, axes[0], coloured
    raise ExamReadError(
        f"{path.name} has the axes {axes} of sizes {values.shape}; export one volume as a stack of "
        "B-scans (ZYX)."
    )


def _spacing(tiff: tifffile.TiffFile, stack_axis: str) -> _Spacing3:
    if tiff.is_ome and tiff.ome_metadata:
        z, y, x = _ome_spacing(tiff.ome_metadata)
    elif tiff.is_imagej:
        z, y, x = _imagej_spacing(tiff)
    else:
        z, (y, x) = None, _resolution_mm(tiff)
    return (z if stack_axis == "Z" else None), y, x


def _positive(value: float | None) -> Spacing:
    return value if value is not None and math.isfinite(value) and value > 0 else None


def _ome_spacing(xml: str) -> _Spacing3:
    pixels = ElementTree.fromstring(xml).find(".//{*}Pixels")
    if pixels is None:
        return None, None, None

    def size(axis: str) -> Spacing:
        unit = _MM_PER_UNIT.get(pixels.get(f"PhysicalSize{axis}Unit", "µm"))
        try:
            return _positive(float(pixels.get(f"PhysicalSize{axis}", "nan")) * (unit or math.nan))
        except ValueError:
            return None

    return size("Z"), size("Y"), size("X")


def _imagej_spacing(tiff: tifffile.TiffFile) -> _Spacing3:
    stated = tiff.imagej_metadata or {}
    unit = _MM_PER_UNIT.get(str(stated.get("unit", "")).strip().lower())
    if unit is None:
        return None, None, None
    pitch = stated.get("spacing")
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
