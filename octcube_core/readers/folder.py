"""A folder of B-scan images, optionally with fundus images and ``meta.json``.

Layout::

    exam/
        oct_000.png, oct_001.png, ...   the B-scans in natural order (any image suffix)
        ir.png, faf.png                 optional fundus images (any image suffix)
        meta.json                       optional; see `octcube_core.readers.folder_meta`

Hidden files, folders and files that are no images are passed over.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import EnFaceImage, Exam, Modality, OCTVolume
from octcube_core.readers.failures import (
    COLOURED_BSCANS,
    check_volume_bytes,
    reading,
    spacing_warnings,
)
from octcube_core.readers.folder_meta import META_FILE, FolderMeta, read_meta
from octcube_core.readers.image import read_header, read_pixels
from octcube_core.readers.intensity import display_intensities, luminance
from octcube_core.readers.options import NO_OPTIONS, ReadOptions

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}
_ENFACE: dict[str, Modality] = {"ir": "IR", "faf": "FAF"}
_LAST_NUMBER = re.compile(r"(.*?)(\d+)(\D*)", re.DOTALL)


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a folder of B-scan images.

    Returns
    -------
    Exam
        Volume of shape (number of images, rows, columns). The scan pattern is known only if
        ``meta.json`` states it.

    Raises
    ------
    ExamReadError
        If the folder holds no images, one is damaged, their sizes or types differ, B-scans are
        missing in their numbering, or ``meta.json`` is malformed.
    """
    bscans, enface_files = _list_images(path)
    _check_numbering(bscans)
    voxels, coloured = _read_stack(bscans)
    meta = read_meta(path / META_FILE) if (path / META_FILE).exists() else FolderMeta()
    enface = tuple(
        EnFaceImage(_fundus_pixels(file), modality, meta.enface_spacing_mm[modality])
        for modality, file in enface_files.items()
    )
    volume = OCTVolume(voxels, meta.spacing_mm)
    notes = spacing_warnings(volume.spacing_mm, len(voxels))
    return Exam(
        volume,
        enface,
        meta.locations_on(tuple(enface_files)),
        meta.laterality,
        meta.scan_pattern,
        meta.device,
        source=path,
        format="folder",
        warnings=(*notes, *((COLOURED_BSCANS,) if coloured else ()), *meta.warnings),
    )


def _list_images(folder: Path) -> tuple[list[Path], dict[Modality, Path]]:
    files = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    enface: dict[Modality, Path] = {}
    bscans: list[Path] = []
    for file in natsorted(files, key=lambda file: file.name):
        modality = _ENFACE.get(file.stem.lower())
        if modality is None:
            bscans.append(file)
        elif modality in enface:
            raise ExamReadError(
                f"{folder.name} holds both {enface[modality].name} and {file.name}; keep one."
            )
        else:
            enface[modality] = file
    if not bscans:
        raise ExamReadError(
            f"{folder.name} holds no B-scan images (PNG, JPEG, BMP or TIFF); open the folder that "
            "directly holds them, or a single exam file."
        )
    order: dict[Modality, int] = {"IR": 0, "FAF": 1}
    return bscans, dict(sorted(enface.items(), key=lambda item: order[item[0]]))


def _check_numbering(bscans: Sequence[Path]) -> None:
    """Refuse stacks in which a B-scan is missing or present twice, by the number in its name.

    Evenly spaced numbers (every other B-scan) are complete, and numbers with more holes than
    files are no frame numbers (time stamps, for instance).
    """
    parts = [_LAST_NUMBER.fullmatch(file.stem) for file in bscans]
    named = [part for part in parts if part]
    if len(named) < len(parts) or len({(part[1], part[3]) for part in named}) != 1:
        return
    numbers = sorted(int(part[2]) for part in named)
    steps = {after - before for before, after in pairwise(numbers)}
    folder = bscans[0].parent.name
    if 0 in steps:
        twice = next(n for n, after in pairwise(numbers) if n == after)
        raise ExamReadError(f"{folder} holds B-scan number {twice} twice; remove one of its files.")
    span = numbers[-1] - numbers[0] + 1
    if len(steps) <= 1 or span > 2 * len(numbers):
        return
    missing = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
    listed = ", ".join(str(number) for number in missing[:5]) + (", ..." if missing[5:] else "")
    raise ExamReadError(
        f"{folder} lacks B-scan number {listed} between {numbers[0]} and {numbers[-1]}; "
        "export or copy the volume again."
    )


def _read_stack(files: Sequence[Path]) -> tuple[NDArray[Any], bool]:
    first = read_header(files[0])
    for file in files[1:]:
        header = read_header(file)
        if header != first:
            raise ExamReadError(
                f"{file.name} is {header.shape[0]} x {header.shape[1]} pixels of {header.bits} "
                f"bits but {files[0].name} is {first.shape[0]} x {first.shape[1]} of {first.bits} "
                "bits; a folder must hold the B-scans of one volume only."
            )
    check_volume_bytes(files[0], (len(files), *first.shape), first.bits // 8)
    stack: list[NDArray[Any]] = []
    coloured = False
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for grey, has_colour in pool.map(_grey_pixels, files):
            stack.append(grey)
            coloured |= has_colour
    with reading(files[0].parent, "one volume"):
        return display_intensities(np.stack(stack)), coloured


def _grey_pixels(file: Path) -> tuple[NDArray[Any], bool]:
    pixels = read_pixels(file)
    return luminance(pixels) if pixels.ndim == 3 else (pixels, False)


def _fundus_pixels(file: Path) -> NDArray[Any]:
    read_header(file)
    pixels = read_pixels(file)
    if pixels.ndim == 3:
        grey, coloured = luminance(pixels)
        pixels = np.ascontiguousarray(pixels[..., :3]) if coloured else grey
    return display_intensities(pixels)
