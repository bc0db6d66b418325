"""The fundus images that belong to an OCT file, among the files beside it.

Those it refers to by SOP Instance UID come first, then those of the same patient, study and eye. Nothing of another
patient or of the other eye is ever taken, whatever refers to it.
"""

from __future__ import annotations

import os
import time
from bisect import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from octcube_core.exam import Laterality
from octcube_core.readers.dicom_elements import REFERENCED_IMAGE, REFERENCED_INSTANCE, items, text
from octcube_core.readers.dicom_file import OPT, PHOTOGRAPHS, DicomFile, read_file, read_summary
from octcube_core.readers.dicom_location import named_images
from octcube_core.readers.dicom_values import stated_items, stated_text

NOT_FOUND = (
    "The fundus image that the file refers to is not among the files beside it; the places of the B-scans on it are "
    "unknown."
)
NOT_SAME_EYE = (
    "The fundus image that the file refers to is of another patient or eye; it is left out."
)
ONE_OF_SEVERAL = (
    "This is one of {count} B-scans of a series that are saved in files of their own; open their folder to see them "
    "as a volume."
)
MOST_SECONDS = 2.0  # for looking around

_MOST_FILES = 400
_MOST_IMAGES = 16


@dataclass(frozen=True, eq=False)
class Pairing:
    """The en-face files of an OCT file, the localizer first."""

    files: tuple[DicomFile, ...]
    warnings: tuple[str, ...] = ()


def files_beside(path: Path) -> Iterator[Path]:
    """Other files in the folder of a file, those of like names first."""
    yield from _files_in(path.parent, path)


def _files_in(folder: Path, but: Path) -> Iterator[Path]:
    try:
        with os.scandir(folder) as found:
            names = sorted(
                entry.name
                for entry, _ in zip(found, range(20 * _MOST_FILES), strict=False)
                if entry.name != but.name or folder != but.parent
            )
    except OSError:
        return
    own = bisect(names, but.name)
    for name in sorted(names, key=lambda name: abs(bisect(names, name) - own)):
        candidate = folder / name
        if candidate.is_file():
            yield candidate


def _same_export(path: Path) -> Iterator[Path]:
    """Files in the folders beside that of a file, and in the one above."""
    above = path.absolute().parent.parent
    yield from _files_in(above, path)
    try:
        with os.scandir(above) as found:
            folders = sorted(
                entry.name
                for entry, _ in zip(found, range(_MOST_FILES), strict=False)
                if entry.is_dir(follow_symlinks=False) and entry.name != path.parent.name
            )
    except OSError:
        return
    for name in folders:
        yield from _files_in(above / name, path)


def find_photographs(file: DicomFile) -> Pairing:
    """En-face files for an OCT file: beside it, and those it refers to also in other folders of the same export."""
    wanted = references(file)
    deadline = time.monotonic() + MOST_SECONDS
    beside = _summaries(files_beside(file.path), deadline)
    there = {found.instance for found in beside}
    stack = stack_of(file)
    alike = {found.instance for found in beside if stack_of(found) == stack} - {file.instance}
    missing = [name for name in named_images(file) or wanted if name not in there]
    if missing:
        for found in _iterate_summaries(_same_export(file.path), deadline):
            if found.instance in wanted:
                beside.append(found)
                if found.instance in missing:
                    missing.remove(found.instance)
                if not missing:
                    break
    pairing = pair(file, beside, wanted)
    notes = (ONE_OF_SEVERAL.format(count=len(alike) + 1),) if alike else ()
    return Pairing(pairing.files, (*pairing.warnings, *notes))


def photographs_around(path: Path, deadline: float) -> list[DicomFile]:
    """En-face files in the folder of a file and in those of the same export, as far as a deadline allows."""
    return [
        found
        for files in (files_beside(path), _same_export(path))
        for found in _iterate_summaries(files, deadline)
        if found.sop_class in PHOTOGRAPHS
    ]


def stack_of(file: DicomFile) -> tuple[str, ...]:
    """What files of one B-scan each share if they make one volume; the path for files that are one by themselves."""
    series = file.text("SeriesInstanceUID")
    if file.text("NumberOfFrames") not in ("", "1") or not series or file.sop_class != OPT:
        return (str(file.path),)
    eye = file.laterality()[0] or ""
    return (series, file.text("Rows"), file.text("Columns"), eye, file.text("PatientID"))


