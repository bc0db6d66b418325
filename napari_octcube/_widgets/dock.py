"""The OCTCube dock: the session of one viewer, and the tabs that show it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QTabWidget

from napari_octcube._inference import InferenceClient
from napari_octcube._model_process import WORKER_COMMAND
from napari_octcube._opening import produce_in_background, reader_of
from napari_octcube._scene import Scene
from napari_octcube._session import Session
from napari_octcube._widgets.analysis_tab import AnalysisTab
from napari_octcube._widgets.qt_dispatch import QtDispatcher
from octcube_core.exam import Exam

if TYPE_CHECKING:
    import napari

MINIMUM_WIDTH = 330


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
        self.session = Session()
        self._dispatch = QtDispatcher(self)
        self.client = InferenceClient(self.session, self._dispatch, worker_command)
        self.scene = Scene(napari_viewer, self.session, self._dispatch)
        self.analysis_tab = AnalysisTab(self.session, self.client.submit, self.client.cancel)
        self.addTab(self.analysis_tab, "Analysis")
        self.setMinimumWidth(MINIMUM_WIDTH)
        self.session.events.error.connect(_notify)
        self.destroyed.connect(self.client.close)
        self.client.start()

    def event(self, event: QEvent) -> bool:
        """Close when napari takes the widget out of its dock: it does so on the dock's X, and deletes nothing."""
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.client.close()
            self.scene.close()
        return super().event(event)

    def open_path(self, path: str | Path) -> None:
        """Read an exam in the background and show it."""
        self.open_exam(reader_of(Path(path)), Path(path).name)

    def open_exam(self, produce: Callable[[], Exam], name: str) -> None:
        """Make an exam in the background and show it."""
        self.session.opening = name
        produce_in_background(produce, self._dispatch, self._on_opened, self._on_open_failed)

    def _on_opened(self, exam: Exam) -> None:
        self.session.opening = ""
        self.scene.add_exam(exam)

    def _on_open_failed(self, message: str) -> None:
        self.session.opening = ""
        self.session.error = message


def _notify(error: str) -> None:
    if error:
        show_error(error)
