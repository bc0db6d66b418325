"""NIfTI-1 and NIfTI-2 files (.nii, .nii.gz); nibabel interprets the header.

The index order of the format is x, y, z from the fastest to the slowest, taken as (width, depth, B-scans), which is
(bscan, depth, width) as an array. Spacings count only if the header states their unit; 1 along every axis is what
libraries write when none is known. The orientation (sform, qform) is made for scanners of the whole body and says
nothing reliable on OCT: the directions of the axes are taken as they are stored.
"""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, OCTVolume, Spacing
from octcube_core.readers import mapped
from octcube_core.readers.axes import stated_spacing, volume_spacing, volume_view
from octcube_core.readers.failures import check_volume_bytes, reading, spacing_warnings
from octcube_core.readers.inflate import GZIP, Inflater
from octcube_core.readers.intensity import display_intensities
from octcube_core.readers.optional import optional_library
from octcube_core.readers.options import NO_OPTIONS, ReadOptions
from octcube_core.readers.plausible import plausible_spacing

_HEADER_BYTES = 540  # of NIfTI-2; NIfTI-1 has 348
_MAX_OFFSET = 64 * 1024**2  # room for extensions between header and voxels
_MM_PER_UNIT = {"mm": 1.0, "micron": 1e-3, "meter": 1e3}
_GZIP = b"\x1f\x8b"


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a NIfTI file; uncompressed voxels above 512 MB are mapped.

    Raises
    ------
    ExamReadError
        If the file is truncated, damaged or no volume of grey voxels, or nibabel is not installed.
    """
    nibabel = optional_library("nibabel", path)
    with reading(path, "a NIfTI file"):
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
            file.seek(0)
            head = Inflater(file.read, GZIP).read(_HEADER_BYTES) if packed else file.read(540)
        header = _header(path, nibabel, head)
        shape = _shape(path, header.get_data_shape())
        dtype, offset = header.get_data_dtype(), int(header.get_data_offset())
        if dtype.kind not in "uif":
            raise ExamReadError(
                f"{path.name} holds voxels that are no grey levels; export it anew."
            )
        if not 0 <= offset <= _MAX_OFFSET:
            raise ValueError("offset of the voxels")
        load = _unpacked if packed else _stored
        values = _scaled(load(path, dtype, shape, offset), header)
        voxels = display_intensities(volume_view(path, values.T, options.axes))
        stated = volume_spacing(_spacing(header, len(shape))[::-1], options.axes)
        spacing, doubts = plausible_spacing(stated)
        volume = OCTVolume(voxels, spacing, mapped.shown_range(voxels))
    notes = doubts or spacing_warnings(volume.spacing_mm, len(voxels))
    return Exam(volume, source=path, format="NIfTI", warnings=notes)


def _header(path: Path, nibabel: Any, head: bytes) -> Any:
    """Header of either version and byte order."""
    for kind, size, magic in (
        (nibabel.Nifti1Header, 348, slice(344, 348)),
        (nibabel.Nifti2Header, 540, slice(4, 8)),
    ):
        if int.from_bytes(head[:4], "little") != size and int.from_bytes(head[:4], "big") != size:
            continue
        if head[magic][:2] == b"ni":
            raise ExamReadError(
                f"{path.name} keeps its voxels in another file (.img); convert both into one .nii file."
            )
        if head[magic][:2] != b"n+":
            break
        return kind.from_fileobj(BytesIO(head), check=False)
    raise ValueError("no NIfTI header")


def _shape(path: Path, stated: tuple[int, ...]) -> tuple[int, ...]:
    shape = tuple(int(size) for size in stated)
    if len(shape) > 3 and all(size == 1 for size in shape[3:]):
        shape = shape[:3]
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ExamReadError(
            f"{path.name} states the sizes {' x '.join(map(str, shape))}; export one volume of three axes."
        )
    return shape


def _stored(path: Path, dtype: Any, shape: tuple[int, ...], offset: int) -> NDArray[Any]:
    return mapped.stored_array(path, dtype, shape, offset, order="F", to_end=True)


def _unpacked(path: Path, dtype: Any, shape: tuple[int, ...], offset: int) -> NDArray[Any]:
    check_volume_bytes(path, shape, dtype.itemsize, stored=path.stat().st_size)
    with path.open("rb") as file:
        inflater = Inflater(file.read, GZIP)
        inflater.into(offset)
        values = inflater.into(math.prod(shape) * dtype.itemsize)
        inflater.finish(0)
    flat: NDArray[Any] = values.view(dtype)
    return flat.reshape(shape, order="F")


def _scaled(values: NDArray[Any], header: Any) -> NDArray[Any]:
    slope, intercept = header.get_slope_inter()
    if slope is None or (slope, intercept or 0.0) == (1.0, 0.0):
        return values
    scaled: NDArray[Any] = np.multiply(values, np.float32(slope), dtype=np.float32)
    scaled += np.float32(intercept or 0.0)
    return scaled


def _spacing(header: Any, axes: int) -> tuple[Spacing, ...]:
    unit = _MM_PER_UNIT.get(str(header.get_xyzt_units()[0]))
    stated = stated_spacing([float(str(size)) for size in header["pixdim"][1 : axes + 1]])
    if unit is None:
        return (None,) * axes
    return tuple(
        value * unit if value is not None and math.isfinite(value) and value > 0 else None
        for value in stated
    )