def pair(file: DicomFile, candidates: Sequence[DicomFile], wanted: Sequence[str] = ()) -> Pairing:
    """Choose among files those that belong to an OCT file.

    Parameters
    ----------
    file : DicomFile
    candidates : sequence of DicomFile
        Headers or summaries of any files.
    wanted : sequence of str
        SOP Instance UIDs that it refers to, the localizer's first; by default read from the file.
    """
    wanted = wanted or references(file)
    photographs = {
        found.instance: found for found in reversed(candidates) if found.sop_class in PHOTOGRAPHS
    }
    referred = [photographs[instance] for instance in wanted if instance in photographs]
    fitting = [found for found in referred if not contradict(file, found)]
    others = [
        found for found in photographs.values() if found not in referred and same_exam(file, found)
    ]
    others.sort(key=lambda found: found.path.name)
    placed_on = named_images(file)
    notes: tuple[str, ...] = ()
    if len(fitting) < len(referred):
        notes = (NOT_SAME_EYE,)
    elif placed_on and not any(found.instance in placed_on for found in fitting):
        notes = (NOT_FOUND,)
    return Pairing(tuple([*fitting, *others][:_MOST_IMAGES]), notes)


def references(file: DicomFile) -> list[str]:
    """SOP Instance UIDs of the images that a file refers to, those on which B-scans are placed first."""
    found = dict.fromkeys(named_images(file))
    for group in (file.shared, *file.frame_groups):
        for item in items(group, REFERENCED_IMAGE) if REFERENCED_IMAGE in group else ():
            found.setdefault(text(item, REFERENCED_INSTANCE))
    listed = stated_items(file.head, "ReferencedImageSequence")
    for series in stated_items(file.head, "ReferencedSeriesSequence"):
        listed += stated_items(series, "ReferencedInstanceSequence")
    for listed_item in listed:
        found.setdefault(stated_text(listed_item, "ReferencedSOPInstanceUID"))
    return [instance for instance in found if instance]


def contradict(one: DicomFile, other: DicomFile) -> bool:
    """Whether two files state different patients or eyes.

    Where a patient's number is missing, the name and the birth date tell patients apart, and so do different studies
    unless one file refers to the other.
    """
    eyes = one.laterality()[0], other.laterality()[0]
    if None not in eyes and eyes[0] != eyes[1]:
        return True
    patients = one.text("PatientID"), other.text("PatientID")
    if all(patients):
        return patients[0] != patients[1]
    if _differ(_name(one), _name(other)):
        return True
    if _differ(one.text("PatientBirthDate"), other.text("PatientBirthDate")):
        return True
    studies_differ = _differ(one.text("StudyInstanceUID"), other.text("StudyInstanceUID"))
    return studies_differ and not _refer(one, other)


def _differ(one: str, other: str) -> bool:
    return bool(one and other and one != other)


def _name(file: DicomFile) -> str:
    """A patient's name without what writers of DICOM add or leave out."""
    return " ".join(file.text("PatientName").replace("^", " ").casefold().split())


def _refer(one: DicomFile, other: DicomFile) -> bool:
    return other.instance in references(one) or one.instance in references(other)


def same_exam(one: DicomFile, other: DicomFile) -> bool:
    """Whether two files state the same patient, study and eye; unknown is not the same."""
    eye: Laterality | None = one.laterality()[0]
    same = all(
        one.text(keyword) and one.text(keyword) == other.text(keyword)
        for keyword in ("PatientID", "StudyInstanceUID")
    )
    return same and eye is not None and eye == other.laterality()[0]


def oct_file_of(photograph: DicomFile) -> str | None:
    """Name of the OCT file beside an en-face image that refers to it, or else is of the same exam."""
    deadline = time.monotonic() + MOST_SECONDS
    fallback = None
    for found in _iterate_summaries(files_beside(photograph.path), deadline):
        if found.sop_class != OPT:
            continue
        try:
            whole = read_file(found.path)
        except Exception:
            continue
        if photograph.instance and photograph.instance in references(whole):
            return found.path.name
        if same_exam(photograph, whole):
            fallback = fallback or found.path.name
    return fallback


def _summaries(paths: Iterator[Path], deadline: float) -> list[DicomFile]:
    return list(_iterate_summaries(paths, deadline))


def _iterate_summaries(paths: Iterator[Path], deadline: float) -> Iterator[DicomFile]:
    for path, _ in zip(paths, range(_MOST_FILES), strict=False):
        if time.monotonic() > deadline:
            return
        if (found := read_summary(path)) is not None:
            yield found
