"""napari's reader: File > Open, drag and drop, ``viewer.open``.

What a person opens is read in the background by the dock, which appears if it is not there. A script gets its layer
at once: it calls from outside of Qt's event loop, or without one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import napari
from napari.utils.notifications import show_error
from qtpy.QtCore import QCoreApplication, QThread

import octcube_core
from napari_octcube._arrivals import Offer, arrivals
from napari_octcube._layers import exam_layer_data
from napari_octcube._opening import is_other_s_folder, may_be_exam
from octcube_core.errors import OCTCubeError

LayerData = tuple[Any, ...]
NOTHING_TO_SHOW: list[LayerData] = [(None,)]  # napari's sign for "read, and there is no layer"


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """The reader for one file or folder; None for several, which are not one exam, and for what is never one."""
    paths = [path] if isinstance(path, str) else path
    return read if len(paths) == 1 and not is_other_s_folder(Path(paths[0])) else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Read an exam as layer data, or leave it to the dock; if it cannot be read, say why in a notification."""
    one = Path(path if isinstance(path, str) else path[0])
    # napari offers every file without a suffix; for one that is no exam no dock need appear.
    if _is_called_by_a_person() and may_be_exam(one) and _dock_takes(one):
        return NOTHING_TO_SHOW
    try:
        exam = octcube_core.read_exam(one)
    except OCTCubeError as error:
        show_error(str(error))
        return NOTHING_TO_SHOW
    arrivals.announced.emit()
    return [exam_layer_data(exam)]


def _is_called_by_a_person() -> bool:
    application = QCoreApplication.instance()
    if application is None or QThread.currentThread() is not application.thread():
        return False
    return QThread.currentThread().loopLevel() > 0


def _dock_takes(path: Path) -> bool:
    offer = Offer(path)
    arrivals.offered.emit(offer)
    viewer = napari.current_viewer()
    if not offer.taken and viewer is not None:
        viewer.window.add_plugin_dock_widget("napari-octcube", "OCTCube")
        arrivals.offered.emit(offer)
    return offer.taken
