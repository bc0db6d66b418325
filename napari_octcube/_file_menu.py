"""What OCTCube adds to napari's menu File (and to its command palette): the dock's own ways to open exams.

napari's File > Open File(s) reads exams as well, but asks for the plugin where napari itself reads the format, too
(TIFF, NumPy, folders).
"""

from __future__ import annotations

import napari

from napari_octcube._widgets.dock import OCTCubeDock


def open_files() -> None:
    """Ask for files and open the exams in them."""
    _dock().open_button.ask_for_files()


def open_folder() -> None:
    """Ask for a folder and open the exams in it."""
    _dock().open_button.ask_for_folder()


def _dock() -> OCTCubeDock:
    """The dock of the viewer in use, which appears if it is not there."""
    viewer = napari.current_viewer()
    assert viewer is not None  # the menu is one of its own
    area, dock = viewer.window.add_plugin_dock_widget("napari-octcube", "OCTCube")
    area.show()
    assert isinstance(dock, OCTCubeDock)
    return dock
