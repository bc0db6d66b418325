"""TIFF stacks: plain multi-page, ImageJ and OME-TIFF. Each page is one B-scan (depth, width).

OME-TIFF files written by this package hold the en-face images and all other facts as well; see `ome_exam`.
"""

from __future__ import annotations

import logging
import math
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.readers import mapped
from octcube_core.readers.axes import volume_spacing, volume_view
from octcube_core.readers.failures import (
    COLOURED_BSCANS,
    check_volume_bytes,
    reading,
    spacing_warnings,
)
from octcube_core.readers.intensity import display_intensities, luminance
from octcube_core.readers.ome_exam import OmeExam, check_ome, ome_exam, significant_bits
from octcube_core.readers.options import NO_OPTIONS, ReadOptions
from octcube_core.readers.plausible import plausible_spacing
from octcube_core.readers.tiff_directories import check_directories
from octcube_core.readers.tiff_photometric import photometric
from octcube_core.readers.tiff_segments import check_segments
from octcube_core.readers.tiff_spacing import tiff_spacing

_STACK_AXES = "ZTIQRC"
_TAG = re.compile(r"TiffTag (\d+)")
_FIRST_PRIVATE_TAG = 32768  # a vendor's broken private tag does no harm


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a TIFF stack as a volume of shape (pages, rows, columns).

    Uncompressed stacks above 512 MB are mapped where the pages lie one after another. ``options.axes`` says what the
    pages, rows and columns are, if not B-scans, depth and width.

    Raises
    ------
    ExamReadError
        If the file is truncated or damaged, or is not one stack of B-scans of equal size.
    """
    with reading(path, "a TIFF file"), _complaints() as complaints:
        with path.open("rb") as file:
            check_directories(path, file, path.stat().st_size)
        with tifffile.TiffFile(path) as tiff:
            xml = tiff.ome_metadata if tiff.is_ome else None
            if xml:
                check_ome(path, xml)
            series = tiff.series
            if len(series) > 1 and not xml:
                raise ExamReadError(
                    f"{path.name} holds pages of different size or type; a TIFF must hold one "
                    "stack of equal B-scans."
                )
            stated = ome_exam(path, xml, len(series)) if xml else OmeExam()
            values, stack_axis, coloured = _as_stack(path, *_values(path, tiff, series[0]))
            bits = significant_bits(xml) if xml else series[0].keyframe.bitspersample
            spacing, doubts = plausible_spacing(
                volume_spacing(
                    tiff_spacing(tiff, stack_axis)[0 if stack_axis else 1 :], options.axes
                )
            )
            pictures = [_picture(path, tiff, series[index]) for index in stated.images]
        if complaints:
            raise _damaged(path)
        voxels = display_intensities(volume_view(path, values, options.axes))
        spacing = stated.volume_spacing(spacing)
        black_white = stated.meta.value_range or mapped.shown_range(voxels, bits)
        volume = OCTVolume(voxels, spacing, black_white)
    known = any(value is not None for value in volume.spacing_mm)
    said = not known and (stated.meta.doubted_spacing or bool(doubts))
    unknown = (
        () if said else spacing_warnings(volume.spacing_mm, len(voxels), stated.meta.scan_pattern)
    )
    if known or stated.meta.doubted_spacing:
        doubts = ()
    notes = (*stated.warnings, *doubts, *unknown)
    notes += (COLOURED_BSCANS,) if coloured else ()
    return stated.exam(path, volume, pictures, "OME-TIFF" if xml else "TIFF", notes)


def _damaged(path: Path) -> ExamReadError:
    return ExamReadError(
        f"{path.name} is truncated or damaged: pages of the TIFF are missing; export or copy it "
        "again."
    )


@contextmanager
def _complaints() -> Iterator[list[str]]:
    """Faults that tifffile logs instead of raising: it goes on with fewer or black pages."""
    logged: list[str] = []
    reader = threading.get_ident()

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread != reader:
                return  # of a file that another thread reads
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


def _values(
    path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries, grey: bool = True
) -> tuple[NDArray[Any], str, bool]:
    """Samples of one image, its axes, and whether a palette coloured it; large ones that lie as they are get mapped."""
    _check_complete(path, tiff, series)
    meaning = photometric(path, series)
    if series.dtype is None or series.dtype.kind not in "uifb":
        raise ExamReadError(f"{path.name} holds samples that are no real numbers; export it again.")
    offset = series.dataoffset if series.dtype.kind != "b" else None
    alone = all(page is None or page.parent is tiff for page in series.pages)
    stored = tiff.filehandle.size if alone and offset is None else None
    check_volume_bytes(path, series.shape, series.dtype.itemsize, stored=stored)
    if (
        offset is not None
        and alone
        and meaning.as_stored
        and series.nbytes > mapped.MEMORY_MAP_BYTES
    ):
        dtype = series.dtype.newbyteorder(tiff.byteorder)
        values = mapped.stored_array(path, dtype, series.shape, offset)
    else:
        if offset is None:
            check_segments(path, tiff, series)
        values = series.asarray()
    # tifffile drops every axis of one sample, even rows and columns.
    sizes = dict(zip(series.get_axes(squeeze=False), series.get_shape(squeeze=False), strict=True))
    axes = "".join(axis for axis, size in sizes.items() if size > 1 or axis in "YX")
    values, coloured = meaning.shown(values.reshape([sizes[axis] for axis in axes]), grey)
    return values, axes + "S" * (values.ndim - len(axes)), coloured


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
        if series.dataoffset is None and len(page.dataoffsets) < math.prod(page.chunked):
            raise _damaged(path)


def _as_stack(
    path: Path, values: NDArray[Any], axes: str, coloured: bool
) -> tuple[NDArray[Any], str, bool]:
    """Values as (pages, rows, columns), the name of the stack axis ('' if none), coloured or not."""
    samples = axes.find("S")
    if samples < 0 and "C" in axes and values.shape[axes.index("C")] in (3, 4):
        samples = axes.index("C")
    if samples >= 0:
        values, coloured = luminance(np.moveaxis(values, samples, -1))
        axes = axes[:samples] + axes[samples + 1 :]
    if axes == "YX":
        return values, "", coloured
    if len(axes) == 3 and axes[1:] == "YX" and axes[0] in _STACK_AXES:
        return values, axes[0], coloured
    raise ExamReadError(
        f"{path.name} has the axes {axes} of sizes {values.shape}; export one volume as a stack of "
        "B-scans (ZYX)."
    )


def _picture(path: Path, tiff: tifffile.TiffFile, series: tifffile.TiffPageSeries) -> NDArray[Any]:
    """Pixels of an en-face image, grey or RGB."""
    values, axes, _ = _values(path, tiff, series, grey=False)
    if "S" in axes:
        values = np.moveaxis(values, axes.index("S"), -1)
    return display_intensities(np.ascontiguousarray(values))
