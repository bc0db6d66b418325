"""Run, progress, cancel, and what the model runs on."""

from __future__ import annotations

import time
from collections.abc import Callable

from qtpy.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_octcube._session import DONE, Session
from napari_octcube._time_left import TimeLeft, in_words
from napari_octcube._widgets.keys import add_key
from napari_octcube._widgets.progress_line import ProgressLine

RUN_KEY = "F5"
CANCEL_KEY = "Shift+F5"


class RunBar(QWidget):
    """Buttons above a progress bar; the device label is always there."""

    def __init__(
        self,
        session: Session,
        on_run: Callable[[], None],
        on_cancel: Callable[[], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self.run_button = QPushButton(f"Run  ({RUN_KEY})")
        self.run_button.setToolTip("Score this eye and explain the scores")
        self.run_button.clicked.connect(lambda: on_run())
        self.cancel_button = QPushButton("Cancel")
        self.cancel_button.setToolTip(f"Stop the run ({CANCEL_KEY})")
        self.cancel_button.clicked.connect(lambda: on_cancel())
        self.device_label = QLabel()
        self.device_label.setWordWrap(True)
        self.progress_bar = ProgressLine()
        self.stage_label = QLabel()
        self.time_label = QLabel()
        self.time_label.setToolTip("Estimated from the pace so far, once that is steady")
        self._time_left = TimeLeft()
        self.error_label = QLabel()
        self.error_label.setWordWrap(True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        grid.addWidget(self.run_button, 0, 0)
        grid.addWidget(self.cancel_button, 0, 1)
        grid.addWidget(self.progress_bar, 1, 0, 1, 2)
        stage_row = QHBoxLayout()
        stage_row.addWidget(self.stage_label, 1)
        stage_row.addWidget(self.time_label)
        grid.addLayout(stage_row, 2, 0, 1, 2)
        grid.addWidget(self.device_label, 3, 0)
        grid.addWidget(self.error_label, 4, 0, 1, 2)
        grid.setColumnStretch(0, 1)
        self._grid = grid
        session.events.running.connect(self._time_left.clear)
        session.events.fraction.connect(self._report)
        for event in ("exam", "analysis", "device", "running", "stage", "fraction", "error"):
            session.events[event].connect(self._refresh)
        self._refresh()

    def add_keys(self, owner: QWidget) -> None:
        """Listen to the keys while a widget is shown."""
        add_key(owner, RUN_KEY, self.run_button.click)
        add_key(owner, CANCEL_KEY, self.cancel_button.click)

    def add_settings(self, button: QWidget) -> None:
        """Put the way to the settings beside what they decide."""
        self._grid.addWidget(button, 3, 1)

    def _report(self, fraction: float) -> None:
        if self._session.running is not None:
            self._time_left.report(fraction, time.monotonic())

    def _refresh(self) -> None:
        session = self._session
        running = session.running is not None
        self.run_button.setEnabled(session.exam is not None and not running)
        self.cancel_button.setEnabled(running)
        self.device_label.setText(f"Runs on: {session.device or 'the model process is starting …'}")
        made = session.analysis
        ran = f"; this result: {made.device}, {made.precision}" if made is not None else ""
        self.device_label.setToolTip(f"What the next run uses{ran}")
        self.stage_label.setText(session.stage or "Not analysed yet")
        self.stage_label.setVisible(session.stage != DONE)  # the result says it, and needs the room
        left = self._time_left.seconds(time.monotonic()) if running else None
        self.time_label.setText(in_words(left))
        self.time_label.setVisible(running)
        self.progress_bar.show_fraction(session.fraction)
        self.error_label.setText(f"⚠ {session.error}")
        self.error_label.setVisible(bool(session.error))
