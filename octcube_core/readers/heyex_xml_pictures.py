"""The pictures beside a Heidelberg XML export: found by name alone, and stacked only if they fit together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.readers.failures import check_volume_bytes
from octcube_core.readers.image import read_header, read_pixels
from octcube_core.readers.intensity import display_intensities, luminance


def picture(path: Path, address: str) -> Path:
    """The file beside the XML that an address names; its folders are those of the computer of the export.

    Raises
    ------
    ExamReadError
        If it names none, or one that is missing.
    """
    name = re.split(r"[\\/]", address)[-1].strip()
    if name in ("", ".", "..") or not name.isprintable():
        raise ExamReadError(
            f"{path.name} lists an image without the name of its file; export it again."
        )
    file = path.parent / name
    if file.is_file():
        return file
    # Windows, where these are written, does not tell .TIF from .tif.
    for other in path.parent.iterdir():
        if other.name.lower() == name.lower() and other.is_file():
            return other
    raise ExamReadError(
        f"{path.name} lists the image {name}, which is missing beside it; copy the whole export folder."
    )


def read_stack(path: Path, files: list[Path]) -> tuple[NDArray[Any], bool]:
    """Decode the B-scans of a series, which must be different files of one size and depth.

    Returns
    -------
    voxels : array, shape (files, rows, columns)
    coloured : bool
        Whether any was coloured; then its luminance is taken.

    Raises
    ------
    ExamReadError
        If they do not make one volume.
    """
    if len(set(files)) < len(files):
        twice = next(file for file in files if files.count(file) > 1)
        raise ExamReadError(
            f"{path.name} lists the image {twice.name} for two B-scans; it is damaged, export it again."
        )
    headers = [read_header(file) for file in files]
    for file, header in zip(files, headers, strict=True):
        if not header.fits(headers[0]):
            raise ExamReadError(
                f"{file.name} differs in size or depth from {files[0].name}, the first B-scan of {path.name}; "
                "export them together again."
            )
    shape, bits = headers[0].shape, headers[0].bits
    stored = sum(file.stat().st_size for file in files)
    check_volume_bytes(path, (len(files), *shape), bits // 8, stored)
    voxels, any_coloured = np.empty((0,), np.uint8), False
    for index, file in enumerate(files):
        pixels, coloured = read_pixels(file), False
        if pixels.ndim == 3:
            pixels, coloured = luminance(pixels)
        pixels = display_intensities(pixels)
        if index == 0:
            voxels = np.empty((len(files), *shape), pixels.dtype)
        if pixels.dtype != voxels.dtype or pixels.shape != voxels.shape[1:]:
            raise ExamReadError(
                f"{file.name} is of another kind than {files[0].name}; export them together again."
            )
        voxels[index] = pixels
        any_coloured |= coloured
    return voxels, any_coloured
