"""Lists and reads exams on threads, so that no large file or folder ever stops the viewer. No Qt."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import octcube_core
from napari_octcube._contrast import auto_contrast
from napari_octcube._exam_listing import ExamListing, ListedExam
from napari_octcube._exam_place import ExamPlace
from napari_octcube._inference import Dispatch
from napari_octcube._session import Session
from octcube_core.errors import OCTCubeError
from octcube_core.exam import Exam
from octcube_core.readers import detect_format
from octcube_core.readers.formats import claims_a_format

OTHERS_FOLDERS = (".zarr", ".n5")  # one image each, which other plugins open
PATIENCE_S = 1.0  # before the exams of a folder found so far are offered


def may_be_exam(path: Path) -> bool:
    """Whether to try a file or folder that somebody drops; at most its first bytes are read."""
    if is_other_s_folder(path):
        return False
    return claims_a_format(path) or detect_format(path) is not None


def is_other_s_folder(path: Path) -> bool:
    """Whether a folder is by its name a single image of a format that we do not read."""
    return path.suffix.lower() in OTHERS_FOLDERS


def produce_in_background(
    produce: Callable[[], Exam],
    dispatch: Dispatch,
    on_exam: Callable[[Exam], None],
    on_error: Callable[[str], None],
) -> None:
    """Make an exam on a thread; hand it, or one sentence that says why there is none, to the owner's thread."""

    def work() -> None:
        try:
            exam = produce()
            # Kept with the volume, so that the owner's thread need not read a mapped file for it.
            auto_contrast(exam.volume)
        except OCTCubeError as error:
            message = str(error)
            dispatch(lambda: on_error(message))
        except Exception as error:
            kind = type(error).__name__  # its text may quote the file, and so the patient
            message = f"The exam could not be opened because of an unexpected error ({kind})."
            dispatch(lambda: on_error(message))
        else:
            dispatch(lambda: on_exam(exam))

    threading.Thread(target=work, name="octcube open", daemon=True).start()


class ExamOpener:
    """From paths to the exam in view; where there are several exams the user chooses.

    All methods and callbacks happen on the owner's thread. A newer request replaces the one before, whose exam is
    dropped if it still comes.

    Parameters
    ----------
    session : Session
        Gets ``opening`` and ``error``.
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    show : callable of Exam
    choose : callable of ExamListing
        Asks which of its exams to open, while they are still being listed; closes when the listing is ``over``.
    note : callable of (ExamPlace, Exam)
        Told of every exam from a file that was opened.
    """

    def __init__(
        self,
        session: Session,
        dispatch: Dispatch,
        show: Callable[[Exam], None],
        choose: Callable[[ExamListing], None],
        note: Callable[[ExamPlace, Exam], None] = lambda place, exam: None,
    ) -> None:
        self._session = session
        self._dispatch = dispatch
        self._show = show
        self._choose = choose
        self._note = note
        self._listing: ExamListing | None = None
        self._choosing = False
        self._request = 0  # number of the request that counts

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Open the exam at these paths, or ask which of several."""
        self.cancel()
        self._session.error = ""  # or the same error again would be no news
        listing = self._listing = ExamListing(paths, self._dispatch)
        self._session.opening = listing.name
        listing.added.connect(lambda _: self._on_added(listing))
        listing.finished.connect(lambda: self._on_listed(listing))
        if any(map(os.path.isdir, paths)):  # unlike Path.is_dir never raises
            late = threading.Timer(
                PATIENCE_S, lambda: self._dispatch(lambda: self._on_late(listing))
            )
            late.daemon = True
            late.start()
        listing.start()

    def open_listed(self, listed: ListedExam) -> None:
        """Open one exam of the current listing; if that fails, the user may choose another."""
        listing = self._listing
        if listing is None or not self._choosing:
            self.open_exam(listed.entry.read, listed.name, listed.place)
        else:
            request = self._begin(listed.name)
            produce_in_background(
                listed.entry.read,
                self._dispatch,
                lambda exam: self._on_exam(request, exam, listed.place),
                lambda message: self._on_listed_failed(request, listing, listed, message),
            )

    def open_exam(
        self, produce: Callable[[], Exam], name: str, place: ExamPlace | None = None
    ) -> None:
        """Make an exam in the background and show it; ``place`` is where it lies if it does in a file."""
        self._drop_listing()
        request = self._begin(name)
        produce_in_background(
            produce,
            self._dispatch,
            lambda exam: self._on_exam(request, exam, place),
            lambda message: self._on_error(request, message),
        )

    def cancel(self) -> None:
        """Open nothing of what was asked for so far."""
        self._request += 1
        self._drop_listing()
        self._session.opening = ""

    def _begin(self, name: str) -> int:
        self._request += 1
        self._session.error = ""
        self._session.opening = name
        return self._request

    def _drop_listing(self) -> None:
        listing, self._listing, self._choosing = self._listing, None, False
        if listing is not None:
            listing.cancel()

    def _ask(self, listing: ExamListing) -> None:
        if not self._choosing:
            self._choosing = True
            self._session.opening = ""
            self._choose(listing)

    def _on_added(self, listing: ExamListing) -> None:
        if listing is self._listing and len(listing.exams) > 1:
            self._ask(listing)

    def _on_late(self, listing: ExamListing) -> None:
        if listing is self._listing and not listing.done:
            self._ask(listing)

    def _on_listed(self, listing: ExamListing) -> None:
        if listing is not self._listing:
            return
        if len(listing.exams) > 1:
            return  # the user chooses
        if listing.exams:
            (only,) = listing.exams
            self.open_exam(only.entry.read, only.name, only.place)
        else:
            self.cancel()
        if listing.failures:
            self._session.error = listing.failures[0]

    def _on_exam(self, request: int, exam: Exam, place: ExamPlace | None) -> None:
        if request == self._request:
            self.cancel()
            self._show(exam)
            if place is not None:
                self._note(place, exam)

    def _on_error(self, request: int, message: str) -> None:
        if request == self._request:
            self.cancel()
            self._session.error = message

    def _on_listed_failed(
        self, request: int, listing: ExamListing, listed: ListedExam, message: str
    ) -> None:
        if request == self._request:
            self._session.opening = ""
            listing.fail(listed, message)


def reader_of(path: Path, exam: int | None = None) -> Callable[[], Exam]:
    """The function that reads the exam at a path, or one of several by its number from 1."""
    return lambda: octcube_core.read_exam(path, exam=exam)
