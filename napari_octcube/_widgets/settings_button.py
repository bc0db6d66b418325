"""The way to the settings, and to what is kept of earlier results."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from napari_octcube._recall import Recall
from napari_octcube._settings import MEGABYTE, Settings
from napari_octcube._widgets.small_parts import is_wanted

FORGET = "Forget all results"
FORGET_TIP = "Delete what is kept of earlier analyses on this computer; exams and saved files stay"
ASK_TITLE = "Forget all results?"
ASK = (
    "All results that are kept on this computer are deleted. Exams and saved files stay; an exam that is opened again"
    " has to be analysed anew."
)
FOLDER = "Folder of models…"
FOLDER_TIP = "Choose where downloaded model files lie: now"
DEFAULT_FOLDER = "octcube-models in your home folder"


class SettingsButton(QPushButton):
    """A menu.

    Parameters
    ----------
    settings : Settings
    recall : Recall
        Keeps the results.
    show_preferences : callable
        Opens napari's dialog.
    """

    def __init__(
        self,
        settings: Settings,
        recall: Recall,
        show_preferences: Callable[[], None],
        parent: QWidget | None = None,
    ) -> None:
        super().__init__("Settings", parent)
        self._settings, self._recall = settings, recall
        self.setToolTip("Device, precision, models, results that are kept, how the overlay looks")
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        self.open_action = menu.addAction("Settings…", show_preferences)
        self.open_action.setToolTip("All settings, in napari's Preferences")
        self.folder_action = menu.addAction(FOLDER, self._ask_for_folder)
        menu.addSeparator()
        self.forget_action = menu.addAction(FORGET, self._ask_whether_to_forget)
        self.forget_action.setToolTip(FORGET_TIP)
        menu.aboutToShow.connect(self._refresh)
        self.setMenu(menu)
        # as flat as the line of text beside it: the tab is to fit a small screen
        self.setStyleSheet("padding: 0px 2px")
        self.setFixedHeight(self.fontMetrics().height() + 5)

    def _refresh(self) -> None:
        note = self._settings.note_on_folder
        self.folder_action.setEnabled(not note)
        folder = self._settings.models_folder or DEFAULT_FOLDER
        self.folder_action.setToolTip(note or f"{FOLDER_TIP} {folder}")
        self.forget_action.setText(f"{FORGET} (counting …)")
        self._recall.measure(self._show_size)

    def _show_size(self, size: int) -> None:
        self.forget_action.setText(f"{FORGET} ({in_words(size)})")
        self.forget_action.setEnabled(size > 0)

    def _ask_for_folder(self) -> None:
        name = QFileDialog.getExistingDirectory(
            self, "Folder of models", self._settings.models_folder
        )
        if name:
            self._settings.remember("models_folder", name)

    def _ask_whether_to_forget(self) -> None:
        if is_wanted(self, ASK_TITLE, ASK):
            self._recall.forget_all()


def in_words(size: int) -> str:
    """Bytes as a person reads them."""
    if size >= 1000 * MEGABYTE:
        return f"{size / MEGABYTE / 1000:.1f} GB"
    return f"{max(size / MEGABYTE, 0.1):.1f} MB" if size else "none"
