"""The exams of some paths, listed on a thread while somebody already looks at the list. No Qt."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from natsort import natsort_keygen, ns
from psygnal import Signal

import octcube_core
from napari_octcube._exam_place import ExamPlace
from napari_octcube._inference import Dispatch
from napari_octcube._portions import Portions
from octcube_core.errors import OCTCubeError
from octcube_core.readers import ExamEntry

PORTION = 500  # exams that an observer is told of at once, so that each telling is short

_natural = natsort_keygen(alg=ns.IGNORECASE)
UNKNOWN = "–"


@dataclass(eq=False)
class ListedExam:
    """An exam as a row of a list.

    Attributes
    ----------
    entry : ExamEntry
    name : str
        Path relative to what was opened, and which part of it.
    problem : str
        Why it could not be read; empty unless somebody tried.
    within : Path or None
        What was opened: the exam's own file or folder, or one around it.
    """

    entry: ExamEntry
    name: str
    problem: str = ""
    within: Path | None = None

    @property
    def place(self) -> ExamPlace:
        """Where it lies."""
        return ExamPlace.of(self.entry, self.within or self.entry.path)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Exam, eye, scan, images, size, device."""
        entry = self.entry
        images = ", ".join(entry.modalities) or UNKNOWN
        size = " × ".join(map(str, entry.shape)) if entry.shape else UNKNOWN
        return (
            self.name,
            entry.laterality or UNKNOWN,
            entry.scan_pattern or UNKNOWN,
            images,
            size,
            entry.device or UNKNOWN,
        )

    @cached_property
    def sort_keys(self) -> tuple[Any, ...]:
        """One key per column, in which 'visit 10' comes after 'visit 9'."""
        name, *others = self.columns
        return (
            _natural(name),
            *(text.lower() for text in others[:3]),
            self.entry.shape or (),
            others[4].lower(),
        )

    @cached_property
    def words(self) -> str:
        """What a filter looks through."""
        return " ".join((*self.columns, self.entry.format)).lower()


class ExamListing:
    """Lists exams on a thread; hands them over in portions on the owner's thread.

    Attributes
    ----------
    name : str
        What is being listed.
    exams : list of ListedExam
    failures : list of str
        A sentence for each path that is none that can be listed.
    done : bool
        Whether the list is complete.
    """

    added: ClassVar[Signal] = Signal(list)
    failed: ClassVar[Signal] = Signal(object)
    finished: ClassVar[Signal] = Signal()
    over: ClassVar[Signal] = Signal()

    def __init__(self, paths: Sequence[Path], dispatch: Dispatch) -> None:
        self._paths = tuple(paths)
        self._found: Portions[ListedExam] = Portions(PORTION, dispatch, self._take)
        self._ended = False
        self._cancelled = False
        self.exams: list[ListedExam] = []
        self.failures: list[str] = []
        self.done = False
        names = [path.name or str(path) for path in self._paths]
        self.name = names[0] if len(names) == 1 else f"{len(names)} files"

    def start(self) -> None:
        """Begin to list."""
        threading.Thread(target=self._work, name="octcube list", daemon=True).start()

    def cancel(self) -> None:
        """Stop, tell nobody of any more exams, and let who shows the list close."""
        if not self._cancelled:
            self._cancelled = True
            self.over.emit()

    def fail(self, listed: ListedExam, problem: str) -> None:
        """An exam of the list could not be read."""
        listed.problem = problem
        self.failed.emit(listed)

    def _work(self) -> None:
        for path in self._paths:
            try:
                for entry in octcube_core.find_exams(path):
                    if self._cancelled:
                        return
                    self._add(entry, path)
                    # Or the Qt thread would wait for Python's lock at every cell it draws.
                    time.sleep(0)
            except OCTCubeError as error:
                self.failures.append(str(error))
            except Exception as error:
                kind = type(error).__name__
                self.failures.append(
                    f"{path.name} could not be opened because of an unexpected error ({kind})."
                )
        if not self.failures and not self.exams and not self._found.waiting:
            self.failures.append(f"{self.name} holds no OCT exam; open the folder or file of one.")
        self._ended = True
        self._found.hand_over()

    def _add(self, entry: ExamEntry, root: Path) -> None:
        name = _name_below(root, entry, len(self._paths) > 1)
        listed = ListedExam(entry, name, within=root)
        listed.sort_keys, listed.words  # noqa: B018 - worked out here, not on the owner's thread
        self._found.add(listed)

    def _take(self, portion: list[ListedExam], more: bool) -> None:
        if self._cancelled:
            return
        if portion:
            self.exams.extend(portion)
            self.added.emit(portion)
        if self._ended and not more and not self.done and not self._cancelled:
            self.done = True
            self.finished.emit()


def _name_below(root: Path, entry: ExamEntry, several: bool) -> str:
    """The entry's name as seen from what was opened."""
    base = root.parent if several else root
    try:
        relative = entry.path.relative_to(base)
    except ValueError:  # a link, or a path that was tidied up
        relative = Path(entry.path.name)
    name = str(relative) if relative.parts else entry.path.name
    return f"{name} ({entry.part})" if entry.part else name
