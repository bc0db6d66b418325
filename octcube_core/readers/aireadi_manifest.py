"""The manifests of the AI-READI data set: tables with a row for each OCT and each photograph.

Version 1 calls the participant ``participant_id`` and stores commas in some releases, later ones ``person_id`` and
tabs; paths start at the data set's root, with a slash. Unknown values are empty, 'Not reported' or 'Varies by frame'.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from octcube_core.errors import ExamReadError
from octcube_core.exam import Laterality, Modality
from octcube_core.readers.failures import reading
from octcube_core.readers.folder_meta import EYES

_Row = TypeVar("_Row")
_NAMES = ("manifest.tsv", "manifest.csv")
_MAX_BYTES = 512 * 1024**2  # version 3 takes 27 MB
_UNKNOWN = {"", "nan", "none", "n/a", "na", "null", "not reported", "varies by frame"}
_IMAGING: dict[str, Modality] = {
    "infrared": "IR",
    "autofluorescence": "FAF",
    "color": "CFP",
    "colour": "CFP",
}
_KNOWN_FOLDERS = ("retinal_oct", "retinal_photography", "retinal_octa")
_FOLDERS: dict[str, Modality] = {"ir": "IR", "faf": "FAF", "cfp": "CFP"}
_ALIASES = {
    "participant": ("person_id", "participant_id", "participant", "patient_id"),
    "path": ("filepath", "file_path", "path"),
    "uid": ("sop_instance_uid", "sopinstanceuid"),
    "eye": ("laterality", "eye"),
    "region": ("anatomic_region", "anatomical_region"),
    "imaging": ("imaging", "modality"),
    "maker": ("manufacturer",),
    "model": ("manufacturers_model_name", "manufacturer_model_name", "model_name"),
    "frames": ("number_of_frames",),
    "height": ("height", "rows"),
    "width": ("width", "columns"),
    "reference_uid": (
        "reference_instance_uid",
        "reference_retinal_photography_image_instance_uid",
        "reference_retinal_photography_instance_uid",
        "reference_sop_instance_uid",
    ),
    "reference_path": (
        "reference_filepath",
        "reference_file_path",
        "reference_retinal_photography_filepath",
        "reference_retinal_photography_file_path",
        "reference_retinal_photography_image_filepath",
    ),
}


@dataclass(frozen=True, slots=True)
class OCTRow:
    """What the manifest says of one OCT; empty or None where it says nothing."""

    root: Path
    where: str
    participant: str = ""
    laterality: Laterality | None = None
    device: str | None = None
    shape: tuple[int, int, int] | None = None
    reference_uid: str = ""
    reference: str = ""

    @property
    def path(self) -> Path:
        """The file in this copy of the data set."""
        return self.root / self.where

    @property
    def folder(self) -> str:
        """Name of the participant's folders."""
        return self.path.parent.name


@dataclass(frozen=True, slots=True)
class Photograph:
    """What the manifest says of one photograph; empty or None where it says nothing."""

    root: Path
    where: str
    participant: str = ""
    laterality: Laterality | None = None
    modality: Modality | None = None
    uid: str = ""
    of_macula: bool = False

    @property
    def path(self) -> Path:
        """The file in this copy of the data set."""
        return self.root / self.where

    def may_be_of(self, row: OCTRow) -> bool:
        """Whether nothing known tells it from the eye of an OCT."""
        same_person = not (self.participant and row.participant) or (
            self.participant == row.participant
        )
        same_eye = not (self.laterality and row.laterality) or self.laterality == row.laterality
        return same_person and same_eye


def manifest_of(folder: Path) -> Path | None:
    """The manifest in a folder of the data set, if there is one."""
    try:
        return next((folder / name for name in _NAMES if (folder / name).is_file()), None)
    except OSError:  # a folder above that may not be looked into
        return None


