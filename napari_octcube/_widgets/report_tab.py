"""The tab with the report of the exam in view, and what can be saved of its analysis."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtGui import QHideEvent, QShowEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_octcube._report_files import KINDS, Kind
from napari_octcube._reporting import Reporting
from napari_octcube._session import Session
from napari_octcube._widgets.report_preview import ReportPreview, ReportWindow
from octcube_core.results import DISCLAIMER

WITH_IDENTITY = "With the patient's name, id and dates"
IDENTITY_TIP = (
    "Off: nothing that is saved here tells who the patient is. On: PDF, HTML and DICOM name the patient, until "
    "another exam is opened."
)
COLUMNS = 2


class ReportTab(QWidget):
    """From top to bottom: whether it names the patient, the page, what to save.

    Parameters
    ----------
    session : Session
    reporting : Reporting
    ask_path : callable of (parent, Kind, folder), optional
        Asks where to save; None if the user has changed their mind.
    """

    def __init__(
        self,
        session: Session,
        reporting: Reporting,
        ask_path: Callable[[QWidget, Kind, Path | None], Path | None] | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._reporting = session, reporting
        self._ask_path = ask_path or _ask_path
        self._folder: Path | None = None
        self.window_of_page: ReportWindow | None = None
        self.identity = QCheckBox(WITH_IDENTITY)
        self.identity.setToolTip(IDENTITY_TIP)
        self.preview = ReportPreview()
        self.buttons = {kind: QPushButton(facts.button) for kind, facts in KINDS.items()}
        self.news = QLabel()
        self.news.setWordWrap(True)
        disclaimer = QLabel(DISCLAIMER)
        disclaimer.setWordWrap(True)
        grid = QGridLayout()
        grid.setSpacing(4)
        for number, (kind, button) in enumerate(self.buttons.items()):
            grid.addWidget(button, number // COLUMNS, number % COLUMNS)
            button.clicked.connect(lambda _=False, kind=kind: self._save(kind))
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 6)
        column.setSpacing(6)
        column.addWidget(self.identity)
        column.addWidget(self.preview, 1)
        column.addLayout(grid)
        column.addWidget(self.news)
        column.addWidget(disclaimer)
        self.identity.toggled.connect(reporting.set_identity)
        self.preview.enlarged.connect(self.enlarge)
        for event in ("identity", "page", "busy", "news"):
            reporting.state.events[event].connect(self._refresh)
        session.events.exam.connect(self._refresh)
        session.events.analysis.connect(self._refresh)
        self._refresh()

    def showEvent(self, event: QShowEvent) -> None:  # noqa: N802
        """Make the report, now that somebody looks."""
        super().showEvent(event)
        self._reporting.want(True)

    def hideEvent(self, event: QHideEvent) -> None:  # noqa: N802
        """Make no more reports."""
        super().hideEvent(event)
        self._reporting.want(False)

    @property
    def busy(self) -> bool:
        """Whether the page or a file is being made."""
        return bool(self._reporting.state.busy)

    def enlarge(self) -> None:
        """Show the page in full size."""
        if self.preview.image is not None and self.window_of_page is None:
            self.window_of_page = ReportWindow(self.preview.image, self.window())
            self.window_of_page.destroyed.connect(self._forget_window)
            self.window_of_page.show()

    def close_down(self) -> None:
        """Close the page in full size."""
        if self.window_of_page is not None:
            self.window_of_page.close()

    def _forget_window(self) -> None:
        self.window_of_page = None

    def _save(self, kind: str) -> None:
        path = self._ask_path(self, KINDS[kind], self._folder)
        if path is not None:
            self._folder = path.parent
            self._reporting.save(kind, path)

    def _refresh(self) -> None:
        state = self._reporting.state
        missing = self._reporting.why_not("pdf")
        self.identity.setChecked(state.identity)
        self.identity.setEnabled(not missing)
        self.preview.show_page(state.page, missing or state.busy)
        if state.page is None and self.window_of_page is not None:
            self.window_of_page.close()  # it may be of another exam
        for kind, button in self.buttons.items():
            why = self._reporting.why_not(kind)
            button.setEnabled(not why)
            button.setToolTip(why or KINDS[kind].tip)
        self.news.setText(state.busy if state.page is not None and state.busy else state.news)
        self.news.setVisible(bool(self.news.text()))


def _ask_path(parent: QWidget, kind: Kind, folder: Path | None) -> Path | None:
    """Ask with the system's dialog; the name it suggests tells nothing of the patient."""
    suggested = str((folder or Path.home()) / kind.name)
    name, _ = QFileDialog.getSaveFileName(parent, kind.button.rstrip("…"), suggested, kind.types)
    if not name:
        return None
    suffix = "".join(Path(kind.name).suffixes)
    path = Path(name)
    return path if path.name.lower().endswith(suffix) else path.with_name(path.name + suffix)
