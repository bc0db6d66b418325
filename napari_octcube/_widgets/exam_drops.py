"""Opens what is dropped, in the background, without asking which of napari's readers should read it."""

# ruff: noqa: N802 - names of Qt's methods

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtCore import QEvent, QObject, Qt
from qtpy.QtGui import QDragLeaveEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from napari_octcube._opening import may_be_exam


class ExamDrops(QObject):
    """Takes drops of files and folders of formats that we read; others, and drops with Alt or Shift, stay napari's.

    Parameters
    ----------
    parent : QObject
    open_paths : callable of a sequence of Path
    """

    def __init__(self, parent: QObject, open_paths: Callable[[Sequence[Path]], None]) -> None:
        super().__init__(parent)
        self._open_paths = open_paths
        self._stopped = False

    def watch(self, dock: QWidget) -> None:
        """Take what is dropped on the dock, and on the canvas of the window that it is docked in."""
        dock.setAcceptDrops(True)
        window = dock.parentWidget()
        while window is not None and not isinstance(window, QMainWindow):
            window = window.parentWidget()
        widgets = [dock]
        if window is not None and window.centralWidget() is not None:
            inside = window.centralWidget().findChildren(QWidget)
            widgets += [widget for widget in inside if widget.acceptDrops()]
        for widget in widgets:
            widget.installEventFilter(self)  # once, however often it is said

    def stop(self) -> None:
        """Leave all drops to others from now on."""
        self._stopped = True

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if self._stopped or not isinstance(event, QDropEvent):  # drags are drops, too
            return False
        paths = _paths(event)
        if not paths or event.modifiers() != Qt.KeyboardModifier.NoModifier:
            return False
        if event.type() in (QEvent.Type.DragEnter, QEvent.Type.DragMove):
            if watched is not self.parent():
                return False  # napari accepts them by itself, and shows so
            event.acceptProposedAction()
            return True
        if event.type() != QEvent.Type.Drop or not all(map(may_be_exam, paths)):
            return False
        event.acceptProposedAction()
        if watched is not self.parent():
            QApplication.sendEvent(watched, QDragLeaveEvent())  # ends napari's highlight
        self._open_paths(paths)
        return True


def _paths(event: QDropEvent) -> list[Path]:
    data = event.mimeData()
    urls = data.urls() if data is not None else []
    if not all(url.isLocalFile() for url in urls):
        return []
    return [Path(url.toLocalFile()) for url in urls]
