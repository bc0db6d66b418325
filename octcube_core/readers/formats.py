"""The formats that can be read, and how a file shows which it is.

A format is told by its content; the suffix matters only where a format has no signature. To add one, write a module
with ``read(path, options) -> Exam`` and add a row here. A format that may hold several exams, or whose header tells
cheaply what an exam is, has ``entries(path, options) -> Iterator[ExamEntry]`` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HEAD_BYTES = 4096

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_IMAGE = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"BM")
_DICOMDIR_CLASS = b"1.2.840.10008.1.3.10"


@dataclass(frozen=True)
class Format:
    """One row of the table.

    Attributes
    ----------
    name : str
    module : str
        Below `octcube_core.readers`.
    files : str
        Names of its files, for a person.
    gives : str
        What of an exam such a file states, for a person.
    matches : callable of (first bytes, path) -> bool
    suffixes : tuple of str
        Lower-case endings that claim this format.
    several : bool
        Whether the module has ``entries``.
    options : frozenset of str
        The fields of `ReadOptions` that it takes.
    extra : str
        The extra of this package that brings its library; empty if none is needed.
    library : str
        The module of that library.
    """

    name: str
    module: str
    files: str
    gives: str
    matches: Callable[[bytes, Path], bool]
    suffixes: tuple[str, ...] = ()
    several: bool = False
    options: frozenset[str] = frozenset()
    extra: str = ""
    library: str = ""


def _starts(*signatures: bytes) -> Callable[[bytes, Path], bool]:
    return lambda head, _path: head.startswith(signatures)


def _is_dicom(head: bytes, path: Path) -> bool:
    if head[128:132] == b"DICM":
        return True
    # Some exports lack the preamble and start with group 0002 or 0008, little endian.
    return path.suffix.lower() in (".dcm", ".dicom") and head[:2] in (b"\x02\0", b"\x08\0")


def _is_dicomdir(head: bytes, path: Path) -> bool:
    return head[128:132] == b"DICM" and (
        _DICOMDIR_CLASS in head[:512] or path.name.upper() == "DICOMDIR"
    )


def _is_heyex_vol(head: bytes, path: Path) -> bool:
    # eyepy, which writes such files too, signs them with its own version.
    return head.startswith(b"HSF-OCT") or (
        path.suffix.lower() == ".vol" and head.startswith(b"ep-v")
    )


def _is_heyex_xml(head: bytes, path: Path) -> bool:
    return path.suffix.lower() == ".xml" and (b"<HEDX" in head or b"<\0H\0E\0D\0X" in head)


def _has_suffix(*suffixes: str) -> Callable[[bytes, Path], bool]:
    return lambda _head, path: path.name.lower().endswith(suffixes)


_AXES = frozenset({"axes"})
_WITH_FUNDUS = "OCT with its fundus image, spacing, eye, device, places of the B-scans"

FORMATS = (
    Format(
        "DICOMDIR",
        "dicom_series",
        "DICOMDIR",
        "all exams of a DICOM medium",
        _is_dicomdir,
        several=True,
    ),
    Format("DICOM", "dicom", ".dcm and others", _WITH_FUNDUS, _is_dicom, (".dcm", ".dicom")),
    Format(
        "Heidelberg vol",
        "heyex_vol",
        ".vol",
        _WITH_FUNDUS,
        _is_heyex_vol,
        (".vol",),
        several=True,
    ),
    Format(
        "Heidelberg XML",
        "heyex_xml",
        ".xml with its images",
        _WITH_FUNDUS,
        _is_heyex_xml,
        several=True,
    ),
    Format(
        "Heidelberg E2E",
        "heyex_e2e",
        ".e2e",
        "OCT with its fundus image, axial spacing, eye, places of the B-scans; no lateral spacing",
        _starts(b"CMDb"),
        (".e2e",),
        several=True,
    ),
    Format(
        "Topcon",
        "topcon",
        ".fda, .fds",
        "OCT with its fundus image, spacing, eye, device, places of a raster's B-scans",
        _starts(b"FOCTFDA", b"FOCTFDS"),
        (".fda", ".fds"),
    ),
    Format(
        "Zeiss Cirrus",
        "cirrus_img",
        ".img",
        "OCT with the fundus image beside it, eye and nominal spacing by its name",
        _has_suffix(".img"),
        (".img",),
        options=frozenset({"shape"}),
    ),
    Format(
        "TIFF",
        "tiff",
        ".tif, .ome.tif",
        "OCT, spacing where stated",
        _starts(*_TIFF),
        (".tif", ".tiff"),
        options=_AXES,
    ),
    Format("NumPy", "numpy_file", ".npy", "OCT", _starts(b"\x93NUMPY"), (".npy",), options=_AXES),
    Format(
        "NumPy archive",
        "numpy_archive",
        ".npz",
        "OCT, fundus images, spacing and eye where stored",
        _has_suffix(".npz"),
        (".npz",),
        options=_AXES,
    ),
    Format(
        "MATLAB",
        "matlab",
        ".mat",
        "OCT, fundus image and what its variables state",
        _has_suffix(".mat"),
        (".mat",),
        options=_AXES,
        extra="formats",  # for MATLAB 7.3 alone
        library="h5py",
    ),
    Format(
        "MetaImage",
        "metaimage",
        ".mhd, .mha",
        "OCT, spacing",
        _has_suffix(".mhd", ".mha"),
        (".mhd", ".mha"),
        options=_AXES,
    ),
    Format(
        "NIfTI",
        "nifti",
        ".nii, .nii.gz",
        "OCT, spacing",
        _has_suffix(".nii", ".nii.gz"),
        (".nii",),
        options=_AXES,
        extra="formats",
        library="nibabel",
    ),
    Format(
        "image",
        "image",
        ".png, .jpg, .bmp",
        "one B-scan",
        _starts(*_IMAGE),
        (".png", ".jpg", ".jpeg", ".bmp"),
    ),
)
FOLDER = Format(
    "folder",
    "tree",
    "a folder",
    "B-scan images with ir.png, faf.png and meta.json; or exams of any format",
    lambda _head, path: path.is_dir(),
    several=True,
)
AIREADI = Format(
    "AI-READI",
    "aireadi",
    "folder with retinal_oct/manifest.tsv or .csv",
    "all exams of the data set, with their infrared or colour and autofluorescence images",
    lambda _head, path: path.is_dir(),
    several=True,
)
ALL_FORMATS = (*FORMATS, FOLDER, AIREADI)


def find_format(path: Path) -> Format | None:
    """The format of a file or folder, or None if it is none of ours.

    Raises
    ------
    OSError
        If it cannot be opened.
    """
    if path.is_dir():
        return FOLDER
    if not path.is_file():
        return None  # a pipe or a device would block
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    return next((entry for entry in FORMATS if entry.matches(head, path)), None)


def claims_a_format(path: Path) -> bool:
    """Whether the suffix is one of a format that can be read."""
    return any(path.suffix.lower() in entry.suffixes for entry in FORMATS)
