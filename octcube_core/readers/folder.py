"""A folder of B-scan images, optionally with fundus images and ``meta.json``.

Layout::

    exam/
        oct_000.png, oct_001.png, ...   the B-scans in natural order (any image suffix)
        ir.png, faf.png, cfp.png,       optional en-face images (any image suffix); oct.png is a
        oct.png, fa.png, icga.png       projection of the volume
        meta.json                       optional; see `octcube_core.readers.folder_meta`

Hidden files, folders and files that are no images are passed over.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from natsort import natsorted
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import EnFaceImage, Exam, Modality, OCTVolume
from octcube_core.readers.entry import ExamEntry
from octcube_core.readers.failures import (
    COLOURED_BSCANS,
    check_volume_bytes,
    reading,
)
from octcube_core.readers.folder_meta import META_FILE, MODALITIES, FolderMeta, read_meta
from octcube_core.readers.folder_numbers import check_numbering
from octcube_core.readers.folder_pictures import without_results
from octcube_core.readers.image import (
    ImageHeader,
    decode_grey,
    read_content,
    read_header,
    read_pixels,
)
from octcube_core.readers.intensity import display_intensities, luminance, shown_range
from octcube_core.readers.options import NO_OPTIONS, ReadOptions

NOT_EVERY_BSCAN = (
    "The numbers of the B-scans leave some out, so that the distance between B-scans that meta.json states may be that "
    "of the full volume; it is not used."
)

_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}


def entry(path: Path) -> ExamEntry:
    """What names, ``meta.json`` and the first image tell of an exam; whatever is wrong is said when it is read."""
    bare = ExamEntry(path, "folder", lambda: read(path))
    try:
        bscans, enface = _list_images(path)
        rows, columns = read_header(bscans[0]).shape
        meta = _read_meta(path)
    except (ExamReadError, OSError):
        return bare
    return replace(
        bare,
        laterality=meta.laterality,
        scan_pattern=meta.scan_pattern,
        modalities=("OCT", *enface),
        device=meta.device,
        shape=(len(bscans), rows, columns),
    )


def _read_meta(path: Path) -> FolderMeta:
    return read_meta(path / META_FILE) if (path / META_FILE).exists() else FolderMeta()


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
    step = check_numbering(path, bscans)
    meta = _read_meta(path)
    voxels, coloured = _read_stack(bscans)
    enface = tuple(
        EnFaceImage(_enface_pixels(file), modality, meta.enface_spacing_mm(modality))
        for modality, file in enface_files.items()
    )
    between, axial, lateral = meta.spacing_mm
    notes: tuple[str, ...] = ()
    if step > 1 and between is not None:
        between, notes = None, (NOT_EVERY_BSCAN,)
    volume = OCTVolume(voxels, (between, axial, lateral), meta.value_range or shown_range(voxels))
    notes = notes or meta.spacing_warnings(len(voxels))
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
        for file in without_results(list(folder.iterdir()))
        if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".") and file.is_file()
    ]
    enface: dict[Modality, Path] = {}
    bscans: list[Path] = []
    for file in natsorted(files, key=lambda file: file.name):
        modality = MODALITIES.get(file.stem.lower())
        if modality is None:
            bscans.append(file)
        elif modality in enface:
            raise ExamReadError(
                f"{folder.name} holds both {enface[modality].name} and {file.name}; keep one."
            )
        else:
            enface[modality] = file
    if not bscans and "OCT" in enface:
        bscans.append(enface.pop("OCT"))  # with no other B-scan it is one, not a projection of them
    if not bscans:
        raise ExamReadError(
            f"{folder.name} holds no B-scan images (PNG, JPEG, BMP or TIFF); open the folder that "
            "directly holds them, or a single exam file."
        )
    return bscans, {image: enface[image] for image in MODALITIES.values() if image in enface}


def _read_stack(files: Sequence[Path]) -> tuple[NDArray[Any], bool]:
    """Decode the B-scans, each straight into its place in the volume."""
    first = read_header(files[0], read_content(files[0]))
    stored = sum(file.stat().st_size for file in files)
    check_volume_bytes(files[0].parent, (len(files), *first.shape), first.bits // 8, stored=stored)
    with reading(files[0].parent, "one volume"):
        stack = np.empty((len(files), *first.shape), first.dtype)

    def decode(index: int) -> bool:
        file = files[index]
        content = read_content(file)
        header = read_header(file, content)
        if not header.fits(first):
            raise _of_another_volume(file, header, files[0], first)
        with reading(file, "an image"):
            return decode_grey(file, content, header, stack[index])

    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        coloured = [*pool.map(decode, range(len(files)))]
    return display_intensities(stack), any(coloured)


def _of_another_volume(
    file: Path, header: ImageHeader, first_file: Path, first: ImageHeader
) -> ExamReadError:
    return ExamReadError(
        f"{file.name} is {header.shape[0]} x {header.shape[1]} pixels of {header.bits} bits but "
        f"{first_file.name} is {first.shape[0]} x {first.shape[1]} of {first.bits} bits; a folder "
        "must hold the B-scans of one volume only."
    )


def _enface_pixels(file: Path) -> NDArray[Any]:
    content = read_content(file)
    header = read_header(file, content)
    check_volume_bytes(file, (*header.shape, 3), header.bits // 8, stored=len(content))
    pixels = read_pixels(file, content)
    if pixels.ndim == 3:
        grey, coloured = luminance(pixels)
        pixels = np.ascontiguousarray(pixels[..., :3]) if coloured else grey
    return display_intensities(pixels)
