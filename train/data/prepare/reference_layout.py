r"""The folders that the reference implementation (OCTCube-M) trains from.

What its dataset classes and its dataset page say, as published:

- In-house volumes: ``ROOT/PATIENT/macOCT/VISIT/`` with ``oct-000.png``, ``oct-001.png``, ... (its code; ``oct_000.png``
  on its page), ``ir.png`` and optionally ``oct.json`` and ``ir.json``. Such a folder is one exam, which the reader of
  image folders opens; the patient and the visit are the names of the folders. Eye, age and diseases stand in pickles
  and the keys of the two JSON files are not published, so none of these is read: eye and spacing stay unknown.
- Public data sets: ``ROOT/CLASS/`` with the B-scans of all patients of a class side by side. The file name, split at
  ``_``, holds the patient, the visit and last the number of the B-scan. Where patients are counted anew in each class,
  the reference calls them ``CLASS_PATIENT``, and so does this module.
- Cached volumes: ``ROOT/CLASS/NAME.npy``, (B-scans, depth, width), or (B-scans, channels, depth, width) with equal
  channels; the name is split at ``-``.

`NAMES` has the names of its public data sets: Duke14 (Srinivasan), UMN, OIMHS, HCMS (before and after its notebook)
and GLAUCOMA (Zenodo 1481223). For others the user states a pattern with the same groups: ``patient``, and optionally
``slice``, ``visit``, ``eye`` and ``group`` (a class in which patients are counted anew).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from natsort import natsorted

from octcube_core.errors import ExamReadError, InputError
from octcube_core.exam import Exam, Laterality, OCTVolume
from octcube_core.readers.failures import NO_SPACING, check_volume_bytes, reading
from octcube_core.readers.folder_meta import EYES, MODALITIES
from octcube_core.readers.folder_numbers import check_numbering
from octcube_core.readers.folder_pictures import PICTURES
from octcube_core.readers.image import decode_grey, read_content, read_header
from octcube_core.readers.intensity import display_intensities, shown_range

MACULAR_OCT = "macOCT"
_MACULA = r"spectralis_macula_v(?P<visit>\d+)_s\d+_(?P<eye>[RL])"
NAMES = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"(?P<group>AMD|DME|NORMAL)_(?P<patient>\d+)_(?P<slice>\d+)",
        r"(?P<group>AMD|DME)_oct_(?P<patient>\d+)_(?P<slice>\d+)",
        r"(?P<visit>\d+)_stage_\d+_(?P<patient>\d+)_(?P<slice>\d+)",
        rf"(?P<patient>(?:hc|ms)\d+)_{_MACULA}_(?P<slice>\d+)",
        rf"(?P<group>hc|ms)_{_MACULA}_(?P<patient>\d+)_(?P<slice>\d+)",
        r"(?:POAG|Normal)-(?P<patient>\d+)(?:-(?P<visit>.+))?-(?P<eye>OD|OS)",
    )
)


@dataclass(frozen=True)
class Named:
    """What a file's name tells."""

    patient: str
    visit: str | None = None
    laterality: Laterality | None = None


def name_pattern(text: str) -> re.Pattern[str]:
    """Compile a user's pattern; InputError if it is none or has no group ``patient``."""
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise InputError(f"--names {text!r} is no regular expression ({error}).") from error
    known = {"patient", "slice", "visit", "eye", "group"}
    if "patient" not in pattern.groupindex or set(pattern.groupindex) - known:
        raise InputError(
            "--names needs a group (?P<patient>...) and may have slice, visit, eye and group, no others."
        )
    return pattern


def named(stem: str, patterns: Sequence[re.Pattern[str]]) -> Named | None:
    """What the name of a file, without its suffix, tells by the first pattern that fits all of it."""
    for pattern in patterns:
        if match := pattern.fullmatch(stem):
            parts = match.groupdict()
            group, patient = parts.get("group"), parts["patient"]
            eye = EYES.get((parts.get("eye") or "").lower())
            return Named(f"{group}_{patient}" if group else patient, parts.get("visit"), eye)
    return None


def series_in(
    folder: Path, patterns: Sequence[re.Pattern[str]]
) -> list[tuple[Named, list[Path]]] | None:
    """The volumes whose B-scans lie side by side in a folder, in natural order; None if the names fit no pattern."""
    series: dict[Named, list[Path]] = {}
    for file in natsorted(folder.iterdir(), key=lambda file: file.name):
        if file.suffix.lower() not in PICTURES or file.stem.lower() in MODALITIES:
            continue
        if (told := named(file.stem, patterns)) is None:
            return None
        series.setdefault(told, []).append(file)
    return list(series.items()) or None


def read_series(folder: Path, files: Sequence[Path], laterality: Laterality | None) -> Exam:
    """Read the B-scans of one volume that lie among those of others.

    Raises
    ------
    ExamReadError
        If one is damaged or missing, or their sizes differ.
    """
    check_numbering(folder, files)
    first = read_header(files[0])
    check_volume_bytes(files[0], (len(files), *first.shape), first.bits // 8)
    voxels = np.empty((len(files), *first.shape), first.dtype)
    for number, file in enumerate(files):
        content = read_content(file)
        header = read_header(file, content)
        if not header.fits(first):
            raise ExamReadError(
                f"{file.name} differs in size or type from {files[0].name}; the B-scans of a volume must be alike."
            )
        with reading(file, "an image"):
            decode_grey(file, content, header, voxels[number])
    shown = display_intensities(voxels)
    return Exam(
        OCTVolume(shown, value_range=shown_range(shown)),
        laterality=laterality,
        source=folder,
        format="folder",
        warnings=(NO_SPACING,),
    )


def read_cached(path: Path) -> Exam:
    """Read a .npy of four axes (B-scans, channels, depth, width), whose channels are equal."""
    with reading(path, "a NumPy array of numbers"):
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        grey = display_intensities(np.ascontiguousarray(values[:, 0]))
        volume = OCTVolume(grey, value_range=shown_range(grey))
    return Exam(volume, source=path, format="NumPy", warnings=(NO_SPACING,))


def has_channels(path: Path) -> bool:
    """Whether a .npy file holds an array of four axes."""
    try:
        return bool(np.load(path, mmap_mode="r", allow_pickle=False).ndim == 4)
    except (OSError, ValueError, EOFError):
        return False
