"""The exams in a folder and in the folders below it, in natural order of their paths.

A folder is looked at as follows; nothing is decoded, headers are read at most.

- The AI-READI data set, or a folder inside it, is listed from its manifest.
- A DICOMDIR lists the DICOM files below its folder; other DICOM files are grouped into exams over the whole tree, so
  that a fundus image is found in another folder than its volume.
- Every other file of a known format is an exam (or several), and so is a TIFF stack.
- The single images of a folder are one exam: its B-scans. Beside exam files they are taken for previews, unless they
  are numbered; the images of a Heidelberg XML export belong to it.
- A file whose name claims a format that its content is not is listed, and says so when it is read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from natsort import natsorted

from octcube_core.errors import ExamReadError, InputError
from octcube_core.readers import aireadi, folder
from octcube_core.readers.dispatch import entries_of, unknown_format
from octcube_core.readers.entry import ExamEntry, unreadable
from octcube_core.readers.failures import reading
from octcube_core.readers.folder_meta import META_FILE
from octcube_core.readers.folder_pictures import PICTURES, is_stack, sort_pictures, without_results
from octcube_core.readers.formats import FORMATS, Format, claims_a_format, find_format
from octcube_core.readers.options import NO_OPTIONS, ReadOptions
from octcube_core.readers.walk import walk

_DRAWN_FLUID = {"reference.mhd"}  # RETOUCH: the fluid in oct.mhd, as graders drew it
_RAW_CUBE, _CUBE = "_cube_raw.img", "_cube_z.img"  # Cirrus writes a scan twice
_DICOM = next(entry for entry in FORMATS if entry.name == "DICOM")
_TIFF = next(entry for entry in FORMATS if entry.name == "TIFF")
_NONE: frozenset[str] = frozenset()


def entries(path: Path, options: ReadOptions = NO_OPTIONS) -> Iterator[ExamEntry]:
    """Yield the exams in a folder.

    Raises
    ------
    ExamReadError
        If there is none, or the folder itself may not be read.
    InputError
        If an option applies to none of its exams.
    """
    found = _Found(path, options)
    if aireadi.holds(path):
        found.add(path, lambda: aireadi.entries(path))
    else:
        _look_into(path, found)
    if not found.exams:
        raise ExamReadError(_nothing_found(path, found))
    found.check_options()
    for exam in natsorted(found.exams, key=lambda exam: exam.place):
        yield from _safely(exam.where, exam.entries)


@dataclass(frozen=True)
class _Exams:
    """One exam, or the several of one file, to be listed when their turn comes."""

    where: Path
    place: tuple[str, ...]
    entries: Callable[[], Iterator[ExamEntry]]
    takes: frozenset[str]


@dataclass
class _Found:
    top: Path
    options: ReadOptions
    exams: list[_Exams] = field(default_factory=list)
    dicom: list[Path] = field(default_factory=list)
    passed_over: Counter[str] = field(default_factory=Counter)

    def add(
        self,
        where: Path,
        entries: Callable[[], Iterator[ExamEntry]],
        takes: frozenset[str] = _NONE,
    ) -> None:
        below = where.is_relative_to(self.top)
        place = where.relative_to(self.top).parts if below else where.parts
        self.exams.append(_Exams(where, place, entries, takes))

    def add_file(self, file: Path, format_: Format) -> None:
        options = ReadOptions(
            self.options.axes if "axes" in format_.options else None,
            self.options.shape if "shape" in format_.options else None,
        )
        self.add(file, lambda: entries_of(file, format_, options), format_.options)

    def pass_over(self, files: Sequence[Path]) -> None:
        self.passed_over.update(file.suffix.lower() or "other" for file in files)

    def check_options(self) -> None:
        for name in ("axes", "shape"):
            stated = getattr(self.options, name) is not None
            if stated and not any(name in exam.takes for exam in self.exams):
                raise InputError(
                    f"No exam in {self.top.name} is of a format whose {name} may be stated; leave the option out."
                )


def _look_into(top: Path, found: _Found) -> None:
    media: list[Path] = []
    for folder_, files, folders in walk(top):
        data_set = any(child.name == aireadi.OCT for child in folders) and aireadi.holds(folder_)
        if data_set:
            found.add(folder_, _bind(aireadi.entries, folder_))
            folders.clear()
        _look_at_files(folder_, files, found, media)
    for medium in media:
        covered = [file for file in found.dicom if file.is_relative_to(medium.parent)]
        found.dicom = [file for file in found.dicom if not file.is_relative_to(medium.parent)]
        found.add(medium, _bind(_medium, medium, covered))
    if found.dicom:
        _group_dicom(found)


def _group_dicom(found: _Found) -> None:
    from octcube_core.readers.dicom_file import read_summary

    summaries = {file: read_summary(file) for file in found.dicom}
    people: dict[str, list[Path]] = {}
    for file, summary in summaries.items():
        if summary is not None:
            people.setdefault(summary.text("PatientID"), []).append(file)
    # Nothing is paired across patients; but a file that states none may belong to any.
    groups = [found.dicom] if "" in people else list(people.values())
    exams = [exam for group in groups for exam in _dicom_exams(group)]
    for exam in exams:
        found.add(exam.path, _bind(_once, exam))
    # Without a class it is damaged, or so plain that only reading tells what it is.
    unclear = [file for file, summary in summaries.items() if summary is None]
    for file in unclear:
        found.add_file(file, _DICOM)
    if not exams and not unclear:
        found.passed_over["DICOM without B-scans"] += len(found.dicom)


def _look_at_files(folder_: Path, files: list[Path], found: _Found, media: list[Path]) -> None:
    names = {file.name for file in files}
    files = without_results(files)
    if "oct.mhd" in names:
        files = [file for file in files if file.name not in _DRAWN_FLUID]
    files = [
        file
        for file in files
        if not file.name.endswith(_RAW_CUBE) or file.name.replace(_RAW_CUBE, _CUBE) not in names
    ]
    pictures = [file for file in files if file.suffix.lower() in PICTURES]
    exams, dicom = len(found.exams), len(found.dicom)
    for file in files:
        if file.suffix.lower() not in PICTURES:
            _look_at_file(file, found, media)
    beside = [exam.where for exam in found.exams[exams:]] + found.dicom[dicom:]
    sorted_ = sort_pictures(
        pictures,
        exports=[file for file in beside if file.suffix.lower() == ".xml"],
        previews=bool(beside) and META_FILE not in names,
    )
    if sorted_.bscans:
        found.add(folder_, _bind(_folder_entry, folder_))
    for stack in sorted_.stacks:
        found.add_file(stack, _TIFF)
    found.pass_over(sorted_.others)


def _look_at_file(file: Path, found: _Found, media: list[Path]) -> None:
    try:
        format_ = find_format(file)
    except OSError as error:
        if claims_a_format(file):
            found.add(file, _bind(_once, unreadable(file, error)))
        else:
            found.passed_over["unreadable"] += 1
        return
    if format_ is None and claims_a_format(file):
        found.add(file, _bind(_once, unreadable(file, ExamReadError(unknown_format(file)))))
    elif (
        format_ is None
        or format_.name == "image"
        or (format_.name == "TIFF" and not is_stack(file))
    ):
        found.pass_over([file])
    elif format_.name == "DICOMDIR":
        media.append(file)
    elif format_.name == "DICOM":
        found.dicom.append(file)
    else:
        found.add_file(file, format_)


def _folder_entry(path: Path) -> Iterator[ExamEntry]:
    yield folder.entry(path)


def _safely(where: Path, listed: Callable[[], Iterator[ExamEntry]]) -> Iterator[ExamEntry]:
    """List the exams of one file; an error among them is an exam that cannot be read, not the end."""
    try:
        with reading(where, "an OCT exam"):
            yield from listed()
    except ExamReadError as error:
        yield unreadable(where, error)


def _dicom_exams(files: Sequence[Path]) -> list[ExamEntry]:
    from octcube_core.readers import dicom_series

    try:
        with reading(files[0], "a DICOM file"):
            return list(dicom_series.exams_of(files))
    except ExamReadError as error:
        return [unreadable(files[0], error)]


def _medium(medium: Path, covered: Sequence[Path]) -> Iterator[ExamEntry]:
    """The exams that a DICOMDIR lists; if it lists none, those in its folders."""
    from octcube_core.readers import dicom_series

    any_listed = False
    try:
        for entry in dicom_series.entries(medium, NO_OPTIONS):
            any_listed = True
            yield entry
    except ExamReadError:
        if any_listed or not covered:
            raise
    if not any_listed and covered:
        yield from _dicom_exams(covered)


def _once(entry: ExamEntry) -> Iterator[ExamEntry]:
    yield entry


def _bind(
    function: Callable[..., Iterator[ExamEntry]], *arguments: object
) -> Callable[[], Iterator[ExamEntry]]:
    return lambda: function(*arguments)


def _nothing_found(path: Path, found: _Found) -> str:
    kinds = found.passed_over.most_common(4)
    named = ", ".join(f"{number} x {kind}" for kind, number in kinds)
    more = ", ..." if len(found.passed_over) > len(kinds) else ""
    passed_over = f" (passed over: {named}{more})" if kinds else ""
    return (
        f"{path.name} holds no B-scan images (PNG, JPEG, BMP or TIFF) and no exam file{passed_over}; open the folder "
        "or file of an exam."
    )
