"""MATLAB .mat files of any version: a volume among the variables, and what is known of it.

The volume is the variable `images` (as in the Duke data sets), `volume`, `oct`, `BScans` or `vol`; else the only
numeric array of three axes; else the only matrix. MATLAB arrays are (depth, width, B-scans). `slo` or `ir` and `faf`
are en-face images. What HeyexImport and octSegmentation keep of a Heidelberg .vol header is understood; see
`matlab_heidelberg`. Objects, functions and cells are never looked into.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import EnFaceImage, Exam, Modality, OCTVolume
from octcube_core.readers import mapped
from octcube_core.readers.axes import volume_view
from octcube_core.readers.failures import reading, spacing_warnings
from octcube_core.readers.intensity import display_intensities
from octcube_core.readers.matlab_heidelberg import KEYS, HeidelbergFacts
from octcube_core.readers.matlab_v4 import MatlabV4
from octcube_core.readers.matlab_v5 import MatlabV5
from octcube_core.readers.matlab_v73 import SIGNATURE as HDF5
from octcube_core.readers.matlab_v73 import MatlabV73
from octcube_core.readers.options import NO_OPTIONS, ReadOptions

MATLAB_AXES = "yxz"

_VOLUMES = ("images", "volume", "oct", "bscans", "vol")
_ENFACE: dict[str, Modality] = {"slo": "IR", "ir": "IR", "faf": "FAF"}
_BSCAN = re.compile(r"B(\d+)")
_SMALLEST = 8  # samples along each side of a B-scan; less is a table
_NAMED = 6

_MatFile = MatlabV4 | MatlabV5 | MatlabV73
_Shapes = dict[str, tuple[int, ...]]


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a .mat file; uncompressed volumes above 512 MB are mapped.

    ``options.axes`` gives the order of the volume's axes in MATLAB, 'yxz' when it does not.

    Raises
    ------
    ExamReadError
        If the file is damaged, or holds no volume, or several of which none is named as one.
    """
    with reading(path, "a MATLAB file"), _opened(path) as mat:
        shapes = mat.arrays()
        names = _volume_names(path, shapes)
        heidelberg = HeidelbergFacts(mat.facts(KEYS))
        values = [mat.read(name) for name in names]
        stack = values[0] if len(values) == 1 else np.stack(values, axis=-1)
        voxels = volume_view(path, stack, options.axes, MATLAB_AXES)
        is_heidelberg = heidelberg.describes(voxels.shape)
        voxels = heidelberg.shown(voxels) if is_heidelberg else display_intensities(voxels)
        enface = _enface(mat, shapes, names)
        spacing = heidelberg.spacing() if is_heidelberg else (None, None, None)
        volume = OCTVolume(voxels, spacing, mapped.shown_range(voxels))
        pictures = tuple(
            EnFaceImage(
                pixels,
                modality,
                heidelberg.enface_spacing(pixels.shape) if modality == "IR" else (None, None),
            )
            for modality, pixels in enface.items()
        )
    notes = spacing_warnings(volume.spacing_mm, len(voxels))
    if not is_heidelberg:
        return Exam(volume, pictures, source=path, format="MATLAB", warnings=notes)
    geometry = heidelberg.geometry
    pattern = geometry.pattern
    notes = (
        *spacing_warnings(volume.spacing_mm, 1 if geometry.warnings else len(voxels), pattern),
        *geometry.warnings,
    )
    locations, doubts = heidelberg.places(volume.shape, pictures)
    return Exam(
        volume,
        pictures,
        locations,
        heidelberg.laterality,
        pattern,
        source=path,
        format="MATLAB",
        warnings=(*notes, *doubts),
        patient=heidelberg.patient(),
    )


def _opened(path: Path) -> _MatFile:
    with path.open("rb") as file:
        head = file.read(528)
    if head[512:520] == HDF5 or head.startswith(HDF5):
        return MatlabV73(path)
    if MatlabV5.starts(head):
        return MatlabV5(path)
    if MatlabV4.starts(head):
        return MatlabV4(path)
    raise ValueError("no MATLAB file")


def _volume_names(path: Path, shapes: _Shapes) -> list[str]:
    """The variable that is the volume, or those that are its B-scans one by one."""
    by_name = {name.lower(): name for name in reversed(shapes)}
    for name in _VOLUMES:
        if name in by_name and len(shapes[by_name[name]]) in (2, 3):
            return [by_name[name]]
    numbered = sorted((int(match[1]), name) for name in shapes if (match := _BSCAN.fullmatch(name)))
    if numbered and len({shapes[name] for _, name in numbered}) == 1:
        if [number for number, _ in numbered] != [*range(numbered[0][0], numbered[-1][0] + 1)]:
            raise ExamReadError(f"{path.name} lacks one of the B-scans B0, B1, ...; save it again.")
        return [name for _, name in numbered]
    for axes in (3, 2):
        found = [
            name
            for name, shape in shapes.items()
            if len(shape) == axes and min(shape[:2]) >= _SMALLEST and name.lower() not in _ENFACE
        ]
        if len(found) == 1:
            return found
        if found:
            listed = ", ".join(found[:_NAMED]) + (", ..." if found[_NAMED:] else "")
            raise ExamReadError(
                f"{path.name} holds several arrays that may be the volume ({listed}); rename the one that is "
                "the volume to 'images'."
            )
    raise ExamReadError(f"{path.name} holds no numeric array of three axes; save one volume in it.")


def _enface(mat: _MatFile, shapes: _Shapes, volume: list[str]) -> dict[Modality, NDArray[Any]]:
    found: dict[Modality, NDArray[Any]] = {}
    for name, shape in shapes.items():
        modality = _ENFACE.get(name.lower())
        if modality is None or name in volume or modality in found or min(shape) < _SMALLEST:
            continue
        if len(shape) == 2:
            found[modality] = np.ascontiguousarray(display_intensities(mat.read(name)))
    return found
