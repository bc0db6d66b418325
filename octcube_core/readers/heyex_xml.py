"""Heidelberg's XML export: one .xml beside the pictures it names, with the series of one or both eyes.

The structure is HEDX / BODY / Patient / Study / Series / Image, as public exports and the readers eyepy and LibOctData
have it. B-scans are pictures as shown, so their grey levels are taken as they are.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import get_args
from xml.etree.ElementTree import Element

import numpy as np

from octcube_core.errors import ExamReadError
from octcube_core.exam import (
    BScanLocations,
    EnFaceImage,
    Exam,
    Laterality,
    Modality,
    OCTVolume,
    Patient,
    ScanPattern,
    Spacing,
)
from octcube_core.readers.entry import ExamEntry
from octcube_core.readers.failures import (
    COLOURED_BSCANS,
    reading,
    spacing_warnings,
)
from octcube_core.readers.heyex_locations import NO_DIRECTION, NO_PLACES, ScanLines, scan_geometry
from octcube_core.readers.heyex_xml_pictures import picture, read_stack
from octcube_core.readers.heyex_xml_tree import read_tree
from octcube_core.readers.image import read_header, read_pixels
from octcube_core.readers.intensity import display_intensities, luminance
from octcube_core.readers.options import NO_OPTIONS, ReadOptions
from octcube_core.readers.plausible import AXIAL_MM, FUNDUS_MM, LATERAL_MM, plausible_mm

_PATTERNS: dict[str, ScanPattern] = {
    "volume": "raster",
    "raster": "raster",
    "line": "line",
    "single": "line",
    "circle": "circle",
    "radial": "radial",
    "star": "radial",
}
_FUNDUS_KINDS: dict[str, Modality] = {
    "NIR": "IR",
    "BAF": "FAF",
    "GAF": "FAF",
    "AF": "FAF",
    "ICG": "ICGA",
    "MC": "CFP",
    "MULTICOLOR": "CFP",
}
_RESCALED = (
    "The pictures of the B-scans are not of the size that the XML states; its spacing is not used."
)
_CONTEXT = "OphthalmicAcquisitionContext"


def entries(path: Path, options: ReadOptions = NO_OPTIONS) -> Iterator[ExamEntry]:
    """List the OCT series of an XML export.

    Raises
    ------
    ExamReadError
        If the XML is damaged or lists no OCT series.
    """
    with reading(path, "a Heidelberg XML export"):
        root = read_tree(path)
        found = [
            (patient, series)
            for patient in root.iter("Patient")
            for series in patient.iter("Series")
            if _images(series, "OCT")
        ]
        if not found:
            raise ExamReadError(
                f"{path.name} lists no OCT series; export the OCT images along with it."
            )
        for number, (patient, series) in enumerate(found, 1):
            yield _entry(path, patient, series, number if len(found) > 1 else None)


def _entry(path: Path, patient: Element, series: Element, number: int | None) -> ExamEntry:
    bscans = _images(series, "OCT")
    laterality = _laterality(series)
    height, width = (
        int(_number(bscans[0], f"{_CONTEXT}/{name}") or 0) for name in ("Height", "Width")
    )
    fundus = tuple(dict.fromkeys(_modality(image) for image in _images(series, "LOCALIZER")))
    eye = f"{laterality}, " if laterality else ""
    return ExamEntry(
        path,
        "Heidelberg XML",
        lambda: _read_series(path, patient, series),
        part="" if number is None else f"{eye}series {number}",
        laterality=laterality,
        scan_pattern=_PATTERNS.get(_text(series, "Type").lower()),
        modalities=("OCT", *fundus),
        device=_device(series),
        shape=(len(bscans), height, width) if height > 0 and width > 0 else None,
    )


def _read_series(path: Path, patient: Element, series: Element) -> Exam:
    with reading(path, "a Heidelberg XML export"):
        images = _images(series, "OCT")
        files = [picture(path, _text(image, "ImageData/ExamURL")) for image in images]
        voxels, coloured = read_stack(path, files)
        warnings: tuple[str, ...] = (COLOURED_BSCANS,) if coloured else ()
        laterality = _laterality(series)
        lines = _lines(images)
        axial, lateral = (_common(images, name) for name in ("ScaleY", "ScaleX"))
        axial = None if axial is None else plausible_mm(axial, *AXIAL_MM)
        lateral = None if lateral is None else plausible_mm(lateral, *LATERAL_MM)
        if _rescaled(images[0], voxels.shape[1:]):
            axial = lateral = None
            warnings += (_RESCALED,)
        width_mm = None if lateral is None else lateral * voxels.shape[2]
        pattern = _PATTERNS.get(_text(series, "Type").lower())
        if pattern is None and all(
            image.find(f"{_CONTEXT}/Center") is not None for image in images
        ):
            pattern = "circle"
        # The export states no distance between B-scans; it follows from their places, which it gives in mm.
        geometry = scan_geometry(lines, pattern, None, width_mm)
        pattern = geometry.pattern
        volume = OCTVolume(voxels, (geometry.between_mm, axial, lateral))
        bscans_apart = 1 if geometry.warnings else len(images)  # which say it already
        warnings += spacing_warnings(volume.spacing_mm, bscans_apart, pattern)
        warnings += geometry.warnings
        enface = tuple(_read_fundus(path, image) for image in _images(series, "LOCALIZER"))
        locations = None
        if enface and (lines is None or None in enface[0].spacing_mm):
            warnings += (NO_PLACES,)
        elif enface and pattern == "circle" and laterality is None:
            warnings += (NO_DIRECTION,)
        elif enface and lines and not (pattern is None and len(images) == 1):
            rows_mm, columns_mm = enface[0].spacing_mm
            assert rows_mm is not None
            assert columns_mm is not None
            scale = (rows_mm, columns_mm)
            locations = BScanLocations(lines.polylines(pattern, laterality, volume.shape[2], scale))
            warnings += lines.width_warning(pattern, width_mm)
        return Exam(
            volume,
            enface,
            locations,
            laterality,
            pattern,
            device=_device(series),
            source=path,
            format="Heidelberg XML",
            warnings=warnings,
            patient=_patient(patient, series),
        )
    raise AssertionError("unreachable")


def _read_fundus(path: Path, image: Element) -> EnFaceImage:
    file = picture(path, _text(image, "ImageData/ExamURL"))
    shape = read_header(file).shape
    pixels = read_pixels(file)
    if pixels.ndim == 3:
        grey, coloured = luminance(pixels)
        pixels = np.ascontiguousarray(pixels[..., :3]) if coloured else grey
    spacing: list[Spacing] = [None, None]
    if not _rescaled(image, shape):
        for axis, name in enumerate(("ScaleY", "ScaleX")):
            value = _number(image, f"{_CONTEXT}/{name}")
            spacing[axis] = None if value is None else plausible_mm(value, *FUNDUS_MM)
    return EnFaceImage(display_intensities(pixels), _modality(image), (spacing[0], spacing[1]))


def _lines(images: list[Element]) -> ScanLines | None:
    """Places of all B-scans, or None if one is missing or no place."""
    ends: list[list[float | None]] = [[], []]
    for image in images:
        context = image.find(_CONTEXT)
        if context is None:
            return None
        last = "End" if context.find("End") is not None else "Center"
        for side, name in enumerate(("Start", last)):
            ends[side] += [_number(context, f"{name}/Coord/{axis}") for axis in "YX"]
    if None in ends[0] or None in ends[1]:
        return None
    start, end = (np.array(side, np.float64).reshape(-1, 2) for side in ends)
    lines = ScanLines(start, end)
    return lines if lines.usable else None


def _images(series: Element, kind: str) -> list[Element]:
    return [
        image for image in series.findall("Image") if _text(image, "ImageType/Type").upper() == kind
    ]


def _modality(image: Element) -> Modality:
    source = _text(image, "ImageType/LightSource").upper()
    if source in get_args(Modality) and source != "OCT":
        return next(kind for kind in get_args(Modality) if kind == source)
    return _FUNDUS_KINDS.get(source, "IR")  # a localizer is infrared unless it says otherwise


def _laterality(series: Element) -> Laterality | None:
    eyes = {_text(image, "Laterality") for image in series.findall("Image")}
    eyes = {_text(series, "Laterality") or eye for eye in eyes}
    if len(eyes) != 1:
        return None
    eye = eyes.pop().upper()
    return "OD" if eye in ("R", "OD") else "OS" if eye in ("L", "OS") else None


def _device(series: Element) -> str | None:
    names = [
        _text(series, f"GeneralEquipment/{name}")
        for name in ("Manufacturer", "ManufacturerModelName")
    ]
    return " ".join(name for name in names if name) or None


def _patient(patient: Element, series: Element) -> Patient:
    names = (_text(patient, "LastName"), _text(patient, "FirstNames"))
    exam = next((date for tag in ("ExamDate", "StudyDate") for date in series.iter(tag)), None)
    if exam is None:
        exam = next(patient.iter("StudyDate"), None)
    birth = patient.find("Birthdate")
    return Patient(
        name=", ".join(name for name in names if name) or None,
        id=_text(patient, "PatientID") or _text(patient, "ID") or None,
        birth_date=_date(birth),
        exam_date=_date(exam),
    )


def _date(element: Element | None) -> str | None:
    if element is None:
        return None
    parts = [_text(element, f"Date/{name}") for name in ("Year", "Month", "Day")]
    return "-".join(part.zfill(2) for part in parts) if all(parts) else None


def _rescaled(image: Element, shape: tuple[int, ...]) -> bool:
    stated = tuple(_number(image, f"{_CONTEXT}/{name}") for name in ("Height", "Width"))
    return None not in stated and stated != tuple(shape)


def _common(images: list[Element], name: str) -> float | None:
    """A number of the images' headers, where all state the same."""
    values = {_number(image, f"{_CONTEXT}/{name}") for image in images}
    return values.pop() if len(values) == 1 else None


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _number(element: Element, path: str) -> float | None:
    try:
        value = float(_text(element, path).replace(",", "."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None
