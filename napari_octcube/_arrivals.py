"""Tells the docks that napari is about to open something, so that the dock of the viewer in use can act."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import napari
from psygnal import Signal


@dataclass
class Offer:
    """A path that napari was asked to open; a dock that opens it in the background sets ``taken``."""

    path: Path
    taken: bool = False


class Arrivals:
    """What is about to come.

    ``announced`` is emitted after an exam was read and before its layer is added, so that the exam in view can leave
    first. Two exams need not have the same units, and napari 0.9 warns of mixed units as soon as both are in the layer
    list; on a software renderer it has crashed in OpenGL when layers came and went under that warning.

    ``offered`` carries an `Offer`.
    """

    announced: ClassVar[Signal] = Signal()
    offered: ClassVar[Signal] = Signal(object)


arrivals = Arrivals()


def is_in_use(viewer: Any) -> bool:
    """Whether a viewer, or the proxy of it that napari gives a plugin, is the one that napari opens files in."""
    current = napari.current_viewer()
    return current is None or current is getattr(viewer, "__wrapped__", viewer)
