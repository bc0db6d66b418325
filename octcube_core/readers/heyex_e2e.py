"""Heidelberg's database file (.E2E), which may hold several scans of both eyes.

eyepy reads such files too, but refuses circle and radial scans, follows lengths and chains unchecked, and takes the
bits of a voxel's mantissa in reversed order; on a real B-scan the plain order used here gives the smoother picture, and
it is that of LibE2E. Tests compare everything else with eyepy.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
)
from octcube_core.readers.entry import ExamEntry
from octcube_core.readers.failures import check_volume_bytes, reading
from octcube_core.readers.heyex_e2e_file import E2EFile, Item
from octcube_core.readers.heyex_e2e_records import (
    BSCAN,
    BSCAN_HEADER,
    CIRCLE,
    EYE,
    FIELD,
    FIELD_HEADER,
    FUNDUS_KIND,
    GREY,
    IMAGE,
    IMAGE_HEADER,
    PATIENT,
    REFLECTIVITY,
    WANTED,
)
from octcube_core.readers.heyex_intensity import e2e_grey_levels
from octcube_core.readers.heyex_locations import NO_DIRECTION, NO_PLACES, ScanLines
from octcube_core.readers.options import NO_OPTIONS, ReadOptions
from octcube_core.readers.plausible import AXIAL_MM, plausible_mm

NO_LATERAL = (
    "E2E files state widths in degrees, not in millimetres: the lateral spacing and the distance between B-scans are "
    "unknown and sizes along them are in pixels."
)
NO_SPACING = (
    "E2E files state widths in degrees, and this one no axial spacing; sizes are shown in pixels."
)

_FUNDUS_KINDS: dict[str, Modality] = {"IR": "IR", "AF": "FAF", "FA": "FA", "ICGA": "ICGA"}


@dataclass
class _Series:
    """Items of one exam by what they are; B-scans by slice."""

    bscans: dict[int, Item] = field(default_factory=dict)
    headers: dict[int, Item] = field(default_factory=dict)
    fundus: Item | None = None
    others: dict[int, Item] = field(default_factory=dict)


def entries(path: Path, options: ReadOptions = NO_OPTIONS) -> Iterator[ExamEntry]:
    """List the OCT series of an E2E file.

    Raises
    ------
    ExamReadError
        If the file is truncated or damaged or holds no OCT.
    """
    with reading(path, "a Heidelberg E2E file"), FileIO(path) as file:
        e2e = E2EFile(path, file, WANTED)
        found = [series for series in _group(e2e) if series.bscans]
        if not found:
            raise ExamReadError(
                f"{path.name} holds no OCT; export the OCT images of the patient along with it."
            )
        listed = [
            _entry(e2e, series, number if len(found) > 1 else None)
            for number, series in enumerate(found, 1)
        ]
    yield from listed


def _group(e2e: E2EFile) -> list[_Series]:
    """Series in the order of the file; what is said of a patient is said of all his series."""
    series: dict[tuple[int, int, int], _Series] = {}
    patients: dict[int, Item] = {}
    for item in e2e.items:
        if item.type == PATIENT:
            patients.setdefault(item.patient, item)
            continue
        one = series.setdefault(item.series_key, _Series())
        if item.type == BSCAN:
            one.headers.setdefault(item.slice, item)
        elif item.type != IMAGE:
            one.others.setdefault(item.type, item)
        else:
            kind = int(e2e.record(item, IMAGE_HEADER)["type"])
            if kind == REFLECTIVITY:
                one.bscans.setdefault(item.slice, item)
            elif kind == GREY and one.fundus is None:
                one.fundus = item
    for key, one in series.items():
        if key[0] in patients:
            one.others[PATIENT] = patients[key[0]]
    return list(series.values())


def _entry(e2e: E2EFile, series: _Series, number: int | None) -> ExamEntry:
    path, laterality = e2e.path, _laterality(e2e, series)
    image = e2e.record(next(iter(series.bscans.values())), IMAGE_HEADER)
    eye = f"{laterality}, " if laterality else ""
    return ExamEntry(
        path,
        "Heidelberg E2E",
        lambda: _read_series(path, series),
        part="" if number is None else f"{eye}series {number}",
        laterality=laterality,
        modalities=("OCT", _modality(e2e, series)) if series.fundus else ("OCT",),
        device="Heidelberg Engineering",
        shape=(len(series.bscans), int(image["rows"]), int(image["columns"])),
    )


def _read_series(path: Path, series: _Series) -> Exam:
    with reading(path, "a Heidelberg E2E file"), FileIO(path) as file:
        e2e = E2EFile(path, file, frozenset())
        slices, headers = _ordered(e2e, series)
        voxels = _read_voxels(e2e, [series.bscans[index] for index in slices])
        laterality = _laterality(e2e, series)
        pattern, lines = _geometry(headers)
        axial = None if headers is None else plausible_mm(headers["axial_mm"][0], *AXIAL_MM)
        warnings: tuple[str, ...] = (NO_SPACING if axial is None else NO_LATERAL,)
        enface = () if series.fundus is None else (_read_fundus(e2e, series, series.fundus),)
        locations = None
        if enface:
            places = _in_pixels(e2e, series, lines, enface[0].shape)
            if places is None:
                warnings += (NO_PLACES,)
            elif pattern == "circle" and laterality is None:
                warnings += (NO_DIRECTION,)
            else:
                locations = BScanLocations(
                    places.polylines(pattern, laterality, voxels.shape[2], (1.0, 1.0))
                )
        return Exam(
            OCTVolume(voxels, (None, axial, None)),
            enface,
            locations,
            laterality,
            pattern,
            device="Heidelberg Engineering",
            source=path,
            format="Heidelberg E2E",
            warnings=warnings,
            patient=_patient(e2e, series, headers),
        )
    raise AssertionError("unreachable")


def _ordered(e2e: E2EFile, series: _Series) -> tuple[list[int], Any]:
    """Slices of the B-scans in the order of the scan, and their headers (None if any lacks one)."""
    slices = sorted(series.bscans)
    if any(index not in series.headers for index in slices):
        if series.headers:
            raise _missing(e2e)
        return slices, None
    if set(series.headers) != set(slices):
        raise _missing(e2e)
    headers = np.array(
        [e2e.record(series.headers[index], BSCAN_HEADER) for index in slices], BSCAN_HEADER
    )
    order = np.argsort(headers["index"], kind="stable")
    headers = headers[order]
    steps = np.diff(headers["index"].astype(np.int64))
    # The count is 0 in some files, and the index may count from 0 or from 1.
    if int(headers["count"].max()) > len(slices) or (len(slices) > 1 and (steps != 1).any()):
        raise _missing(e2e)
    return [slices[index] for index in order], headers


def _missing(e2e: E2EFile) -> ExamReadError:
    return ExamReadError(
        f"{e2e.path.name} lacks some of the B-scans of the volume that it lists; export it again."
    )


def _read_voxels(e2e: E2EFile, items: list[Item]) -> NDArray[np.uint8]:
    first = e2e.record(items[0], IMAGE_HEADER)
    rows, columns = int(first["rows"]), int(first["columns"])
    stored = sum(item.size for item in items)
    if stored > e2e.size:
        raise e2e.damaged()
    check_volume_bytes(e2e.path, (len(items), rows, columns), 1, stored)
    samples = rows * columns
    if any(item.size < IMAGE_HEADER.itemsize + 2 * samples for item in items) or not samples:
        raise e2e.damaged()
    levels = e2e_grey_levels()
    voxels = np.empty((len(items), rows, columns), np.uint8)
    for index, item in enumerate(items):
        header = e2e.record(item, IMAGE_HEADER)
        if (int(header["rows"]), int(header["columns"])) != (rows, columns):
            raise ExamReadError(
                f"{e2e.path.name} holds B-scans of different sizes in one volume; export it as .vol or XML instead."
            )
        codes = np.frombuffer(e2e.read(item.start + IMAGE_HEADER.itemsize, 2 * samples), "<u2")
        np.take(levels, codes.reshape(rows, columns), out=voxels[index], mode="wrap")
    return voxels


def _read_fundus(e2e: E2EFile, series: _Series, item: Item) -> EnFaceImage:
    header = e2e.record(item, IMAGE_HEADER)
    rows, columns = int(header["rows"]), int(header["columns"])
    if item.size < IMAGE_HEADER.itemsize + rows * columns or not rows * columns:
        raise e2e.damaged()
    pixels = np.frombuffer(e2e.read(item.start + IMAGE_HEADER.itemsize, rows * columns), np.uint8)
    return EnFaceImage(pixels.reshape(rows, columns), _modality(e2e, series))


def _geometry(headers: Any) -> tuple[ScanPattern | None, ScanLines | None]:
    """Scan pattern and places in degrees."""
    if headers is None:
        return None, None
    start = np.stack((headers["y"], headers["x"]), axis=1).astype(np.float64)
    end = np.stack((headers["y_2"], headers["x_2"]), axis=1).astype(np.float64)
    if (headers["pattern"] == CIRCLE).all():
        middle = np.stack((headers["y_mid"], headers["x_mid"]), axis=1).astype(np.float64)
        return "circle", ScanLines(start, middle)
    lines = ScanLines(start, end)
    return ("line" if len(start) == 1 else lines.pattern(None)), lines


def _in_pixels(
    e2e: E2EFile, series: _Series, lines: ScanLines | None, shape: tuple[int, int]
) -> ScanLines | None:
    """Places on the fundus image, None unless the file states the field of that very image."""
    if lines is None or not lines.usable or FIELD not in series.others:
        return None
    stated = e2e.record(series.others[FIELD], FIELD_HEADER)
    degrees = int(stated["degrees"])
    if (int(stated["rows"]), int(stated["columns"])) != shape or not 1 <= degrees <= 150:
        return None
    # The centre of the picture is pixel n / 2, as for .vol files and in eyepy (see `heyex_locations`).
    start, end = (np.array(shape) * (0.5 + ends / degrees) for ends in (lines.start, lines.end))
    return ScanLines(start, end)


def _laterality(e2e: E2EFile, series: _Series) -> Laterality | None:
    item = series.others.get(EYE)
    letter = b"" if item is None else e2e.payload(item, 15)[14:]
    return "OD" if letter == b"R" else "OS" if letter == b"L" else None


def _modality(e2e: E2EFile, series: _Series) -> Modality:
    """Kind of the fundus image by the second of its names ('Infra-Red', 'IR')."""
    item = series.others.get(FUNDUS_KIND)
    if item is not None and item.size >= 8:
        data = e2e.payload(item, 4096)
        count, length = (int(value) for value in np.frombuffer(data, "<u4", 2))
        if count > 1 and 8 + 2 * length <= len(data):
            name = data[8 + length : 8 + 2 * length].decode("utf-16-le", errors="replace")
            return _FUNDUS_KINDS.get(name.split("\0")[0].strip().upper(), "IR")
    return "IR"


def _patient(e2e: E2EFile, series: _Series, headers: Any) -> Patient:
    """Who and when; the birth date's encoding is not known for sure, so it is left out."""
    names = [""] * 3
    if PATIENT in series.others:
        data = e2e.payload(series.others[PATIENT], 127)
        fields = (data[31:97], data[:31], data[102:127])
        names = [part.split(b"\0")[0].decode("latin-1").strip() for part in fields]
    when = None
    ticks = 0 if headers is None else int(headers["time"][0])
    if 0 < ticks < 10**18:
        when = (datetime(1601, 1, 1) + timedelta(microseconds=ticks // 10)).date().isoformat()
    name = ", ".join(part for part in names[:2] if part)
    return Patient(name=name or None, id=names[2] or None, exam_date=when)
