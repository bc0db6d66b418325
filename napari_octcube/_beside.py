"""Another eye beside the one in view: in napari's grid, so that the same slider moves through both."""

from __future__ import annotations

import contextlib
from typing import Any, ClassVar

import napari
from napari.layers import Image
from psygnal import Signal

from napari_octcube._inference import Dispatch
from napari_octcube._layers import bscan_is_metric, exam_layer, world_spacing
from napari_octcube._session import Session
from octcube_core.exam import Exam

NEIGHBOUR_KEY = "octcube_neighbour"
GAP_PX = 6


class Beside:
    """At most one other eye, as the topmost layer, on the right; everything else shares the left half of the canvas.

    Parameters
    ----------
    viewer : napari.Viewer
    session : Session
        The eye beside leaves with the exam in view.
    defer : callable
        Runs a function soon: layers must not be removed while napari still tells of an insertion or removal.
    """

    changed: ClassVar[Signal] = Signal(object)  # the exam that is beside now, or None

    def __init__(self, viewer: napari.Viewer, session: Session, defer: Dispatch) -> None:
        self._viewer = viewer
        self._session = session
        self._defer = defer
        self._layer: Image | None = None
        session.events.exam.connect(self.leave)
        session.events.aspect.connect(self._on_aspect)
        viewer.layers.events.inserted.connect(self._arrange)
        viewer.layers.events.removed.connect(self._on_removed)

    @property
    def layer(self) -> Image | None:
        """The layer of the eye beside, None if there is none."""
        return self._layer

    def show(self, exam: Exam, name: str) -> None:
        """Show an eye beside the one in view, in the place of the one before."""
        self.leave()
        layer = exam_layer(exam, self._session.aspect)
        layer.name = name
        layer.metadata = {NEIGHBOUR_KEY: exam}
        self._fit(layer, exam)
        self._layer = layer
        selected = set(self._viewer.layers.selection)
        self._viewer.add_layer(layer)
        self._viewer.layers.selection = selected  # the tools stay with the eye in view
        self._viewer.canvas.grid.spacing = GAP_PX
        self._viewer.canvas.grid.enabled = True
        self._arrange()
        self._defer(self._fit_view)
        self.changed.emit(exam)

    def leave(self) -> None:
        """Take the eye beside away."""
        layer, self._layer = self._layer, None
        if layer is not None:
            with contextlib.suppress(ValueError):  # the user removed it
                self._viewer.layers.remove(layer)
            self._end()

    def close(self) -> None:
        """Take the eye away and leave the viewer alone from now on."""
        self.leave()
        self._viewer.layers.events.inserted.disconnect(self._arrange)
        self._viewer.layers.events.removed.disconnect(self._on_removed)

    def _end(self) -> None:
        self._viewer.canvas.grid.enabled = False
        self._defer(self._fit_view)
        self.changed.emit(None)

    def _fit_view(self) -> None:
        if self._viewer.layers:
            self._viewer.reset_view()

    def _arrange(self, event: Any = None) -> None:
        """All layers but the topmost in the left cell, the eye beside in the right one."""
        if self._layer is None:
            return
        layers, grid = self._viewer.layers, self._viewer.canvas.grid
        if self._layer in layers and layers[-1] is not self._layer:
            layer = self._layer
            self._defer(lambda: self._raise(layer))
        grid.shape = (1, 2)
        grid.stride = max(1, len(layers) - 1)

    def _raise(self, layer: Image) -> None:
        layers = self._viewer.layers
        if layer in layers and layers[-1] is not layer:
            layers.move(layers.index(layer), len(layers))

    def _on_removed(self, event: Any) -> None:
        if event.value is self._layer:
            self._layer = None
            self._end()
        else:
            self._arrange()

    def _on_aspect(self) -> None:
        if self._layer is not None:
            self._fit(self._layer, self._layer.metadata[NEIGHBOUR_KEY])

    def _fit(self, layer: Image, exam: Exam) -> None:
        """Lay an eye in the world of the one in view: napari warns of layers in different units."""
        current = self._session.exam
        scale = world_spacing(exam, self._session.aspect)
        if current is not None and bscan_is_metric(current) != bscan_is_metric(exam):
            # One of the two has no spacing: as wide, as deep and as long as the other.
            own = world_spacing(current, self._session.aspect)
            pairs = zip(current.volume.shape, own, exam.volume.shape, strict=True)
            scale = tuple(size * step / others for size, step, others in pairs)
            unit = "micrometer" if bscan_is_metric(current) else "pixel"
            layer.units = (unit, unit, unit)
        layer.scale = scale
