"""Opens napari's Preferences at this plugin's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari.utils.notifications import show_info
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QListWidget

if TYPE_CHECKING:
    import napari

ACTION = "napari.window.file.show_preferences_dialog"
PAGES = "Preferences"  # the name of the dialog's list
PAGE = "OCTCube"  # this plugin's name in it
BY_HAND = f"The settings are in the menu File > Preferences, on the page {PAGE}."


def show_preferences(viewer: napari.Viewer) -> None:
    """Open the dialog, or bring it to the front, and turn to the page; say where it is if that does not work."""
    # A plugin is given no way to the dialog; its entry in the menu is one that users have, too.
    action = viewer.window.file_menu.findAction(ACTION)
    if action is None:
        show_info(BY_HAND)
        return
    action.trigger()
    for window in QApplication.topLevelWidgets():
        pages = window.findChild(QListWidget, PAGES)
        if pages is not None and window.isVisible():
            for page in pages.findItems(PAGE, Qt.MatchFlag.MatchExactly):
                pages.setCurrentItem(page)
