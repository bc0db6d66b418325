"""The OCTCube dock: the session of one viewer, and the tabs that show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent, QTimer
from qtpy.QtWidgets import QTabWidget

from napari_octcube._arrivals import Offer, arrivals, is_in_use
from napari_octcube._batch import FolderAnalysis, reader_of_row
from napari_octcube._batch_rows import BatchRow
from napari_octcube._beside import Beside
from napari_octcube._comparison import Comparison
from napari_octcube._display_contrast import DisplayContrast
from napari_octcube._exam_listing import ExamListing
from napari_octcube._exam_place import ExamPlace
from napari_octcube._inference import InferenceClient
from napari_octcube._layers import exam_name
from napari_octcube._mesa import keep_programs
from napari_octcube._model_process import WORKER_COMMAND
from napari_octcube._opening import ExamOpener, produce_in_background, reader_of
from napari_octcube._recall import Recall
from napari_octcube._recent import RecentExam, RecentExams
from napari_octcube._remembered import remembered_archive
from napari_octcube._reporting import Reporting
from napari_octcube._scene import Scene
from napari_octcube._session import Session
from napari_octcube._session_settings import SessionSettings
from napari_octcube._settings import Settings
from napari_octcube._similar import SimilarEyes
from napari_octcube._views import Views
from napari_octcube._widgets.analysis_tab import AnalysisTab
from napari_octcube._widgets.batch_dialog import BatchDialog
from napari_octcube._widgets.comparison_table import ComparisonTable
from napari_octcube._widgets.contrast_button import ContrastButton
from napari_octcube._widgets.exam_chooser import ExamChooser
from napari_octcube._widgets.exam_drops import ExamDrops
from napari_octcube._widgets.keys import add_key
from napari_octcube._widgets.localizer_tab import LocalizerTab
from napari_octcube._widgets.open_button import OpenButton
from napari_octcube._widgets.preferences import show_preferences
from napari_octcube._widgets.qt_dispatch import QtDispatcher
from napari_octcube._widgets.recent_menu import RecentMenu
from napari_octcube._widgets.report_tab import ReportTab
from napari_octcube._widgets.settings_button import SettingsButton
from napari_octcube._widgets.similar_question import FIND_KEY
from napari_octcube._widgets.similar_tab import SimilarTab
from napari_octcube._widgets.view_bar import ViewBar
from octcube_core.exam import Exam

if TYPE_CHECKING:
    import napari

MINIMUM_WIDTH = 330
TAB_STYLE = "QTabBar::tab { padding: 5px 6px; }"  # napari's cuts the letters


class OCTCubeDock(QTabWidget):
    """Everything of OCTCube in one viewer; napari makes it from the plugin menu.

    Parameters
    ----------
    napari_viewer : napari.Viewer
    worker_command : sequence of str
        Command line of the model process.
    """

    def __init__(
        self, napari_viewer: napari.Viewer, worker_command: Sequence[str] = WORKER_COMMAND
    ) -> None:
        super().__init__()
        keep_programs()
        self.session = Session()
        self._dispatch = QtDispatcher(self)
        self.settings = Settings()
        unusable = self.settings.follow_napari()
        self._session_settings = SessionSettings(self.session, self.settings)
        self.client = InferenceClient(self.session, self._dispatch, worker_command, self.settings)
        self.scene = Scene(napari_viewer, self.session, self._dispatch)
        self.recent = RecentExams(self._dispatch)
        self.opener = ExamOpener(
            self.session, self._dispatch, self.scene.add_exam, self._choose_exam, self.recent.add
        )
        self.chooser: ExamChooser | None = None
        self._viewer = napari_viewer
        self._offered: list[Path] = []
        self._looked_for_archive = False
        self._drops = ExamDrops(self, self.open_paths, show_error)
        self.open_button = OpenButton(self.open_paths, self.analyse_folder, self.open_beside)
        self.open_button.add_recent(RecentMenu(self.recent, self.open_recent))
        self.batch_dialog: BatchDialog | None = None
        self.analysis_tab = AnalysisTab(self.session, self.client.submit, self.client.cancel)
        self.recall = Recall(self.session, self._dispatch, settings=self.settings)
        self.analysis_tab.run_bar.add_settings(
            SettingsButton(self.settings, self.recall, self._show_settings)
        )
        self.views = Views(napari_viewer, self.session, self.scene, self._dispatch)
        self.contrast = DisplayContrast(self.session, self.scene)
        self.analysis_tab.add_contrast(ContrastButton(self.session, self.contrast))
        self.view_bar = ViewBar(self.session, self.views)
        self.view_bar.add_keys(self)
        self.analysis_tab.run_bar.add_keys(self)
        add_key(self, FIND_KEY, self._find_similar)
        self.analysis_tab.add_view_bar(self.view_bar)
        self.localizer_tab = LocalizerTab(self.session)
        self.similar = SimilarEyes(self.session, self.client, self._dispatch)
        self.beside = Beside(napari_viewer, self.session, self._dispatch)
        self.comparison = Comparison(self.session, self.client)
        self.beside.changed.connect(self.comparison.show)
        self.beside.changed.connect(self._dress_beside)
        self.comparison_table = ComparisonTable(self.session, self.comparison)
        self.analysis_tab.add_comparison(self.comparison_table)
        self.similar_tab = SimilarTab(self.session, self.similar, self.beside, self._dispatch)
        self.addTab(self.analysis_tab, "Analysis")
        self.addTab(self.localizer_tab, "Localizer")
        self.addTab(self.similar_tab, "Similar eyes")
        self.report_tab = ReportTab(self.session, Reporting(self.session, self._dispatch))
        self.addTab(self.report_tab, "Report")
        self.setCornerWidget(self.open_button)
        self.setMinimumWidth(MINIMUM_WIDTH)
        self.setStyleSheet(TAB_STYLE)
        self.session.events.error.connect(_notify)
        self.currentChanged.connect(self._on_tab)
        arrivals.offered.connect(self._on_offered)
        self.destroyed.connect(self.client.close)
        self.session.error = unusable
        self.client.start()

    def event(self, event: QEvent) -> bool:
        """Close when napari takes the widget out of its dock: it does so on the dock's X, and deletes nothing."""
        if event.type() == QEvent.Type.ParentChange:
            if self.parent() is None:
                self._close()
            else:
                QTimer.singleShot(0, self._watch_drops)  # once the dock is in its window
        return super().event(event)

    def open_path(self, path: str | Path) -> None:
        """Read an exam in the background and show it; ask which if there are several."""
        self.open_paths([Path(path)])

    def open_paths(self, paths: Sequence[Path]) -> None:
        """Read an exam at these paths in the background and show it; ask which if there are several."""
        self.opener.open_paths(paths)

    def open_beside(self, path: Path) -> None:
        """Read an exam in the background and show it beside the one in view."""
        if self.session.exam is None:
            self.open_path(path)
            return
        self.session.error = ""

        def show(exam: Exam) -> None:
            self.beside.show(exam, f"Beside: {exam_name(exam)}")
            self.recent.add(ExamPlace.numbered(path), exam)

        produce_in_background(
            reader_of(path),
            self._dispatch,
            show,
            lambda message: setattr(self.session, "error", message),
        )

    def open_recent(self, recent: RecentExam) -> None:
        """Read an exam again that was opened before."""
        self.open_exam(recent.read, recent.place.name, recent.place)

    def open_exam(
        self, produce: Callable[[], Exam], name: str, place: ExamPlace | None = None
    ) -> None:
        """Make an exam in the background and show it."""
        self.opener.open_exam(produce, name, place)

    def analyse_folder(self, folder: Path) -> None:
        """Offer to analyse all exams of a folder into a table."""
        if self.batch_dialog is None:
            analysis = FolderAnalysis(self._dispatch, settings=self.settings)
            self.destroyed.connect(analysis.close)
            self.batch_dialog = BatchDialog(self.session, analysis, self._open_row, self.window())
            self.batch_dialog.finished.connect(self._forget_batch)
        self.batch_dialog.show_folder(folder)
        self.batch_dialog.show()
        self.batch_dialog.raise_()

    def _open_row(self, row: BatchRow, folder: Path) -> None:
        place = ExamPlace(row.path, row.part, str(folder.absolute()))
        self.open_exam(reader_of_row(row, folder), row.name, place)

    def _show_settings(self) -> None:
        self.settings.follow_napari()  # its settings are others once a plugin was switched on or off
        show_preferences(self._viewer)

    def _dress_beside(self, exam: Exam | None) -> None:
        if exam is not None and self.beside.layer is not None:
            self.contrast.dress(self.beside.layer, exam)

    def _forget_batch(self) -> None:
        self.batch_dialog = None

    def _on_tab(self, index: int) -> None:
        # Not before somebody wants it: an archive on a slow drive need not be touched by everyone.
        if self.widget(index) is self.similar_tab and not self._looked_for_archive:
            self._looked_for_archive = True
            if self.similar.state.archive is None and (address := remembered_archive()):
                self.similar.open_archive(address)

    def _find_similar(self) -> None:
        self.setCurrentWidget(self.similar_tab)
        self.similar_tab.question.find_button.click()

    def _close(self) -> None:
        arrivals.offered.disconnect(self._on_offered, missing_ok=True)
        self._drops.stop()
        if self.batch_dialog is not None:
            self.batch_dialog.shut()
        self.opener.cancel()
        self.similar_tab.close_down()
        self.report_tab.close_down()
        self.client.close()
        self.recall.close()
        self.settings.close()
        self.views.close()
        self.contrast.close()
        self.comparison.close()
        self.beside.close()
        self.scene.close()
        self.session.close()

    def _watch_drops(self) -> None:
        self._drops.watch(self)

    def _choose_exam(self, listing: ExamListing) -> None:
        self.chooser = ExamChooser(
            listing, self.opener.open_listed, self.opener.cancel, self.window()
        )
        listing.over.connect(self._forget_chooser)
        self.chooser.show()

    def _forget_chooser(self) -> None:
        self.chooser = None

    def _on_offered(self, offer: Offer) -> None:
        if offer.taken or not is_in_use(self._viewer):
            return
        offer.taken = True
        self._offered.append(offer.path)
        if len(self._offered) == 1:  # napari hands over several dropped files one by one
            QTimer.singleShot(0, self._open_offered)

    def _open_offered(self) -> None:
        paths, self._offered = self._offered, []
        self.open_paths(paths)


def _notify(error: str) -> None:
    if error:
        show_error(error)
