"""How fast exams open, against the least that opening them can cost, on synthetic files in a temporary folder.

The measured and the plain way take turns on the same files, so that the ratio holds on a busy machine too.
"""

from __future__ import annotations

import gc
import os
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from octcube_core.errors import InputError
from octcube_core.phantom import make_exam
from octcube_core.readers import read_exam

BSCANS_OF_SPECTRALIS = (61, 496, 768)
FEWEST_REPEATS = 15

# The start of the two headers of a .vol file, as much as a file without a patient needs; the rest is zero.
_VOL_HEADER = struct.Struct("<12s 3i 3d 2i 2d i d 4s Q 2i 1944x")
_VOL_BSCAN = struct.Struct("<12s i 4d 2i f 196x")
_VOL_RASTER = 3
_SLO = 768  # side of the fundus in pixels


@dataclass(frozen=True)
class _Race:
    name: str
    path: Path
    plain: Callable[[], object]
    allowed: float
    cores: int = 1  # by which the plain way's time is divided


def measure(
    shape: tuple[int, int, int] = BSCANS_OF_SPECTRALIS, repeats: int = FEWEST_REPEATS
) -> dict[str, Any]:
    """Time `read_exam` and the plain way to get the same bytes or pixels, in turn.

    Parameters
    ----------
    shape : (bscans, depth, width)
        Of the uint8 volume; at least 1 x 64 x 16.
    repeats : int
        The medians of so many measurements are given, but of no fewer than 15.

    Returns
    -------
    dict
        Ready for JSON. ``readers``: for DICOM (against pydicom's pixel array), .vol (against numpy reading its bytes)
        and a folder of PNGs (against decoding them one after another, divided by the cores) the ``seconds``,
        ``baseline_seconds``, the median ``ratio`` and the ratio ``allowed``.

    Raises
    ------
    InputError
        If the shape is too small.
    """
    if len(shape) != 3:
        raise InputError("A shape has three numbers: B-scans, depth samples, A-scans per B-scan.")
    repeats = max(repeats, FEWEST_REPEATS)
    voxels = make_exam(0, shape=shape).volume.voxels
    with TemporaryDirectory(prefix="octcube-bench-") as folder:
        races = _write(Path(folder), voxels)
        return {
            "shape": list(shape),
            "repeats": repeats,
            "cores": _cores(),
            "readers": [_run(race, repeats) for race in races],
        }


def _write(folder: Path, voxels: NDArray[np.uint8]) -> Iterable[_Race]:
    import pydicom

    # Each in a folder of its own: DICOM looks for neighbours.
    dicom = folder / "dicom" / "bench.dcm"
    vol = folder / "vol" / "bench.vol"
    pngs = folder / "pngs"
    for made in (dicom.parent, vol.parent, pngs):
        made.mkdir()
    write_dicom(dicom, voxels)
    write_vol(vol, voxels)
    for number, bscan in enumerate(voxels):
        Image.fromarray(bscan).save(pngs / f"oct_{number:03}.png")
    pictures = sorted(pngs.iterdir())
    return (
        _Race("dicom", dicom, lambda: pydicom.dcmread(dicom).pixel_array, 1.3),
        _Race("vol", vol, lambda: np.fromfile(vol, np.uint8), 1.5),
        _Race("png folder", pngs, lambda: [_decoded(file) for file in pictures], 1.2, _cores()),
    )


def _decoded(file: Path) -> NDArray[Any]:
    with Image.open(file) as picture:
        return np.asarray(picture)


def _run(race: _Race, repeats: int) -> dict[str, Any]:
    def ours() -> object:
        return read_exam(race.path)

    gc.collect()
    ours(), race.plain()  # imports, and the files into the system's cache
    seconds: list[float] = []
    baseline: list[float] = []
    for number in range(repeats):
        for is_ours in (True, False) if number % 2 else (False, True):
            (seconds if is_ours else baseline).append(_seconds(ours if is_ours else race.plain))
    baseline = [value / race.cores for value in baseline]
    return {
        "name": race.name,
        "seconds": median(seconds),
        "baseline_seconds": median(baseline),
        "ratio": median(a / b for a, b in zip(seconds, baseline, strict=True)),
        "allowed": race.allowed,
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    kept = work()  # freeing it is no part of opening
    elapsed = time.perf_counter() - start
    del kept
    return elapsed


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def write_dicom(path: Path, voxels: NDArray[np.uint8]) -> None:
    """Write voxels (bscan, depth, width) as an uncompressed Ophthalmic Tomography image without a patient."""
    from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
    from pydicom.sequence import Sequence
    from pydicom.uid import ExplicitVRLittleEndian, OphthalmicTomographyImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = OphthalmicTomographyImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = (
        OphthalmicTomographyImageStorage,
        meta.MediaStorageSOPInstanceUID,
    )
    data.Modality, data.ImageLaterality = "OPT", "R"
    data.NumberOfFrames, data.Rows, data.Columns = voxels.shape
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.00387, 0.0117], 0.12
    shared.PixelMeasuresSequence = Sequence([measures])
    data.SharedFunctionalGroupsSequence = Sequence([shared])
    data.PixelData = voxels.tobytes()
    data.save_as(path, enforce_file_format=True)


def write_vol(path: Path, voxels: NDArray[np.uint8]) -> None:
    """Write voxels (bscan, depth, width) as a Heidelberg .vol of reflectances with a blank fundus and no patient."""
    bscans, depth, width = voxels.shape
    lateral, between, axial = 0.0117, 0.12, 0.00387
    sizes = width, bscans, depth, lateral, between, axial, _SLO, _SLO, lateral, lateral
    rest = 30, 0.0, b"OD", 0, _VOL_RASTER, _VOL_BSCAN.size
    with path.open("wb") as file:
        file.write(_VOL_HEADER.pack(b"HSF-OCT-103", *sizes, *rest))
        file.write(bytes(_SLO * _SLO))
        for number, bscan in enumerate(voxels):
            row = 0.5 + between * number
            line = 0.0, row, lateral * (width - 1), row
            file.write(_VOL_BSCAN.pack(b"HSF-BS-103", _VOL_BSCAN.size, *line, 0, 0, 0.0))
            # The device stores the fourth power of what it shows.
            file.write(((bscan.astype(np.float32) / 255) ** 4).astype("<f4").tobytes())
