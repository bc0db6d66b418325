"""Opens what is dropped, in the background, without asking which of napari's readers should read it."""

# ruff: noqa: N802 - names of Qt's methods

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from qtpy.QtCore import QEvent, QMimeData, QObject, Qt, QUrl
from qtpy.QtGui import QDragLeaveEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QMainWindow, QWidget

from napari_octcube._opening import may_be_exam

LOOKING_S = 0.03  # at the first bytes of what is dropped; the viewer stands still meanwhile
NAMED = 3  # files that a sentence lists


class ExamDrops(QObject):
    """Takes drops of files and folders of formats that we read.

    On the canvas all others, and drops with Alt or Shift, stay napari's. On the dock nobody else would take them, so
    that a sentence says what they are not.

    Parameters
    ----------
    parent : QObject
    open_paths : callable of a sequence of Path
    say : callable of str
    """

    def __init__(
        self,
        parent: QObject,
        open_paths: Callable[[Sequence[Path]], None],
        say: Callable[[str], None],
    ) -> None:
        super().__init__(parent)
        self._open_paths = open_paths
        self._say = say
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
        if watched is None or not paths:
            return False
        if watched is self.parent():
            event.acceptProposedAction()
            if event.type() == QEvent.Type.Drop:
                self._take(paths)
            return True
        # napari accepts drags by itself, and shows so
        if event.type() != QEvent.Type.Drop or event.modifiers() != Qt.KeyboardModifier.NoModifier:
            return False
        return self._share(watched, event, paths)

    def _take(self, paths: Sequence[Path]) -> None:
        exams, others = _sorted(paths)
        if exams:
            self._open_paths(exams)
        if others:
            self._say(_not_exams(others))

    def _share(self, canvas: QObject, event: QDropEvent, paths: Sequence[Path]) -> bool:
        """Open the exams and leave the others to napari; return whether there is an exam."""
        exams, others = _sorted(paths)
        if not exams:
            return False
        event.acceptProposedAction()
        self._open_paths(exams)
        if not others:
            QApplication.sendEvent(canvas, QDragLeaveEvent())  # ends napari's highlight
            return True
        rest = QMimeData()
        rest.setUrls([QUrl.fromLocalFile(str(path)) for path in others])
        QApplication.sendEvent(
            canvas,
            QDropEvent(
                event.position(), event.dropAction(), rest, event.buttons(), event.modifiers()
            ),
        )
        return True


def _sorted(paths: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """(what may be exams, the others); of very many files, those that there is no time to look at may be."""
    exams, others = [], []
    end = time.monotonic() + LOOKING_S
    for path in paths:
        maybe = time.monotonic() > end or may_be_exam(path)
        (exams if maybe else others).append(path)
    return exams, others


def _not_exams(paths: Sequence[Path]) -> str:
    names = [path.name for path in paths[:NAMED]]
    if len(paths) > NAMED:
        names.append(f"{len(paths) - NAMED} more")
    listed = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    what = "is no OCT exam" if len(paths) == 1 else "are no OCT exams"
    return f"{listed} {what} of a format that can be opened; what napari opens can be dropped on the image."


def _paths(event: QDropEvent) -> list[Path]:
    data = event.mimeData()
    urls = data.urls() if data is not None else []
    if not all(url.isLocalFile() for url in urls):
        return []
    return [Path(url.toLocalFile()) for url in urls]
