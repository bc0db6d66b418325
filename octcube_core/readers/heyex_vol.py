"""Heidelberg's raw export (.vol) of any scan pattern: line, circle, raster, radial."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import BScanLocations, EnFaceImage, Exam, OCTVolume
from octcube_core.readers.entry import ExamEntry
from octcube_core.readers.failures import check_volume_bytes, reading, spacing_warnings
from octcube_core.readers.heyex_intensity import BLOCK, convert_block
from octcube_core.readers.heyex_locations import NO_DIRECTION, NO_PLACES, ScanLines, scan_geometry
from octcube_core.readers.heyex_vol_header import FILE_HEADER, VolLayout, read_layout
from octcube_core.readers.options import NO_OPTIONS, ReadOptions
from octcube_core.readers.plausible import AXIAL_MM, FUNDUS_MM, LATERAL_MM, plausible_mm

_DEVICE = "Heidelberg Engineering"
_MAX_THREADS = 4  # beyond this, memory is the limit


def entries(path: Path, options: ReadOptions = NO_OPTIONS) -> Iterator[ExamEntry]:
    """Yield the one exam of a .vol file with what its headers state.

    Raises
    ------
    ExamReadError
        If the file is truncated or its header contradicts its contents.
    """
    with reading(path, "a Heidelberg .vol file"), FileIO(path) as file:
        layout = read_layout(path, file)
    yield ExamEntry(
        path,
        "Heidelberg vol",
        lambda: read(path, options),
        laterality=layout.laterality,
        scan_pattern=layout.pattern,
        modalities=("OCT",) if 0 in layout.fundus_shape else ("OCT", "IR"),
        device=_DEVICE,
        shape=layout.shape,
    )


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a .vol file; the voxels are the grey levels that HEYEX shows.

    Raises
    ------
    ExamReadError
        If the file is truncated or its header contradicts its contents.
    """
    with reading(path, "a Heidelberg .vol file"):
        with FileIO(path) as file:
            layout = read_layout(path, file)
            check_volume_bytes(path, layout.shape, 4)
            fundus = _read_fundus(file, layout)
        voxels = _read_voxels(path, layout)
        return _exam(path, layout, voxels, fundus)
    raise AssertionError("unreachable")


def _exam(
    path: Path, layout: VolLayout, voxels: NDArray[np.uint8], fundus: NDArray[np.uint8] | None
) -> Exam:
    bscans, _, width = layout.shape
    header, headers = layout.header, layout.bscan_headers
    lateral = plausible_mm(header["lateral_mm"], *LATERAL_MM)
    width_mm = None if lateral is None else lateral * width
    lines = ScanLines(
        np.stack((headers["start_y_mm"], headers["start_x_mm"]), axis=1),
        np.stack((headers["end_y_mm"], headers["end_x_mm"]), axis=1),
    )
    geometry = scan_geometry(lines, layout.pattern, float(header["between_mm"]), width_mm)
    pattern = geometry.pattern
    between = geometry.between_mm if bscans > 1 else None
    spacing = (between, plausible_mm(header["axial_mm"], *AXIAL_MM), lateral)
    scale = (
        plausible_mm(header["fundus_row_mm"], *FUNDUS_MM),
        plausible_mm(header["fundus_column_mm"], *FUNDUS_MM),
    )
    bscans_apart = 1 if geometry.warnings else bscans  # which say it already
    warnings = (*spacing_warnings(spacing, bscans_apart, pattern), *geometry.warnings)
    enface = () if fundus is None else (EnFaceImage(fundus, "IR", scale),)
    locations = None
    rows_mm, columns_mm = scale
    if enface and (rows_mm is None or columns_mm is None or not lines.usable):
        warnings += (NO_PLACES,)
    elif enface and pattern == "circle" and layout.laterality is None:
        warnings += (NO_DIRECTION,)
    elif (
        enface
        and rows_mm is not None
        and columns_mm is not None
        and not (pattern is None and bscans == 1)
    ):
        locations = BScanLocations(
            lines.polylines(pattern, layout.laterality, width, (rows_mm, columns_mm))
        )
        warnings += lines.width_warning(pattern, width_mm)
    return Exam(
        OCTVolume(voxels, spacing),
        enface,
        locations,
        layout.laterality,
        pattern,
        device=_DEVICE,
        source=path,
        format="Heidelberg vol",
        warnings=warnings,
        patient=layout.patient,
    )


def _read_fundus(file: FileIO, layout: VolLayout) -> NDArray[np.uint8] | None:
    if 0 in layout.fundus_shape:
        return None
    pixels = np.empty(layout.fundus_shape, np.uint8)
    file.seek(FILE_HEADER.itemsize)
    _fill(file, pixels)
    return pixels


def _read_voxels(path: Path, layout: VolLayout) -> NDArray[np.uint8]:
    """Read and convert B-scan by B-scan in the same memory: fresh memory for all the floats costs more."""
    bscans, depth, width = layout.shape
    voxels = np.empty((bscans, depth * width), np.uint8)
    threads = min(_MAX_THREADS, os.cpu_count() or 1, bscans)
    if threads == 1:
        _read_bscans(path, layout, iter(range(bscans)), voxels)
    else:
        rest = iter(range(bscans))  # each thread takes the next, so that none waits for a slow one
        with ThreadPoolExecutor(threads) as pool:  # numpy lets go of the interpreter
            list(pool.map(lambda _: _read_bscans(path, layout, rest, voxels), range(threads)))
    return voxels.reshape(layout.shape)


def _read_bscans(
    path: Path, layout: VolLayout, share: Iterator[int], voxels: NDArray[np.uint8]
) -> None:
    block = np.empty(BLOCK, "<f4")
    with FileIO(path) as file:
        for index in share:
            file.seek(layout.first_bscan + index * layout.stride + layout.bscan_header_bytes)
            out = voxels[index]
            for start in range(0, out.size, BLOCK):
                samples = block[: out.size - start]
                _fill(file, samples)
                convert_block(samples, out[start : start + BLOCK])


def _fill(file: FileIO, values: NDArray[Any]) -> None:
    """Read into an array; a disk or network may give less at a time."""
    rest = values.data.cast("B")
    while rest:
        count = file.readinto(rest)
        if not count:
            raise ExamReadError(
                f"{Path(os.fspath(file.name)).name} is truncated: it ends within its voxels; export or copy it again."
            )
        rest = rest[count:]
