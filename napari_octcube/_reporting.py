"""The report of the exam in view and the files that can be saved of its analysis; all made on threads. No Qt."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from psygnal import SignalGroupDescriptor

from napari_octcube._inference import Dispatch
from napari_octcube._report_files import KINDS, Page, make_page, save_file
from napari_octcube._session import Session
from octcube_core.errors import OCTCubeError
from octcube_core.exam import Exam
from octcube_core.results import Analysis, why_no_report
from octcube_core.writers.dicom_reasons import why_no_dicom

NO_EXAM = "Open an exam first."
NO_ANALYSIS = "Analyse the exam first, in the tab Analysis."
MAKING, SAVING = "Making the report …", "Saving …"


@dataclass(eq=False)
class ReportState:
    """What the tab shows.

    Attributes
    ----------
    identity : bool
        Whether the report names the patient and the dates; off again for each new exam.
    page : Page or None
        The report as a picture.
    busy : str
        What is being made; empty when nothing is.
    news : str
        What became of the last wish.
    """

    identity: bool = False
    page: Page | None = None
    busy: str = ""
    news: str = ""

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()


class Reporting:
    """Acts on the state of the tab. All methods and callbacks happen on the owner's thread.

    Parameters
    ----------
    session : Session
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    """

    def __init__(self, session: Session, dispatch: Dispatch) -> None:
        self.state = ReportState()
        self._session = session
        self._dispatch = dispatch
        self._wanted = False
        self._making = 0  # the number of the latest report that was begun
        session.events.exam.connect(self._on_exam)
        session.events.analysis.connect(self._renew)

    def want(self, wanted: bool) -> None:
        """Whether somebody looks at the report; nothing is made for nobody."""
        if wanted != self._wanted:
            self._wanted = wanted
            if wanted and self.state.page is None:
                self._renew()

    def set_identity(self, identity: bool) -> None:
        """Name the patient and the dates, or not."""
        if identity != self.state.identity:
            self.state.identity = identity
            self._renew()

    def why_not(self, kind: str) -> str:
        """Why a kind of file cannot be saved now, in one sentence; empty if it can."""
        exam, analysis = self._session.exam, self._session.analysis
        if exam is None:
            return NO_EXAM
        if analysis is None:
            return NO_ANALYSIS
        if kind != "json" and (why := why_no_report(analysis)):
            return why
        return why_no_dicom(exam) if kind == "dicom" else ""

    def save(self, kind: str, path: Path) -> None:
        """Save a file, over one of that name; the news say what became of it."""
        exam, analysis = self._session.exam, self._session.analysis
        if self.why_not(kind) or exam is None or analysis is None:
            self.state.news = self.why_not(kind)
            return
        identity, disease = self.state.identity, self._session.disease
        target = disease if disease in analysis.targets else analysis.top_target

        def write() -> str:
            save_file(kind, path, exam, analysis, target, identity)
            named = " It names the patient." if identity and KINDS[kind].names_patient else ""
            return f"Saved: {path.name}.{named}"

        def tell(text: str) -> None:
            self.state.busy = ""
            self.state.news = text

        self.state.busy = SAVING
        self._in_background(write, tell, tell)

    def _on_exam(self, exam: Exam | None) -> None:
        self.state.identity = False
        self.state.news = ""
        self._renew()

    def _renew(self, _: Analysis | None = None) -> None:
        """Make the report anew if somebody looks at it; what is shown is never of another exam."""
        self._making += 1
        self.state.page = None
        if self.state.busy == MAKING:
            self.state.busy = ""
        exam, analysis = self._session.exam, self._session.analysis
        if not self._wanted or exam is None or analysis is None or self.why_not("pdf"):
            return
        number, identity = self._making, self.state.identity

        def show(page: Page) -> None:
            if number == self._making:
                self.state.busy = ""
                self.state.page = page

        def fail(text: str) -> None:
            if number == self._making:
                self.state.busy = ""
                self.state.news = text

        self.state.busy = MAKING
        self._in_background(lambda: make_page(exam, analysis, identity), show, fail)

    def _in_background(
        self,
        work: Callable[[], Any],
        on_result: Callable[[Any], None],
        on_failure: Callable[[str], None],
    ) -> None:
        def run() -> None:
            try:
                result = work()
            except OCTCubeError as error:
                message = str(error)
            except OSError as error:
                message = f"Cannot save this ({error.strerror or 'input/output error'})."
            except Exception as error:  # a bug must not leave the tab busy for ever
                message = f"This did not work ({type(error).__name__}); please report it."
            else:
                self._dispatch(lambda: on_result(result))
                return
            self._dispatch(lambda: on_failure(message))

        threading.Thread(target=run, name="octcube report", daemon=True).start()