def oct_rows(root: Path, folder: str, below: str = "") -> Iterator[OCTRow]:
    """Rows of the manifest of OCT.

    Parameters
    ----------
    root : Path
        The data set.
    folder : str
        The folder of the manifest in it.
    below : str
        A folder or file in the data set, without which all rows come.

    Raises
    ------
    ExamReadError
        If the manifest is no such table.
    """
    inside = f"{below}/"
    for row in _rows(root / folder):
        where = _located(folder, row("path"))
        if not where or (below and where != below and not where.startswith(inside)):
            continue
        device = " ".join(part for part in (row("maker"), row("model")) if part)
        yield OCTRow(
            root,
            where,
            row("participant"),
            EYES.get(row("eye").lower()),
            sys.intern(device) or None,
            _shape(row("frames"), row("height"), row("width")),
            row("reference_uid"),
            _located(folder, row("reference_path")),
        )


def each_file_once(rows: Iterable[OCTRow]) -> Iterator[OCTRow]:
    """A row for each file; one that says nothing for a file of which the manifest says different things."""
    found: dict[Path, OCTRow] = {}
    for row in rows:
        first = found.setdefault(row.path, row)
        if replace(row, where=first.where) != first:
            found[row.path] = OCTRow(row.root, first.where)
    yield from found.values()


def sound_rows(rows: Iterator[_Row], damaged: list[ExamReadError]) -> Iterator[_Row]:
    """The rows of a manifest as far as it can be read; what is wrong behind them is added to ``damaged``."""
    try:
        yield from rows
    except ExamReadError as error:
        damaged.append(error)


def photographs(root: Path, folder: str, people: Container[str]) -> Iterator[Photograph]:
    """Rows of the manifest of photographs of some people; none if that part of the data set is not there."""
    for row in _rows(root / folder):
        participant = row("participant")
        where = _located(folder, row("path")) if participant in people else ""
        if not where:
            continue
        imaging = row("imaging").lower()
        stated = next((modality for word, modality in _IMAGING.items() if word in imaging), None)
        parts = where.split("/")
        in_folder = _FOLDERS.get(parts[1].lower()) if len(parts) > 2 else None
        yield Photograph(
            root,
            where,
            participant,
            EYES.get(row("eye").lower()),
            stated or in_folder,
            row("uid"),
            "macula" in row("region").lower(),
        )


def _rows(folder: Path) -> Iterator[Callable[[str], str]]:
    """Each row as a function from one of our names of columns to the cell."""
    manifest = manifest_of(folder)
    if manifest is None:
        return
    with reading(manifest, "a manifest of the AI-READI data set"):
        if manifest.stat().st_size > _MAX_BYTES:
            raise ExamReadError(f"{manifest.name} is too large for a manifest; download it again.")
        with manifest.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            header = file.readline()
            file.seek(0)
            table = csv.reader(file, delimiter="\t" if "\t" in header else ",")
            columns = _columns(manifest, next(table, []))
            for cells in table:
                yield lambda name, cells=cells: _cell(cells, columns[name])  # type: ignore[misc]


def _columns(manifest: Path, header: list[str]) -> dict[str, int | None]:
    names = ["_".join(name.strip().lower().split()) for name in header]
    found = {
        field: next((names.index(alias) for alias in aliases if alias in names), None)
        for field, aliases in _ALIASES.items()
    }
    if found["path"] is None:
        raise ExamReadError(
            f"{manifest.name} in {manifest.parent.name} has no column 'filepath'; download it again."
        )
    return found


def _cell(cells: list[str], column: int | None) -> str:
    text = cells[column].strip() if column is not None and column < len(cells) else ""
    return "" if text.lower() in _UNKNOWN else text


def _located(folder: str, stated: str) -> str:
    """A path of the manifest as one below the data set's root; empty if it would lead out of it."""
    text = f"/{stated}".replace("\\", "/")
    if not stated or "/.." in text or "\0" in text or text.endswith("/"):
        return ""
    starts = [text.find(f"/{known}/") for known in _KNOWN_FOLDERS]
    start = min((start for start in starts if start >= 0), default=-1)
    return f"{folder}/{text.lstrip('/')}" if start < 0 else text[start + 1 :]


def _shape(*texts: str) -> tuple[int, int, int] | None:
    if not all(text.isascii() and text.isdecimal() and len(text) < 9 for text in texts):
        return None
    frames, height, width = (int(text) for text in texts)
    return (frames, height, width) if min(frames, height, width) > 0 else None
