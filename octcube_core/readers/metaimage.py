"""MetaImage files (.mhd with .raw or .zraw, or .mha), as in the RETOUCH data set.

The index order of the format is x, y, z from the fastest to the slowest; RETOUCH stores (width, depth, B-scans), which
is (bscan, depth, width) as an array. ElementSpacing is in mm: (lateral, axial, between B-scans). A spacing of 1 along
every axis is what ITK writes when none is known, and counts as unknown. The directions of the axes are taken as they
are stored: orientations (TransformMatrix) are made for scanners of the whole body and say nothing reliable on OCT.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.readers import mapped
from octcube_core.readers.axes import stated_spacing, volume_spacing, volume_view
from octcube_core.readers.failures import check_volume_bytes, reading, spacing_warnings
from octcube_core.readers.inflate import Inflater
from octcube_core.readers.intensity import display_intensities
from octcube_core.readers.metaimage_header import MetaImageHeader, read_header
from octcube_core.readers.options import NO_OPTIONS, ReadOptions
from octcube_core.readers.plausible import plausible_spacing


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a MetaImage header and the voxels it names; raw voxels above 512 MB are mapped.

    Raises
    ------
    ExamReadError
        If the header is malformed, or its data file is missing, truncated or outside the folder.
    """
    with reading(path, "a MetaImage file"):
        header = read_header(path)
        values = _values(path, header)
        voxels = display_intensities(volume_view(path, values, options.axes))
        stated = volume_spacing(stated_spacing(header.spacing_mm), options.axes)
        spacing, doubts = plausible_spacing(stated)
        volume = OCTVolume(voxels, spacing, mapped.shown_range(voxels))
    notes = doubts or spacing_warnings(volume.spacing_mm, len(voxels))
    return Exam(volume, source=path, format="MetaImage", warnings=notes)


def _values(path: Path, header: MetaImageHeader) -> NDArray[Any]:
    if len(header.files) <= 1:
        file = header.files[0] if header.files else path
        return _array(path, file, header, header.shape)
    if header.compressed or len(header.files) != header.shape[0]:
        raise ExamReadError(
            f"{path.name} lists {len(header.files)} files for {header.shape[0]} B-scans; export or copy it again."
        )
    check_volume_bytes(path, header.shape, header.dtype.itemsize)
    return np.stack([_array(path, file, header, header.shape[1:]) for file in header.files])


def _array(path: Path, file: Path, header: MetaImageHeader, shape: tuple[int, ...]) -> NDArray[Any]:
    size = math.prod(shape) * header.dtype.itemsize
    stored = file.stat().st_size
    offset = header.end
    if header.files:
        offset = header.skipped if header.skipped >= 0 else stored - size
    if not header.compressed:
        part_of = path.name if header.files else ""
        return mapped.stored_array(file, header.dtype, shape, offset, part_of=part_of, to_end=True)
    check_volume_bytes(path, shape, header.dtype.itemsize, stored=stored)
    with reading(path, "a MetaImage file"), file.open("rb") as stream:
        stream.seek(offset)
        inflater = Inflater(stream.read)
        values = inflater.into(size)
        inflater.finish(0)
    return values.view(header.dtype).reshape(shape)
