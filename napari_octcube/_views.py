"""The ways to look at an exam in the canvas: along B-scans, from the front, across B-scans, in 3D."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import napari
import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray
from psygnal import SignalGroupDescriptor

from napari_octcube._fundus_plane import (
    en_face_layer,
    fundus_affine,
    fundus_picture_of,
    surface_layer,
)
from napari_octcube._inference import Dispatch
from napari_octcube._projection import Projecting, projection_layer
from napari_octcube._scene import Scene
from napari_octcube._session import Session
from octcube_core.exam import Exam
from octcube_core.views import has_planes_across

View = Literal["bscan", "enface", "slow", "3d"]
Projection = Literal["slice", "mean", "max"]
# Order of the axes (z, y, x): the last two are drawn.
ORDERS: dict[View, tuple[int, int, int]] = {
    "bscan": (0, 1, 2),
    "enface": (1, 0, 2),
    "slow": (2, 1, 0),
    "3d": (0, 1, 2),
}
FROM_ABOVE = (10.0, 20.0, 42.0)  # degrees; the fundus below, the vitreous above
OVER_FUNDUS = 0.6  # opacity of the OCT from the front, so that the fundus is seen under it


@dataclass(eq=False)
class ViewState:
    """How the exam is looked at; ``state.events.<field>`` tells when a field changes.

    Attributes
    ----------
    view : 'bscan', 'enface', 'slow' or '3d'
    projection : 'slice', 'mean' or 'max'
        From the front: one depth, or all depths of the range.
    depth : tuple of 2 int
        First and last depth sample of the range.
    across : bool
        Whether there are planes across the B-scans, without which only B-scans and 3D make sense.
    """

    view: View = "bscan"
    projection: Projection = "slice"
    depth: tuple[int, int] = (0, 0)
    across: bool = False

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()


class Views:
    """Turns the canvas and adds what a view shows beside the exam; takes it away with the view.

    A fundus image is in the layer list only while a view shows it: every layer, even hidden, sets the sliders' steps.

    Parameters
    ----------
    viewer : napari.Viewer
    session : Session
    scene : Scene
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    """

    def __init__(
        self, viewer: napari.Viewer, session: Session, scene: Scene, dispatch: Dispatch
    ) -> None:
        self.state = ViewState()
        self._viewer = viewer
        self._session = session
        self._scene = scene
        self._dispatch = dispatch
        self._projecting = Projecting(dispatch)
        self._fundus: Layer | None = None
        self._projected: Layer | None = None
        self._picture: tuple[Exam, NDArray[np.uint8]] | None = None
        session.events.exam.connect(self._on_exam)
        session.events.aspect.connect(self._again)
        self._on_exam()

    def close(self) -> None:
        """Show B-scans again and leave the viewer alone from now on."""
        self._session.events.exam.disconnect(self._on_exam)
        self._session.events.aspect.disconnect(self._again)
        self._projecting.forget()
        self._take_away()

    def show(self, view: View) -> None:
        """Look at the exam so; nothing happens if it has no planes of that kind."""
        if view in ("enface", "slow") and not self.state.across:
            return
        self.state.view = view
        self._apply()

    def choose_projection(self, projection: Projection) -> None:
        """From the front: one depth, or the mean or maximum over the range."""
        self.state.projection = projection
        self._project()

    def choose_depth(self, first: int, last: int) -> None:
        """The range of depth samples, both included."""
        exam = self._session.exam
        if exam is not None:
            deepest = exam.volume.shape[1] - 1
            first = min(max(first, 0), deepest)
            self.state.depth = first, min(max(last, first), deepest)
            self._project()

    def _on_exam(self) -> None:
        exam = self._session.exam
        self._projecting.forget()
        self._picture = None
        self._take_away()
        self.state.across = exam is not None and has_planes_across(exam)
        self.state.depth = (0, 0) if exam is None else (0, exam.volume.shape[1] - 1)
        self.state.projection = "slice"
        self.state.view = "bscan"
        self._turn("bscan")

    def _again(self) -> None:
        if self.state.view in ("enface", "3d"):
            self._apply()

    def _apply(self) -> None:
        view, exam = self.state.view, self._session.exam
        with self._in_place():
            self._take_away()
            self._turn(view)
            if exam is not None and view in ("enface", "3d"):
                self._show_fundus(exam)
        if exam is None:
            return
        if view == "enface":
            self._project()
        elif view == "bscan":
            self._scene.go_to_bscan(self._session.bscan)
        self._dispatch(self._fit)

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[None]:
        """Stay at this B-scan, depth and width: napari moves its sliders when layers come and go."""
        dims, session = self._viewer.dims, self._session
        exam, bscan, point = session.exam, session.bscan, dims.point
        yield
        if exam is not None and exam is session.exam and dims.ndim == len(point):
            dims.set_point(range(dims.ndim), point)
            session.bscan = bscan

    def _fit(self) -> None:
        self._scene.fit()
        if self.state.view == "3d":
            self._viewer.scene.camera.angles = FROM_ABOVE

    def _turn(self, view: View) -> None:
        dims = self._viewer.dims
        if dims.ndim < 3:
            return
        extra = dims.ndim - 3  # other layers may have brought more axes
        order = (*range(extra), *(extra + axis for axis in ORDERS[view]))
        dims.ndisplay = 3 if view == "3d" else 2
        dims.order = order

    def _show_fundus(self, exam: Exam) -> None:
        affine = fundus_affine(exam, self._session.aspect)
        if affine is None:
            return
        if self._picture is not None and self._picture[0] is exam:
            self._add_fundus(exam, self._picture[1], affine)
            return

        def finish(picture: NDArray[np.uint8]) -> None:
            if exam is self._session.exam:
                self._picture = exam, picture
                if self.state.view in ("enface", "3d") and self._fundus is None:
                    self._add_fundus(exam, picture, affine)
                    self._fit()

        def work() -> None:
            picture = fundus_picture_of(exam)
            if picture is not None:
                self._dispatch(lambda: finish(picture))

        threading.Thread(target=work, name="octcube fundus", daemon=True).start()

    def _add_fundus(self, exam: Exam, picture: NDArray[np.uint8], affine: Any) -> None:
        in_3d = self.state.view == "3d"
        make = surface_layer if in_3d else en_face_layer
        self._fundus = make(exam, picture, affine, self._session.aspect)
        with self._in_place():
            self._insert(self._fundus, 0)
        if not in_3d and self._scene.layer is not None:
            self._scene.layer.opacity = OVER_FUNDUS

    def _project(self) -> None:
        exam, projection = self._session.exam, self.state.projection
        if exam is None or self.state.view != "enface":
            return
        if projection == "slice":
            self._projecting.forget()
            with self._in_place():
                self._remove_projection()
            return

        def made(projected: NDArray[np.float32]) -> None:
            if exam is self._session.exam and self.state.view == "enface":
                with self._in_place():
                    self._remove_projection()
                    self._add_projection(
                        projection_layer(exam, projected, projection, self._session.aspect)
                    )

        self._projecting.make(exam, projection, self.state.depth, made)

    def _add_projection(self, projected: Layer) -> None:
        layer = self._scene.layer
        if layer is not None and layer in self._viewer.layers:
            if self._fundus is not None:
                projected.opacity = OVER_FUNDUS
            self._projected = projected
            self._scene.project_saliency(self.state.depth)
            self._insert(projected, self._viewer.layers.index(layer) + 1)
            layer.visible = False

    def _insert(self, layer: Layer, place: int) -> None:
        selected = set(self._viewer.layers.selection)
        self._viewer.layers.insert(place, layer)
        self._viewer.layers.selection = selected

    def _remove_projection(self) -> None:
        layer, self._projected = self._projected, None
        if layer is not None:
            self._scene.project_saliency(None)
            with contextlib.suppress(ValueError):  # the user removed it
                self._viewer.layers.remove(layer)
            if self._scene.layer is not None:
                self._scene.layer.visible = True

    def _take_away(self) -> None:
        self._remove_projection()
        layer, self._fundus = self._fundus, None
        if layer is not None:
            with contextlib.suppress(ValueError):
                self._viewer.layers.remove(layer)
            if self._scene.layer is not None:
                self._scene.layer.opacity = 1.0
