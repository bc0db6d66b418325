"""The AI-READI data set: each OCT of its manifest with the photographs that belong to it.

Layout (versions 1 to 3, as published through FAIRhub and documented at docs.aireadi.org)::

    retinal_oct/manifest.tsv
    retinal_oct/structural_oct/<device>/<participant>/*.dcm
    retinal_photography/manifest.tsv
    retinal_photography/{ir,faf,cfp}/<device>/<participant>/*.dcm

An OCT names the photograph it was taken with (infrared or colour) by UID and path. The autofluorescence image comes
from another device (iCare Eidon) and is joined by participant and eye. A data set of which only parts were downloaded
is listed as far as it is there; with a damaged manifest its OCT files are, each with the photographs that it refers to
itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from glob import escape
from pathlib import Path

from natsort import natsorted

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam, Modality
from octcube_core.readers.aireadi_manifest import (
    OCTRow,
    Photograph,
    each_file_once,
    manifest_of,
    oct_rows,
    sound_rows,
)
from octcube_core.readers.aireadi_manifest import photographs as read_photographs
from octcube_core.readers.entry import ExamEntry
from octcube_core.readers.failures import reading

OCT, PHOTOGRAPHY = "retinal_oct", "retinal_photography"
_DICOM = (".dcm", ".dicom")
_OTHER_EYE = "The data set names a photograph of the other eye or another person; it is left out."
_EYES_DIFFER = (
    "The file and the data set's manifest name different eyes; the eye is left unknown and no autofluorescence image "
    "is joined."
)
_DAMAGED = (
    "A manifest of the data set is damaged, so that photographs may be missing or belong to no exam; download the "
    "manifest again."
)


@dataclass(frozen=True)
class Companions:
    """The photographs of one OCT, the one it was taken with first, with the modality of each."""

    photographs: tuple[Path, ...] = ()
    modalities: tuple[Modality | None, ...] = ()
    referenced: int = 0
    warnings: tuple[str, ...] = ()

    @property
    def known_modalities(self) -> dict[Path, Modality]:
        """Modality of each photograph of which the manifest states it."""
        pairs = zip(self.photographs, self.modalities, strict=True)
        return {path: modality for path, modality in pairs if modality}


def root_of(path: Path) -> Path | None:
    """The folder of the data set that a path is in, or None."""
    for start in (Path(os.path.abspath(path)), path.resolve()):  # noqa: PTH100 (links stay)
        for folder in (start, *start.parents):
            if manifest_of(folder / OCT) is not None:
                return folder
    return None


def holds(path: Path) -> bool:
    """Whether a folder is the data set, or lies among its OCT."""
    root = root_of(path)
    if root is None:
        return False
    below = _below(path, root)
    return below == root or below.is_relative_to(root / OCT)


def entries(path: Path) -> Iterator[ExamEntry]:
    """Yield the exams of the data set, or of a folder of its OCT, in natural order.

    An OCT that is not there is an exam that cannot be read; those whose whole folders are not there are one.

    Raises
    ------
    ExamReadError
        If the manifest of the OCT is damaged and there is no OCT file either.
    """
    data_set = _DataSet.around(path)
    absent = 0
    listed = False
    folders: dict[str, bool] = {}
    for row in data_set.rows:
        folder = row.where.rpartition("/")[0]
        if folder not in folders:
            folders[folder] = (data_set.root / folder).is_dir()
        if folders[folder]:
            listed = True
            yield data_set.entry(row)
        else:
            absent += 1
    for entry in data_set.unlisted():
        listed = True
        yield entry
    if data_set.damaged and not listed and not absent:
        raise data_set.damaged[0]
    if absent:
        yield _absent(data_set.root, absent)


def entry_of(path: Path) -> ExamEntry | None:
    """The exam of one OCT file, or None outside such a data set."""
    if root_of(path) is None:
        return None
    data_set = _DataSet.around(path)
    row = next(iter(data_set.rows), OCTRow(data_set.root, _inside(data_set.within, data_set.root)))
    return replace(data_set.entry(row), path=path)


@dataclass(frozen=True)
class _DataSet:
    """The part of the data set below one folder or file."""

    root: Path
    within: Path
    rows: Sequence[OCTRow]
    by_uid: Mapping[str, Photograph]
    by_path: Mapping[str, Photograph]
    autofluorescence: Mapping[tuple[str, str], Sequence[Photograph]]
    damaged: Sequence[ExamReadError]

    @classmethod
    def around(cls, path: Path) -> _DataSet:
        root = root_of(path)
        assert root is not None  # asked for by the callers
        within = _below(path, root)
        damaged: list[ExamReadError] = []
        found = sound_rows(oct_rows(root, OCT, _inside(within, root)), damaged)
        rows = list(each_file_once(found))
        people = {row.participant for row in rows}
        photographs = list(sound_rows(read_photographs(root, PHOTOGRAPHY, people), damaged))
        autofluorescence: dict[tuple[str, str], list[Photograph]] = {}
        for photograph in photographs:
            if photograph.modality == "FAF" and photograph.laterality and photograph.participant:
                key = photograph.participant, photograph.laterality
                autofluorescence.setdefault(key, []).append(photograph)
        return cls(
            root,
            within,
            natsorted(rows, key=lambda row: row.where),
            {photograph.uid: photograph for photograph in photographs if photograph.uid},
            {photograph.where: photograph for photograph in photographs},
            autofluorescence,
            damaged,
        )

    def entry(self, row: OCTRow) -> ExamEntry:
        companions = self.companions(row)
        return ExamEntry(
            row.path,
            "DICOM",
            lambda: self._read(row, companions),
            laterality=row.laterality,
            modalities=("OCT", *(modality for modality in companions.modalities if modality)),
            device=row.device,
            shape=row.shape,
        )

    def companions(self, row: OCTRow) -> Companions:
        """What the manifests say belongs to an OCT, as far as it is there."""
        taken = self.by_uid.get(row.reference_uid) if row.reference_uid else None
        if taken is None or not taken.path.is_file():
            where = row.reference
            taken = self.by_path.get(where, Photograph(self.root, where)) if where else taken
        warnings: tuple[str, ...] = ()
        found: list[Photograph] = []
        if taken is not None and taken.path.is_file():
            if taken.may_be_of(row):
                found.append(taken)
            else:
                warnings = (_OTHER_EYE,)
        referenced = len(found)
        if row.participant and row.laterality:
            faf = [
                photograph
                for photograph in self.autofluorescence.get((row.participant, row.laterality), ())
                if photograph.path.is_file() and photograph not in found
            ]
            # One is enough: that of the macula, where the OCT is.
            found += natsorted(faf, key=lambda one: (not one.of_macula, one.where))[:1]
        return Companions(
            tuple(photograph.path for photograph in found),
            tuple(photograph.modality for photograph in found),
            referenced,
            warnings,
        )

    def _read(self, row: OCTRow, companions: Companions) -> Exam:
        from octcube_core.readers import dicom

        if not row.path.is_file():
            raise ExamReadError(
                f"{row.path.name} is in the manifest of the data set but not in its folder; download it again."
            )
        if not companions.referenced and not companions.warnings:
            companions = self._by_the_file_itself(row, companions)
        exam = dicom.assemble(row.path, companions.photographs, companions.known_modalities)
        warnings = (*exam.warnings, *companions.warnings)
        laterality = exam.laterality or row.laterality
        if row.laterality and laterality != row.laterality:
            kept = companions.photographs[: companions.referenced]
            exam = dicom.assemble(row.path, kept, companions.known_modalities)
            laterality, warnings = None, (*exam.warnings, *companions.warnings, _EYES_DIFFER)
        warnings += (_DAMAGED,) if self.damaged else ()
        patient = replace(exam.patient, id=exam.patient.id or row.participant)
        return replace(exam, laterality=laterality, patient=patient, warnings=warnings)

    def _by_the_file_itself(self, row: OCTRow, companions: Companions) -> Companions:
        """Photographs of the participant that the OCT file itself refers to, where the manifest names none."""
        from octcube_core.readers import dicom_neighbours
        from octcube_core.readers.dicom_file import read_file, read_summary

        with reading(row.path, "a DICOM file"):
            named = dicom_neighbours.references(read_file(row.path))
        of_person = [one for one in self.by_path.values() if one.participant == row.participant]
        by_uid = {one.uid: one for one in of_person if one.path.is_file()}
        if not any(uid in by_uid for uid in named):
            folder = escape(row.folder)
            for path in natsorted(self.root.glob(f"{PHOTOGRAPHY}/*/*/{folder}/*.dcm")):
                header = read_summary(path)
                if header is not None and header.instance:
                    where = _inside(path, self.root)
                    found = self.by_path.get(where, Photograph(self.root, where))
                    by_uid[header.instance] = found
        taken = next((by_uid[uid] for uid in named if uid in by_uid), None)
        if taken is None or not taken.may_be_of(row) or taken.path in companions.photographs:
            return companions
        return Companions(
            (taken.path, *companions.photographs), (taken.modality, *companions.modalities), 1
        )

    def unlisted(self) -> Iterator[ExamEntry]:
        """OCT files that are there but not in the manifest."""
        listed = {row.path for row in self.rows}
        folder = self.within if self.within.is_relative_to(self.root / OCT) else self.root / OCT
        files = [
            file
            for file in folder.rglob("*")
            if file.suffix.lower() in _DICOM
            and not file.name.startswith(".")
            and file not in listed
            and file.is_file()
        ]
        for file in natsorted(files):
            yield self.entry(OCTRow(self.root, _inside(file, self.root)))


def _below(path: Path, root: Path) -> Path:
    """The path as one below the root, whether or not links lie between."""
    plain = Path(os.path.abspath(path))  # noqa: PTH100
    return plain if plain.is_relative_to(root) else path.resolve()


def _inside(path: Path, root: Path) -> str:
    """The path from the root; empty for the root itself."""
    below = path.relative_to(root).as_posix()
    return "" if below == "." else below


def _absent(root: Path, number: int) -> ExamEntry:
    def produce() -> Exam:
        raise ExamReadError(
            f"{root.name} lacks the folders of {number} exams that its manifest lists; download them to open them."
        )

    return ExamEntry(root, "DICOM", produce, part=f"{number} exams that are not here")
