"""Topcon .fda and .fds files: B-scans, fundus pictures, eye, scan pattern, spacing, places of the B-scans.

What is known of the format comes from uocte's documentation and the readers OCT-Converter, RETIMAT and private_eye,
checked on a real .fda (see `topcon_chunks`). B-scans are stored upright, vitreous on top; those of a raster run from
superior to inferior. (The contours and the projection, which are not read here, run the other way.)
"""

from __future__ import annotations

import datetime
import math
from pathlib import Path
from typing import Any

import numpy as np

from octcube_core.exam import (
    BScanLocations,
    EnFaceImage,
    Exam,
    Laterality,
    OCTVolume,
    Patient,
    ScanPattern,
    Spacing,
)
from octcube_core.readers.failures import reading, spacing_warnings
from octcube_core.readers.options import NO_OPTIONS, ReadOptions
from octcube_core.readers.topcon_chunks import (
    CAPTURE_01,
    CAPTURE_02,
    HARDWARE,
    PARAM_SCAN_02,
    PARAM_SCAN_04,
    PATIENT_02,
    REGISTRATION,
    REGISTRATION_SCAN_02,
    Chunks,
    find_chunks,
)
from octcube_core.readers.topcon_images import display_range, fundus_pictures, read_bscans

_RASTER, _VERTICAL_RASTER = 2, 6
_PATTERNS: dict[int, ScanPattern] = {
    0: "line",
    1: "circle",
    2: "raster",
    3: "radial",
    4: "line",  # two that cross
    6: "raster",
    7: "raster",  # some parallel lines, horizontal or vertical
    8: "raster",
    9: "circle",  # concentric
    10: "circle",
    11: "line",  # two times five that cross
}
# Scans whose B-scans are known to be as long as the file's width in mm.
_STRAIGHT = (0, 2, 3, 6, 7, 8)
_EYES: dict[int, Laterality] = {0: "OD", 1: "OS"}
_ANTERIOR = (4, 15)  # fixations: centre of the cornea, external

