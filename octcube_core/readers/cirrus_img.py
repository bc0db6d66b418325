"""Zeiss Cirrus .img files: raw voxels, one byte each, and nothing else.

Research exports only; Zeiss publishes no description. What is known comes from readers that agree (JHU's
octCirrusReader, RETIMAT, OctData): A-scans vary fastest, then depth, then B-scans, and each B-scan is turned by 180
degrees: depth runs upwards and the A-scans from right to left. B-scans run from superior to inferior (RETIMAT; the
other two turn their order into the one of Heidelberg .vol files, from inferior to superior).

The name tells the rest: ``ID_Macular Cube 512x128_M-D-YYYY_H-M-S_OD_sn1234_cube_z.img`` (or ``cube_raw``). The fundus
image of the line-scanning ophthalmoscope lies beside it as ``…_sn1234_lslo.bin``: 512 rows of 664 pixels.
"""

from __future__ import annotations

import datetime
import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from octcube_core.errors import ExamReadError
from octcube_core.exam import (
    EnFaceImage,
    Exam,
    Laterality,
    OCTVolume,
    Patient,
    ScanPattern,
    Spacing,
)
from octcube_core.readers.failures import (
    MEMORY_MAP_BYTES,
    NO_SPACING,
    check_volume_bytes,
    reading,
    spacing_warnings,
)
from octcube_core.readers.options import NO_OPTIONS, ReadOptions

_DEPTH = 1024
_LSLO_SHAPE = (512, 664)
_CUBES = ((128, _DEPTH, 512), (200, _DEPTH, 200))  # told by their size alone
_NOMINAL_MM = (6.0, 2.0, 6.0)  # B-scans, depth, A-scans of Macular Cube and Optic Disc Cube
_ASK = "give its shape with --shape BSCANS,DEPTH,WIDTH"
_NAME = re.compile(
    r"(?:(?P<id>.+)_)?(?P<protocol>[^_]+)_(?P<month>\d{1,2})-(?P<day>\d{1,2})-(?P<year>\d{4})"
    r"_\d{1,2}-\d{1,2}-\d{1,2}_(?P<eye>OD|OS)_sn\d+_(?P<kind>.+)",
    re.IGNORECASE,
)
_GRID = re.compile(r"(?<!\d)(\d{2,4})x(\d{2,4})(?!\d|\s?mm)", re.IGNORECASE)
_LINES = re.compile(r"\bHD (5|21) Line", re.IGNORECASE)
_EYE = re.compile(r"(?<![A-Za-z0-9])(OD|OS)(?![A-Za-z0-9])")


@dataclass(frozen=True)
class _Name:
    """What the name of a file tells."""

    protocol: str = ""
    kind: str = ""
    laterality: Laterality | None = None
    lslo: str = ""
    patient: Patient = field(default_factory=Patient)

    @property
    def crossing(self) -> bool:
        """Whether these are the two crossing B-scans that go with a cube."""
        return self.kind.lower().startswith("hidef")

    @property
    def grid(self) -> tuple[int, int] | None:
        """(B-scans, A-scans), if the protocol's name has them."""
        if self.crossing:
            return None  # the grid is that of the cube to which they belong
        found = _GRID.search(self.protocol)
        return (int(found[2]), int(found[1])) if found else None

    @property
    def lines(self) -> int | None:
        """Number of B-scans of a line raster."""
        found = _LINES.search(self.protocol)
        return int(found[1]) if found else None

    @property
    def nominal(self) -> bool:
        """Whether it is a protocol known to be of 6 x 6 x 2 mm."""
        name = self.protocol.lower().replace(" ", "")
        return name.endswith(("macularcube512x128", "macularcube200x200", "opticdisccube200x200"))


def read(path: Path, options: ReadOptions = NO_OPTIONS) -> Exam:
    """Read a Cirrus cube; ``options.shape`` is needed when neither the name nor the size tells its dimensions.

    Volumes above 512 MB stay in the file. Spacings are the protocol's nominal ones, with a warning, and only if the
    name states a protocol whose size is known.

    Raises
    ------
    ExamReadError
        If the dimensions are unknown, or the size of the file is not that of the cube.
    """
    with reading(path, "a Zeiss Cirrus .img file"):
        _refuse_analyze(path)
        name = _parse_name(path)
        shape, warnings = _shape(path, name, options.shape)
        check_volume_bytes(path, shape, 1)
        stored = np.memmap(path, np.uint8, "r", shape=shape)
        # JHU's reader does not turn the crossing B-scans from left to right.
        voxels = stored[:, ::-1] if name.crossing else stored[:, ::-1, ::-1]
        if stored.nbytes <= MEMORY_MAP_BYTES:
            voxels = np.ascontiguousarray(voxels)
        spacing, spacing_note = _spacing(name, shape)
        enface, enface_warnings = _lslo(path, name)
        return Exam(
            OCTVolume(voxels, spacing),
            enface=enface,
            laterality=name.laterality,
            scan_pattern=_pattern(name),
            device="Zeiss Cirrus",
            source=path,
            format="Zeiss Cirrus",
            warnings=(*warnings, *spacing_note, *enface_warnings),
            patient=name.patient,
        )
    raise AssertionError("unreachable")


