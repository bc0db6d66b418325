"""Tells that napari is about to add an exam's layer, so that the exam in view can leave first.

Two exams need not have the same units, and napari 0.9 warns of mixed units as soon as both are in the layer list;
on a software renderer it has crashed in OpenGL when layers came and went under that warning.
"""

from __future__ import annotations

from typing import ClassVar

from psygnal import Signal


class Arrivals:
    """``announced`` is emitted after an exam was read and before its layer is added."""

    announced: ClassVar[Signal] = Signal()


arrivals = Arrivals()
