"""Gives the layer of the exam in view its contrast, and notes what the user makes of it. No Qt."""

from __future__ import annotations

from typing import ClassVar

from napari.layers import Image
from psygnal import Signal

from napari_octcube._contrast import FULL_RANGE, Contrast, auto_contrast, device_of
from napari_octcube._contrast_memory import ContrastMemory
from napari_octcube._scene import Scene
from napari_octcube._session import Session
from octcube_core.exam import Exam


class DisplayContrast:
    """Contrast and gamma of the B-scans on the screen.

    An exam opens with what the user set last for its device, else with what suits its values. What napari's own
    sliders set is remembered for the device; a choice of ``auto`` or ``full`` is for the exam in view alone.

    Parameters
    ----------
    session : Session
    scene : Scene
        Has the layer of the session's exam.
    memory : ContrastMemory, optional
    """

    changed: ClassVar[Signal] = Signal()

    def __init__(
        self, session: Session, scene: Scene, memory: ContrastMemory | None = None
    ) -> None:
        self._session = session
        self._scene = scene
        self.memory = memory or ContrastMemory()
        self._layer: Image | None = None
        self._own_change = False
        session.events.exam.connect(self._on_exam)
        self._on_exam()

    def close(self) -> None:
        """Leave the layer alone from now on, and keep what was set."""
        self._session.events.exam.disconnect(self._on_exam)
        self._leave_layer()
        self.memory.close()

    @property
    def remembered(self) -> Contrast | None:
        """What the user has set for the device of the exam in view."""
        exam = self._session.exam
        return None if exam is None else self.memory.get(device_of(exam))

    @property
    def current(self) -> Contrast | None:
        """What the exam in view is shown with."""
        exam, layer = self._session.exam, self._layer
        if exam is None or layer is None:
            return None
        low, high = layer.contrast_limits
        return Contrast.of_limits((low, high), layer.gamma, exam.volume.black_white)

    def auto(self) -> None:
        """Show the exam in view with what suits its values."""
        if self._session.exam is not None:
            self._apply(auto_contrast(self._session.exam.volume))

    def device(self) -> None:
        """Show the exam in view as the user has set it for its device, if so."""
        if self.remembered is not None:
            self._apply(self.remembered)

    def full(self) -> None:
        """Show the exam in view from the file's black to its white."""
        self._apply(FULL_RANGE)

    def forget(self) -> None:
        """Remember nothing for the device of the exam in view, and show that as if nothing had been."""
        if self._session.exam is not None:
            self.memory.forget(device_of(self._session.exam))
            self.auto()

    def dress(self, layer: Image, exam: Exam) -> None:
        """Give the layer of an exam the contrast with which it opens."""
        contrast = self.memory.get(device_of(exam)) or auto_contrast(exam.volume)
        layer.contrast_limits = contrast.limits(exam.volume.black_white)
        layer.gamma = contrast.gamma

    def _on_exam(self) -> None:
        self._leave_layer()
        exam, layer = self._session.exam, self._scene.layer
        if exam is not None and layer is not None:
            self.dress(layer, exam)
            self._layer = layer
            layer.events.contrast_limits.connect(self._on_user)
            layer.events.gamma.connect(self._on_user)
        self.changed.emit()

    def _leave_layer(self) -> None:
        layer, self._layer = self._layer, None
        if layer is not None:
            layer.events.contrast_limits.disconnect(self._on_user)
            layer.events.gamma.disconnect(self._on_user)

    def _apply(self, contrast: Contrast) -> None:
        exam, layer = self._session.exam, self._layer
        if exam is None or layer is None:
            return
        self._own_change = True
        try:
            layer.contrast_limits = contrast.limits(exam.volume.black_white)
            layer.gamma = contrast.gamma
        finally:
            self._own_change = False
        self.changed.emit()

    def _on_user(self) -> None:
        exam, current = self._session.exam, self.current
        if self._own_change or exam is None or current is None:
            return
        # napari's "continuous" sets the limits anew for every B-scan: nobody chose those.
        if self._layer is not None and not self._layer.auto_contrast:
            self.memory.keep(device_of(exam), current)
        self.changed.emit()
