"""napari's reader: File > Open, drag and drop, ``viewer.open``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from napari.utils.notifications import show_error

import octcube_core
from napari_octcube._arrivals import arrivals
from napari_octcube._layers import exam_layer_data
from octcube_core.errors import OCTCubeError

LayerData = tuple[Any, ...]
NOTHING_TO_SHOW: list[LayerData] = [(None,)]  # napari's sign for "read, and there is no layer"


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[LayerData]] | None:
    """The reader for one file or folder; None for several, which are not one exam."""
    return read if isinstance(path, str) or len(path) == 1 else None


def read(path: str | Sequence[str]) -> list[LayerData]:
    """Read an exam as layer data; if that fails, say why in a notification."""
    one = Path(path if isinstance(path, str) else path[0])
    try:
        exam = octcube_core.read_exam(one)
    except OCTCubeError as error:
        show_error(str(error))
        return NOTHING_TO_SHOW
    arrivals.announced.emit()
    return [exam_layer_data(exam)]
