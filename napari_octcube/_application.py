"""What ``octcube-viewer`` does once a window can open: viewer, dock, exam, analysis, screenshot."""

from __future__ import annotations

import argparse
import os
import sys
import threading
from pathlib import Path
from typing import Any

import napari
import numpy as np
from napari.utils.notifications import Notification, NotificationSeverity, notification_manager
from PIL import Image as PillowImage
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_octcube.__main__ import TABS
from napari_octcube._exam_place import ExamPlace
from napari_octcube._opening import reader_of
from napari_octcube._widgets.dock import OCTCubeDock
from octcube_core import phantom
from octcube_core.exam import Exam
from octcube_core.whole_file import whole_file

TIMEOUT_S = 1800.0  # a large model on a CPU takes minutes
SETTLE_MS = 700  # for the window to draw what has just changed
WINDOW_SIZE = (1366, 768)
DEMO_SEED = 3
DEMO_DISEASES = ("DME", "ERM/MH")


def run(options: argparse.Namespace) -> int:
    """Open the viewer and stay until it closes; return the exit code."""
    viewer = napari.Viewer(title="OCTCube", show=True)
    _fit_to_screen(viewer)
    # the plugin's own dock, so that the plugin menu shows this one and opens no second
    _, dock = viewer.window.add_plugin_dock_widget("napari-octcube", "OCTCube")
    if model := options.model or (options.demo and "demo"):
        dock.session.model = model
    dock.setCurrentIndex(TABS.index(options.tab))
    if options.analyze or options.demo:
        _analyze_first_exam(dock)
    screenshot = None
    if options.screenshot is not None:
        screenshot = Screenshot(viewer, dock, options.screenshot)
        screenshot.take_when_ready(after_analysis=options.analyze or options.demo)
    if options.demo:
        dock.open_exam(demo_eye, "a synthetic eye")
    elif options.path is not None:
        if options.exam is None and screenshot is None:
            dock.open_path(options.path)
        else:  # nobody is there to choose one
            place = ExamPlace.numbered(options.path, options.exam)
            dock.open_exam(reader_of(options.path, options.exam), options.path.name, place)
    napari.run()
    dock.client.close()
    if screenshot is None:
        return 0
    screenshot.on_window_closed()
    return screenshot.exit_code


def _analyze_first_exam(dock: OCTCubeDock) -> None:
    def submit() -> None:
        dock.session.events.exam.disconnect(submit)
        QTimer.singleShot(0, dock.client.submit)  # once the layer is shown

    dock.session.events.exam.connect(submit)


def demo_eye() -> Exam:
    """The synthetic eye of ``--demo``."""
    return phantom.make_exam(DEMO_SEED, diseases=DEMO_DISEASES)


class Screenshot:
    """Waits for the viewer to show its result, writes a picture of the window, and closes it.

    ``exit_code`` is 0 once the picture is written; else one line on stderr says why it is not.
    """

    def __init__(self, viewer: napari.Viewer, dock: OCTCubeDock, path: Path) -> None:
        self._viewer = viewer
        self._session = dock.session
        self._report = dock.report_tab
        self._path = path
        self._over = False
        self.exit_code = 2

    def take_when_ready(self, after_analysis: bool) -> None:
        """Take the picture after the exam, or its analysis, is shown; give up on an error or after long."""
        self._session.events.error.connect(self._fail)
        # an error in a Qt slot ends up as a notification; with nobody there to read it, it ends the wait
        notification_manager.notification_ready.connect(self._on_notification)
        watchdog = threading.Timer(TIMEOUT_S, self._give_up)  # works even if Qt's thread hangs
        watchdog.daemon = True
        watchdog.start()
        if after_analysis:
            self._session.analysis_finished.connect(self._take_soon)
        else:
            self._session.events.exam.connect(self._take_soon)
            QTimer.singleShot(0, self._take_if_nothing_opens)

    def on_window_closed(self) -> None:
        """Say so if the window was closed before the picture was taken."""
        self._fail("The window was closed before the picture was taken.")

    def _take_if_nothing_opens(self) -> None:
        if not self._session.opening:
            self._take_soon()

    def _take_unless_report_is_made(self) -> None:
        if self._report.busy:
            self._take_soon()
        else:
            self._take()

    def _take_soon(self) -> None:
        QTimer.singleShot(SETTLE_MS, self._take_unless_report_is_made)

    def _take(self) -> None:
        if self._over:
            return
        try:
            pixels = self._viewer.screenshot(canvas_only=False, flash=False)
            _write_whole(np.asarray(pixels)[..., :3], self._path)
        except OSError as error:
            self._fail(f"The picture could not be written to {self._path} ({error.strerror}).")
            return
        self.exit_code = 0
        self._close()

    def _fail(self, message: str) -> None:
        if message and not self._over:
            print(f"octcube-viewer: error: {message}", file=sys.stderr)  # noqa: T201
            self._close()

    def _on_notification(self, notification: Notification) -> None:
        if notification.severity >= NotificationSeverity.ERROR:
            self._fail(notification.message)

    def _close(self) -> None:
        self._over = True
        QTimer.singleShot(0, self._viewer.close)

    def _give_up(self) -> None:
        minutes = TIMEOUT_S / 60
        message = f"There was no result after {minutes:.0f} minutes."
        print(f"octcube-viewer: error: {message}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(2)


def _write_whole(pixels: Any, path: Path) -> None:
    with whole_file(path) as partial:
        PillowImage.fromarray(np.ascontiguousarray(pixels)).save(partial, format="PNG")


def _fit_to_screen(viewer: napari.Viewer) -> None:
    available = QApplication.primaryScreen().availableGeometry()
    viewer.window.resize(
        min(WINDOW_SIZE[0], available.width()), min(WINDOW_SIZE[1], available.height())
    )
