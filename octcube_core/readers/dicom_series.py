"""The exams among many DICOM files: those that a DICOMDIR lists, or those of a folder."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from natsort import natsorted
from pydicom import uid
from pydicom.dataset import Dataset

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam
from octcube_core.readers.dicom import assemble
from octcube_core.readers.dicom_concatenation import part_of, read_parts
from octcube_core.readers.dicom_enface import photograph_modality
from octcube_core.readers.dicom_file import OPT, PHOTOGRAPHS, DicomFile, read_file, read_summary
from octcube_core.readers.dicom_location import (
    frame_places,
    is_transverse,
    lines_on_image,
    named_images,
)
from octcube_core.readers.dicom_neighbours import (
    MOST_SECONDS,
    pair,
    photographs_around,
    references,
    stack_of,
)
from octcube_core.readers.dicom_order import ordered_groups
from octcube_core.readers.dicom_stack import read_stack
from octcube_core.readers.dicom_values import quiet, reading_dicom, stated_items, stated_text
from octcube_core.readers.entry import ExamEntry, unreadable
from octcube_core.readers.options import ReadOptions
from octcube_core.scan_pattern import scan_pattern

_SECONDARY_CAPTURES = frozenset(
    {
        uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
        uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
        uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    }
)
_NO_VOLUMES = PHOTOGRAPHS | {
    uid.OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage,
    uid.SegmentationStorage,
}
_OCT_MODALITIES = ("OPT", "OCT")
_RECORDS = 0x00041220


def entries(path: Path, options: ReadOptions) -> Iterator[ExamEntry]:
    """Yield the exams that a DICOMDIR lists.

    A file that is listed but missing gives an exam that says so when it is read.

    Raises
    ------
    ExamReadError
        If the DICOMDIR is damaged.
    """
    with reading_dicom(path):
        records = _records(path)
        files: list[Path] = []
        missing: list[ExamEntry] = []
        for record in records:
            try:
                found = _referenced_file(path, record)
            except ExamReadError as error:
                missing.append(unreadable(path, error))
                continue
            if found is None:
                continue
            if found.is_file():
                files.append(found)
            elif stated_text(record, "ReferencedSOPClassUIDInFile") in ("", OPT):
                missing.append(unreadable(found, _absent(found, path)))
        listed = exams_of(list(dict.fromkeys(files)))
    yield from listed
    yield from missing


def _records(path: Path) -> list[Dataset]:
    head = read_file(path).head
    raw = head.get_item(_RECORDS)
    value = getattr(raw, "value", None)
    cut = isinstance(value, bytes) and getattr(raw, "length", 0) != len(value)
    records = stated_items(head, "DirectoryRecordSequence")
    if raw is None or cut or (value and not records):
        raise ExamReadError(
            f"{path.name} is truncated or damaged, or no list of a DICOM medium; open the folder of one exam."
        )
    return records


def _absent(found: Path, listed_in: Path) -> ExamReadError:
    return ExamReadError(
        f"{found.name} is missing, although {listed_in.name} lists it; copy the whole medium."
    )


def _referenced_file(path: Path, record: Dataset) -> Path | None:
    """The file of a directory record; None for a record of another kind."""
    try:
        stated = record.get("ReferencedFileID")
    except Exception:
        stated = None
    if stated_text(record, "DirectoryRecordType") != "IMAGE" or not stated:
        return None
    parts = [stated] if isinstance(stated, str) else [str(part) for part in stated]
    found = path.parent
    for part in parts:
        if part in ("", ".", "..") or any(sign in part for sign in "/\\:\0"):
            raise _outside(path)
        found = _child(found, part)
    if not found.resolve().is_relative_to(path.parent.resolve()):
        raise _outside(path)  # through a link
    return found


def _outside(path: Path) -> ExamReadError:
    return ExamReadError(
        f"{path.name} lists a file outside of its own folder, which is not opened; open that file by itself."
    )


def _child(folder: Path, name: str) -> Path:
    """A file or folder by its name, which media copied to a disk may have in small letters."""
    spellings = (name, name.lower(), name.upper(), f"{name}.dcm", f"{name.lower()}.dcm")
    return next((folder / each for each in spellings if (folder / each).exists()), folder / name)


class _Photographs:
    """Fundus images by what pairs them with an OCT file, so that thousands of files stay quick to pair.

    An image that an OCT file refers to and that was not listed is looked for around the file, once for each folder.
    """

    def __init__(self, files: Sequence[DicomFile]) -> None:
        self._named: dict[str, list[DicomFile]] = {}
        self._of_study: dict[tuple[str, str], list[DicomFile]] = {}
        self._around: dict[Path, list[DicomFile]] = {}
        self._seconds = MOST_SECONDS  # left for looking around
        for file in files:
            if file.sop_class in PHOTOGRAPHS:
                self._named.setdefault(file.instance, []).append(file)
                self._of_study.setdefault(_study(file), []).append(file)

    def near(self, file: DicomFile) -> list[DicomFile]:
        """Those that an OCT file refers to, and those of its patient and study."""
        wanted = references(file)
        named = [found for name in wanted for found in self._named.get(name, ())]
        missing = {name for name in named_images(file) or wanted if name not in self._named}
        if missing:
            named += [found for found in self._elsewhere(file.path) if found.instance in missing]
        return named + self._of_study.get(_study(file), [])

    def _elsewhere(self, path: Path) -> list[DicomFile]:
        if path.parent not in self._around:
            start = time.monotonic()
            self._around[path.parent] = photographs_around(path, start + self._seconds)
            self._seconds -= time.monotonic() - start
        return self._around[path.parent]


def _study(file: DicomFile) -> tuple[str, str]:
    return file.text("PatientID"), file.text("StudyInstanceUID")


def exams_of(files: Sequence[Path]) -> list[ExamEntry]:
    """The exams among DICOM files, with the fundus images among them.

    Every file of several B-scans is one, and so are a series of files of one B-scan each and the parts of a
    concatenation. Files of other kinds (reports, presentation states) and fundus images without an OCT file are passed
    over.
    """
    with quiet():
        summaries = [found for path in natsorted(files, key=str) if (found := read_summary(path))]
        photographs = _Photographs(summaries)
        stacks: dict[tuple[str, ...], list[DicomFile]] = {}
        volumes = [found for found in summaries if _holds_bscans(found)]
        for found in volumes:
            stack = stacks.setdefault(_volume_of(found), [])
            # A copy of a B-scan is no second one.
            if not found.instance or all(found.instance != other.instance for other in stack):
                stack.append(found)
        return [_volume(stack, photographs) for stack in stacks.values()]


def _holds_bscans(file: DicomFile) -> bool:
    if file.sop_class == OPT:
        return True
    several = file.text("NumberOfFrames") not in ("", "0", "1")
    return several and (
        file.sop_class in _SECONDARY_CAPTURES
        or (file.text("Modality") in _OCT_MODALITIES and file.sop_class not in _NO_VOLUMES)
    )


def _volume_of(file: DicomFile) -> tuple[str, ...]:
    """What the files of one volume share."""
    part = part_of(file)
    if part is None or not part.volume:
        return stack_of(file)
    return (part.volume, file.text("SeriesInstanceUID"), file.text("PatientID"))


def _volume(files: Sequence[DicomFile], photographs: _Photographs) -> ExamEntry:
    """The exam of one file, of the parts of a concatenation, or of a series of single B-scans."""
    first, paths = files[0], [file.path for file in files]
    count = sum(_whole(file.text("NumberOfFrames") or "1") for file in files)
    joined = part_of(first)
    if joined is not None and joined.volume:
        produce = partial(read_parts, paths)
    elif len(files) == 1:
        produce = partial(assemble, first.path)
    else:
        produce = partial(read_stack, paths)
    part = f"{len(files)} files" if len(files) > 1 else ""
    return _entry(first, count, photographs, produce, part)


def _entry(
    summary: DicomFile,
    count: int,
    photographs: _Photographs,
    produce: Callable[[Sequence[Path]], Exam],
    part: str,
) -> ExamEntry:
    try:
        file = read_file(summary.path)
    except ExamReadError:  # the same error again when the exam is read
        return ExamEntry(summary.path, "DICOM", partial(produce, ()), part)
    pairing = pair(file, photographs.near(file))
    placed_on = named_images(file)
    kinds = [photograph_modality(found, found.instance in placed_on)[0] for found in pairing.files]
    rows, columns = (_whole(file.text(keyword)) for keyword in ("Rows", "Columns"))
    places, _ = frame_places(ordered_groups(file)[0], count)
    transverse = is_transverse(places)
    shape = (rows, count, columns) if transverse else (count, rows, columns)
    pattern = None
    if places and not part:
        on_image = next((places[name] for name in placed_on if name in places), None)
        lines = on_image and lines_on_image(on_image, shape, transverse)
        pattern = scan_pattern(lines) if lines else None
    return ExamEntry(
        summary.path,
        "DICOM",
        partial(produce, [found.path for found in pairing.files]),
        part,
        laterality=file.laterality()[0],
        scan_pattern=pattern,
        modalities=("OCT", *kinds),
        device=file.device,
        shape=shape if min(shape) > 0 else None,
    )


def _whole(stated: str) -> int:
    return int(stated) if stated.isdigit() else 0