def _refuse_analyze(path: Path) -> None:
    header = next(
        (path.with_suffix(s) for s in (".hdr", ".HDR") if path.with_suffix(s).exists()), None
    )
    if header is not None:
        raise ExamReadError(
            f"{path.name} belongs to an Analyze or NIfTI pair with {header.name}; save it as .nii.gz and open that."
        )


def _parse_name(path: Path) -> _Name:
    match = _NAME.fullmatch(path.stem)
    if match is None:
        eyes = set(_EYE.findall(path.stem.replace("_", " ")))
        eye: Laterality | None = None
        if len(eyes) == 1:
            eye = "OD" if eyes == {"OD"} else "OS"
        return _Name(protocol=path.stem, laterality=eye)
    try:
        day = datetime.date(int(match["year"]), int(match["month"]), int(match["day"]))
        exam_date: str | None = day.isoformat()
    except ValueError:
        exam_date = None
    return _Name(
        match["protocol"],
        match["kind"],
        "OD" if match["eye"].upper() == "OD" else "OS",
        path.stem[: match.start("kind")] + "lslo.bin",
        Patient(id=match["id"], exam_date=exam_date),
    )


def _shape(
    path: Path, name: _Name, given: tuple[int, int, int] | None
) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Dimensions (bscan, depth, width) that the user, the name or the size gives, and what to say of them."""
    size = path.stat().st_size
    if size == 0:
        raise ExamReadError(f"{path.name} is empty; copy or export it again.")
    if given is not None:
        if math.prod(given) != size:
            raise ExamReadError(
                f"{path.name} has {size} bytes, not the {math.prod(given)} of the given shape "
                f"{','.join(map(str, given))}; {_ASK} as it was scanned."
            )
        if name.grid == (given[0], given[2]) or name.lines == given[0]:
            return given, ()
        return given, (
            "The B-scans are taken to be stored as in a Cirrus cube, upside down and mirrored.",
        )
    if name.grid is not None:
        bscans, width = name.grid
        if bscans * _DEPTH * width != size:
            raise ExamReadError(
                f"{path.name} has {size} bytes, but its name states {width} x {bscans} A-scans, which make "
                f"{bscans * _DEPTH * width} bytes; copy or export it again, or {_ASK}."
            )
        return (bscans, _DEPTH, width), ()
    if name.lines is not None:
        for width in (1024, 4096):
            if name.lines * _DEPTH * width == size:
                return (name.lines, _DEPTH, width), ()
    known = [cube for cube in _CUBES if math.prod(cube) == size]
    if known and not name.kind:
        bscans, _, width = known[0]
        return known[0], (
            f"The file does not state its dimensions; by its size it is taken for a cube of {width} x {bscans} "
            "A-scans.",
        )
    raise ExamReadError(
        f"{path.name} has {size} bytes, from which its dimensions cannot be told; {_ASK}."
    )


def _spacing(
    name: _Name, shape: tuple[int, int, int]
) -> tuple[tuple[Spacing, Spacing, Spacing], tuple[str, ...]]:
    bscans, depth, width = shape
    if not name.nominal or name.grid != (bscans, width) or depth != _DEPTH:
        return (None, None, None), (NO_SPACING,)
    # The first and the last sample are taken to lie on the border of the cube (a difference of at most 0.8 %).
    between, axial, lateral = (
        mm / (count - 1) for mm, count in zip(_NOMINAL_MM, shape, strict=True)
    )
    spacing = (between, axial, lateral)
    return spacing, (
        "The spacing is nominal: the file states only its protocol, whose cube is 6 x 6 x 2 mm in an average eye.",
        *spacing_warnings(spacing, bscans),
    )


def _pattern(name: _Name) -> ScanPattern | None:
    if name.crossing:
        return "line"
    return "raster" if name.grid is not None or name.lines is not None else None


def _lslo(path: Path, name: _Name) -> tuple[tuple[EnFaceImage, ...], tuple[str, ...]]:
    """The fundus image beside the cube, if it is there and of the right size."""
    beside = path.with_name(name.lslo) if name.lslo else None
    if beside is None or not beside.is_file():
        return (), ()
    if beside.stat().st_size != math.prod(_LSLO_SHAPE):
        return (), (
            "The fundus image beside the file (lslo.bin) has an unknown size and is left out.",
        )
    pixels = np.fromfile(beside, np.uint8).reshape(_LSLO_SHAPE)
    return (EnFaceImage(pixels, "IR"),), ()
