"""Which archive is open, and what can be added to it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QPushButton,
    QWidget,
)

from napari_octcube._session import Session
from napari_octcube._similar_state import SimilarState
from napari_octcube._widgets.progress_line import ProgressLine
from napari_octcube._widgets.small_parts import tipped_button

SUFFIX = ".octindex"
FILE_TYPES = f"Archives of similar eyes (*{SUFFIX});;All files (*)"
# Aligned ones first. What the neighbours of the others share was measured on synthetic eyes (docs/retrieval.md).
MODELS = {
    "demo-coep": "compares OCT, IR and FAF; alike eyes are of the same side and shape, whatever their diseases",
    "demo": "compares volumes; alike eyes have like diseases",
    "octcube-ir": "compares OCT and IR; downloaded on first use",
    "octcube-multitask": "compares volumes; downloaded on first use",
    "octcube": "compares volumes; downloaded on first use",
}
NOTHING_OPEN = "No archive is open. Open one, or make a new one and index a folder of exams."


class ArchiveBar(QWidget):
    """Open, make, add this exam, index a folder.

    Parameters
    ----------
    session, state
    on_open : callable of (address, create)
    on_add : callable
    on_index : callable of Path
    on_stop : callable
    """

    def __init__(
        self,
        session: Session,
        state: SimilarState,
        on_open: Callable[[str, bool], None],
        on_add: Callable[[], None],
        on_index: Callable[[Path], None],
        on_stop: Callable[[], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session, self._state = session, state
        self._on_open, self._on_index = on_open, on_index
        self.name_label = QLabel()
        self.name_label.setWordWrap(True)
        self.open_button = _button("Open…", "Open an archive of similar eyes", self._ask_open)
        self.new_button = _button("New…", "Make a new, empty archive", self._ask_new)
        self.add_button = _button("Add this exam", "Add the exam in view to the archive", on_add)
        self.index_button = _button(
            "Index a folder…", "Add all exams in a folder, in the background", self._ask_folder
        )
        self.stop_button = _button(
            "Stop", "Stop indexing; what was added stays, and the next time it goes on", on_stop
        )
        self.model_label = QLabel("Model")
        self.model_box = QComboBox()
        self.model_box.setToolTip("The model that embeds the exams of a new archive, for good")
        for number, (name, does) in enumerate(MODELS.items()):
            self.model_box.addItem(name, name)
            self.model_box.setItemData(number, does, Qt.ItemDataRole.ToolTipRole)
        self.model_box.activated.connect(self._on_model)
        self.progress_bar = ProgressLine()
        self.stage_label = QLabel()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        grid.addWidget(self.name_label, 0, 0, 1, 2)
        grid.addWidget(self.open_button, 1, 0)
        grid.addWidget(self.new_button, 1, 1)
        grid.addWidget(self.model_label, 2, 0)
        grid.addWidget(self.model_box, 2, 1)
        grid.addWidget(self.add_button, 3, 0)
        grid.addWidget(self.index_button, 3, 1)
        grid.addWidget(self.progress_bar, 4, 0)
        grid.addWidget(self.stop_button, 4, 1)
        grid.addWidget(self.stage_label, 5, 0, 1, 2)
        for event in ("exam", "model"):
            session.events[event].connect(self._refresh)
        for event in ("archive", "busy", "indexing", "fraction", "new_model"):
            state.events[event].connect(self._refresh)
        self._refresh()

    def _refresh(self) -> None:
        facts, indexing = self._state.archive, bool(self._state.indexing)
        writable = facts is not None and not facts.read_only and facts.has_salt
        exams = "" if facts is None else _count(facts.counts["exams"])
        model = "" if facts is None or facts.model is None else f", {facts.model.title}"
        text = NOTHING_OPEN if facts is None else f"{facts.name}: {exams}{model}"
        if facts is not None and facts.read_only:
            text += " (read-only)"
        elif facts is not None and not facts.has_salt:
            text += " (without its salt: nothing can be added or opened)"
        self.name_label.setText(text)
        self.name_label.setToolTip("" if facts is None else facts.address.rpartition("@")[2])
        empty = facts is not None and facts.model is None
        for widget in (self.model_label, self.model_box):
            widget.setVisible(empty)
        chosen = self._session.model  # in the tab Analysis; it may be a local file
        if self.model_box.findData(chosen) < 0:
            self.model_box.addItem(Path(chosen).name, chosen)
        self.model_box.setCurrentIndex(self.model_box.findData(self._state.new_model))
        self.model_box.setEnabled(not indexing)
        self.add_button.setEnabled(
            writable and self._session.exam is not None and not self._state.busy
        )
        self.index_button.setEnabled(writable and not indexing)
        for button in (self.open_button, self.new_button):
            button.setEnabled(not indexing)
        for widget in (self.progress_bar, self.stop_button, self.stage_label):
            widget.setVisible(indexing)
        self.progress_bar.show_fraction(self._state.fraction)
        self.stage_label.setText(self._state.indexing)

    def _on_model(self, index: int) -> None:
        self._state.new_model = self.model_box.itemData(index)

    def _ask_open(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self, "Open an archive", "", FILE_TYPES)
        if path:
            self._on_open(path, False)

    def _ask_new(self) -> None:
        path, _ = QFileDialog.getSaveFileName(self, "Make an archive", f"eyes{SUFFIX}", FILE_TYPES)
        if path:
            path = path if Path(path).suffix else f"{path}{SUFFIX}"
            self._on_open(path, True)

    def _ask_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Index all exams in a folder")
        if folder:
            self._on_index(Path(folder))


def _button(text: str, tip: str, on_click: Callable[[], None]) -> QPushButton:
    button = tipped_button(text, tip)
    button.clicked.connect(lambda: on_click())
    return button


def _count(exams: int) -> str:
    return f"{exams:,} exam{'s' if exams != 1 else ''}"