# What a scan of an eye can have; a file cut down for a test claims 6 mm for two A-scans.
_SCAN_MM = (0.5, 30.0)
_LATERAL_MM = (0.001, 0.2)
_BETWEEN_MM = (0.001, 1.0)
_AXIAL_MM = (0.0005, 0.02)


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a .fda or .fds file.

    The raw voxels of an .fds above 512 MB stay in the file. The lateral spacing is the scan's width divided by the
    number of A-scans, and likewise between B-scans; sizes that no scan has are
    treated as unknown.

    Raises
    ------
    ExamReadError
        If the file is truncated or damaged, holds no B-scans, or misses some of them.
    """
    with reading(path, "a Topcon .fda or .fds file"):
        chunks = find_chunks(path)
        voxels, bits, mode = read_bscans(chunks)
        parameters = _first(
            chunks, ("@PARAM_SCAN_04", PARAM_SCAN_04), ("@PARAM_SCAN_02", PARAM_SCAN_02)
        )
        spacing = _spacing(parameters, mode, voxels.shape)
        pictures, picture_warnings = fundus_pictures(chunks)
        enface = tuple(image for _, image in pictures)
        locations, place_warnings = _places(chunks, pictures, mode, voxels.shape)
        capture = _first(chunks, ("@CAPTURE_INFO_02", CAPTURE_02), ("@CAPTURE_INFO", CAPTURE_01))
        return Exam(
            OCTVolume(voxels, spacing, display_range(voxels, bits)),
            enface=enface,
            locations=locations,
            laterality=_EYES.get(capture.eye) if capture else None,
            scan_pattern=_PATTERNS.get(mode),
            device=_device(chunks),
            source=path,
            format="Topcon",
            warnings=(
                *spacing_warnings(spacing, voxels.shape[0], _PATTERNS.get(mode)),
                *_scan_warnings(parameters, mode),
                *picture_warnings,
                *place_warnings,
            ),
            patient=_patient(chunks, capture),
        )
    raise AssertionError("unreachable")


def _first(chunks: Chunks, *candidates: tuple[str, Any]) -> Any:
    """Fields of the first of these chunks that the file has, or None."""
    name, layout = next((c for c in candidates if c[0] in chunks.places), candidates[0])
    return chunks.fields(name, layout)


def _within(value: float, limits: tuple[float, float]) -> Spacing:
    return value if math.isfinite(value) and limits[0] <= value <= limits[1] else None


def _spacing(
    parameters: Any, mode: int, shape: tuple[int, ...]
) -> tuple[Spacing, Spacing, Spacing]:
    if parameters is None:
        return None, None, None
    bscans, _, width = shape
    x_mm, y_mm = _within(parameters.x_mm, _SCAN_MM), _within(parameters.y_mm, _SCAN_MM)
    known_axes = mode != _VERTICAL_RASTER or x_mm == y_mm  # which of the two is across is not known
    lateral = (
        _within(x_mm / width, _LATERAL_MM) if x_mm and mode in _STRAIGHT and known_axes else None
    )
    between = None
    if y_mm and mode in (_RASTER, _VERTICAL_RASTER) and known_axes and bscans > 1:
        between = _within(y_mm / bscans, _BETWEEN_MM)
    return between, _within(parameters.z_um / 1000, _AXIAL_MM), lateral


def _scan_warnings(parameters: Any, mode: int) -> tuple[str, ...]:
    found = []
    if mode == _VERTICAL_RASTER:
        found.append("The B-scans run vertically.")
    if mode not in _PATTERNS:
        found.append("The file's scan pattern is not known.")
    if parameters is not None and parameters.get("fixation") in _ANTERIOR:
        found.append("The scan is one of the front of the eye, not of the retina.")
    return tuple(found)


def _places(
    chunks: Chunks,
    pictures: tuple[tuple[str, EnFaceImage], ...],
    mode: int,
    shape: tuple[int, ...],
) -> tuple[BScanLocations | None, tuple[str, ...]]:
    """Lines of a horizontal raster, from the box that the file gives in pixels of the first picture.

    Only for this pattern do the sources agree on what the box means. The A-scans and B-scans divide it evenly.
    """
    registration = _first(
        chunks, ("@REGIST_INFO", REGISTRATION), ("@REGIST_SCAN_02", REGISTRATION_SCAN_02)
    )
    if registration is None or mode != _RASTER or not pictures:
        return None, ()
    name, picture = pictures[0]
    box = registration.infrared if name == "@IMG_TRC_02" else registration.fundus
    if not (box.right or box.bottom):
        return None, ()  # not registered
    rows, columns = picture.shape
    if not (box.left < box.right < columns and box.top < box.bottom < rows):
        return None, (
            "The file places the scan outside its fundus image; where the B-scans lie is not shown.",
        )
    bscans, _, width = shape
    row = box.top + (np.arange(bscans) + 0.5) * (box.bottom - box.top) / bscans
    inset = (box.right - box.left) / width / 2
    first, last = box.left + inset, box.right - inset
    return BScanLocations(tuple(np.array([[r, first], [r, last]]) for r in row)), ()


def _text(raw: bytes) -> str | None:
    raw = raw.split(b"\0", 1)[0]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return "".join(c for c in text if c.isprintable()).strip() or None


def _date(stored: Any) -> str | None:
    try:
        return datetime.date(stored.year, stored.month, stored.day).isoformat()
    except ValueError:
        return None  # zeros where it is not set


def _device(chunks: Chunks) -> str | None:
    hardware = _first(chunks, *((f"@HW_INFO_0{n}", HARDWARE) for n in (3, 2, 1)))
    model = _text(hardware.model) if hardware else None
    return f"Topcon {model}" if model else None


def _patient(chunks: Chunks, capture: Any) -> Patient:
    """Who was scanned; @PATIENT_INFO_03 is encrypted and stays so."""
    exam_date = _date(capture.date) if capture else None
    stored = chunks.fields("@PATIENT_INFO_02", PATIENT_02)
    if stored is None:
        return Patient(exam_date=exam_date)
    names = [name for name in (_text(stored.last), _text(stored.first)) if name]
    return Patient(
        name="^".join(names) or None,
        id=_text(stored.id),
        birth_date=_date(stored.birth),
        exam_date=exam_date,
    )
