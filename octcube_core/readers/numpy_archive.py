"""NumPy .npz archives: the volume and what is known of it, each under its name.

==========================  =======================================================================
``volume`` (or ``oct``,     the volume (bscan, depth, width) or one B-scan (depth, width); in an
``images``, ``arr_0``)      archive with no such name, its only array of three axes
``ir``, ``faf``, ``cfp``,   en-face images: (rows, columns) or (rows, columns, 3); ``fa`` and
                            ``icga`` likewise. ``oct`` is an en-face image beside a ``volume``
``spacing_mm`` and others   the entries of ``meta.json`` by the same names (see `folder_meta`);
                            in a list of numbers NaN stands for unknown
``locations``               (bscan, points, 2): rows and columns on the ``ir`` image or, without
                            one, on the first
==========================  =======================================================================
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import EnFaceImage, Exam, Modality, OCTVolume
from octcube_core.readers import mapped
from octcube_core.readers.axes import volume_view
from octcube_core.readers.failures import check_volume_bytes, reading
from octcube_core.readers.folder_meta import KEYS, MODALITIES, FolderMeta, meta_from
from octcube_core.readers.intensity import display_intensities
from octcube_core.readers.options import NO_OPTIONS, ReadOptions

_VOLUME_NAMES = ("volume", "oct", "images", "arr_0")
_MAX_MEMBERS = 1000
_MAX_FACT_BYTES = 16 * 1024**2
_PIECE = 4 * 1024**2


class _Archive:
    """The arrays of an archive by name, none read before its size is known to be plausible."""

    def __init__(self, path: Path, file: zipfile.ZipFile) -> None:
        self.path, self.file = path, file
        members = [info for info in file.infolist() if info.filename.endswith(".npy")]
        if len(members) > _MAX_MEMBERS:
            raise ExamReadError(f"{path.name} holds {len(members):,} arrays; save one volume only.")
        self.members = {info.filename.removesuffix(".npy"): info for info in members}

    def header(self, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
        with self.file.open(self.members[name]) as stream:
            return _header(stream)

    def read(self, name: str) -> NDArray[Any]:
        """Read an array, and the checksum of its bytes with it."""
        member = self.members[name]
        with self.file.open(member) as stream:
            shape, fortran, dtype = _header(stream)
            if dtype.hasobject:
                raise ExamReadError(
                    f"{self.path.name} holds Python objects under '{name}', which are never read; "
                    "save plain numbers and texts."
                )
            stored = min(member.compress_size, self.path.stat().st_size)
            check_volume_bytes(self.path, shape, dtype.itemsize, stored=stored)
            values = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
            filled = 0
            while filled < len(values):
                piece = stream.read(min(_PIECE, len(values) - filled))
                if not piece:
                    raise EOFError
                values[filled : filled + len(piece)] = np.frombuffer(piece, np.uint8)
                filled += len(piece)
            if stream.read(1):
                raise ValueError("more bytes than the header states")
        return np.ndarray(shape, dtype, values.data, order="F" if fortran else "C")

    def fact(self, name: str) -> Any:
        """Plain Python value of a small array."""
        shape, _, dtype = self.header(name)
        if math.prod(shape) * dtype.itemsize > _MAX_FACT_BYTES:
            raise ExamReadError(f"{self.path.name} has a wrong '{name}': it is too large.")
        return self.read(name).tolist()


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a .npz archive; ``options.axes`` gives the order of the volume's axes.

    Raises
    ------
    ExamReadError
        If the archive is damaged, holds Python objects, or not exactly one volume.
    """
    with reading(path, "a NumPy archive"), path.open("rb") as file, zipfile.ZipFile(file) as zipped:
        archive = _Archive(path, zipped)
        name = _volume_name(path, archive)
        voxels = display_intensities(volume_view(path, archive.read(name), options.axes))
        meta = _meta(path, archive, name)
        enface = tuple(
            EnFaceImage(
                display_intensities(archive.read(image)), modality, meta.enface_spacing_mm(modality)
            )
            for image, modality in _pictures(archive, name).items()
        )
        black_white = meta.value_range or mapped.shown_range(voxels)
        volume = OCTVolume(voxels, meta.spacing_mm, black_white)
    return Exam(
        volume,
        enface,
        meta.locations_on(tuple(image.modality for image in enface)),
        meta.laterality,
        meta.scan_pattern,
        meta.device,
        source=path,
        format="NumPy archive",
        warnings=(*meta.spacing_warnings(len(voxels)), *meta.warnings),
    )


def _header(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read_header(stream)
    if any(size < 0 for size in shape):
        raise ValueError("negative size")
    return shape, fortran, dtype


def _volume_name(path: Path, archive: _Archive) -> str:
    for name in _VOLUME_NAMES:
        if name in archive.members:
            return name
    pictures = {*MODALITIES, *KEYS}
    stacks = [
        name
        for name in archive.members
        if name.lower() not in pictures and len(archive.header(name)[0]) == 3
    ]
    if len(stacks) == 1:
        return stacks[0]
    held = ", ".join(sorted(stacks)[:8]) or "none"
    raise ExamReadError(
        f"{path.name} must hold one array of three axes, or name it 'volume'; it holds {held}."
    )


def _pictures(archive: _Archive, volume: str) -> dict[str, Modality]:
    return {
        name: modality
        for name, modality in MODALITIES.items()
        if name in archive.members and name != volume
    }


def _meta(path: Path, archive: _Archive, volume: str) -> FolderMeta:
    facts: dict[str, Any] = {}
    for key in archive.members:
        if key == volume or key in MODALITIES:
            continue
        value = archive.fact(key) if key in KEYS else True
        if isinstance(value, list):
            value = [None if isinstance(x, float) and math.isnan(x) else x for x in value]
        facts[key] = value
    if isinstance(facts.get("locations"), list):
        pictures = list(_pictures(archive, volume))
        image = 0 if not pictures or "ir" not in pictures else pictures.index("ir")
        facts["locations"] = {"image": image, "polylines": facts["locations"]}
    return meta_from(facts, path.name)
