"""The question to the archive: by which image, among which, and who may be found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from qtpy.QtWidgets import (
    QComboBox,
    QGridLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QSpinBox,
    QWidget,
)

from napari_octcube._session import Session
from napari_octcube._similar_state import SimilarState

FIND_KEY = "F6"
MOST = 200
LEAST_WIDTH = 96
EYES = (("both", None), ("OD", "OD"), ("OS", "OS"))
LEAVE_OUT = (
    ("patient", "patient"),
    ("visit", "visit"),
    ("eye", "eye"),
    ("exam", "exam"),
    ("nothing", None),
)
QUERIES = {"OCT": "volume", "IR": "its IR", "FAF": "its FAF"}


class SimilarQuestion(QWidget):
    """Choices in two columns, and the button that asks.

    Parameters
    ----------
    session, state
    on_ask : callable of (field=value)
        Changes the question.
    on_find : callable
    """

    def __init__(
        self,
        session: Session,
        state: SimilarState,
        on_ask: Callable[..., None],
        on_find: Callable[[], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._state, self._on_ask = session, state, on_ask
        self.find_button = QPushButton(f"Find similar eyes  ({FIND_KEY})")
        self.find_button.setToolTip("Search the archive for the eyes most like the one in view")
        self.find_button.clicked.connect(lambda: on_find())
        self.by_box = self._box("by", "Which image of the eye in view is compared")
        self.to_box = self._box("to", "Among which images of the archive")
        self.eye_box = self._box("laterality", "Only this side")
        self.device_box = self._box("device", "Only exams of this device")
        self.label_box = self._box("label", "Only eyes with this label")
        self.leave_out_box = self._box(
            "leave_out",
            "What of the same person is not shown: all exams, those of this visit or eye, this exam",
        )
        self.count_box = QSpinBox()
        self.count_box.setRange(1, MOST)
        _give_way(self.count_box)
        self.count_box.setToolTip("How many eyes")
        self.count_box.setKeyboardTracking(False)
        self.count_box.valueChanged.connect(self._on_count)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        rows: Sequence[tuple[str, QWidget, str, QWidget]] = (
            ("Compare", self.by_box, "with", self.to_box),
            ("Eye", self.eye_box, "Device", self.device_box),
            ("Label", self.label_box, "Number", self.count_box),
        )
        for row, (first, left, second, right) in enumerate(rows):
            grid.addWidget(QLabel(first), row, 0)
            grid.addWidget(left, row, 1)
            grid.addWidget(QLabel(second), row, 2)
            grid.addWidget(right, row, 3)
        grid.addWidget(QLabel("Leave out"), 3, 0)
        grid.addWidget(self.leave_out_box, 3, 1)
        grid.addWidget(self.find_button, 3, 2, 1, 2)
        grid.setColumnStretch(1, 1)
        grid.setColumnStretch(3, 1)
        session.events.exam.connect(self._refresh)
        for event in ("archive", "busy", "by", "to", "filters", "count"):
            state.events[event].connect(self._refresh)
        self._refresh()

    def _box(self, name: str, tip: str) -> QComboBox:
        box = QComboBox()
        box.setToolTip(tip)
        box.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        box.setMinimumContentsLength(4)
        _give_way(box)
        box.activated.connect(lambda index: self._on_ask(**{name: box.itemData(index)}))
        return box

    def _on_count(self, count: int) -> None:
        if count != self._state.count:
            self._on_ask(count=count)

    def _refresh(self) -> None:
        state, facts, exam = self._state, self._state.archive, self._session.exam
        filters = state.filters
        modalities = ("OCT",) if facts is None else facts.modalities or ("OCT",)
        own = modalities if exam is None else tuple(m for m in exam.modalities if m in modalities)
        _fill(self.by_box, [(QUERIES.get(m, f"its {m}"), m) for m in own or ("OCT",)], state.by)
        _fill(self.to_box, [(m, m) for m in modalities], state.to)
        _fill(self.eye_box, EYES, filters.laterality)
        devices = () if facts is None else facts.devices
        labels = () if facts is None else facts.labels
        _fill(self.device_box, [("all", None), *((d, d) for d in devices)], filters.device)
        _fill(self.label_box, [("all", None), *((x, x) for x in labels)], filters.label)
        _fill(self.leave_out_box, LEAVE_OUT, filters.leave_out)
        self.count_box.setValue(state.count)
        filled = facts is not None and facts.counts["exams"] > 0
        self.find_button.setEnabled(filled and exam is not None and not state.busy)


def _give_way(box: QWidget) -> None:
    """As wide as there is room: else the dock would take it from the picture."""
    box.setMinimumWidth(LEAST_WIDTH)
    box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)


def _fill(box: QComboBox, items: Sequence[tuple[str, Any]], chosen: Any) -> None:
    if [(box.itemText(n), box.itemData(n)) for n in range(box.count())] != list(items):
        box.clear()
        for text, value in items:
            box.addItem(text, value)
    places = [n for n in range(box.count()) if box.itemData(n) == chosen]
    box.setCurrentIndex(places[0] if places else 0)
