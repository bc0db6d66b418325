"""Keeps the layers of a napari viewer and the session in step. Knows napari's public viewer only."""

from __future__ import annotations

import contextlib
from typing import Any

import napari
import numpy as np
from napari.layers import Image

from napari_octcube._arrivals import arrivals, is_in_use
from napari_octcube._inference import Dispatch
from napari_octcube._layers import (
    EXAM_KEY,
    bscan_is_metric,
    can_show,
    depth_stretch,
    exam_layer,
    overlay_data,
    overlay_layer,
    overlay_name,
    overlay_transform,
    show_in,
    style_overlay,
    world_spacing,
)
from napari_octcube._session import Aspect, Session
from napari_octcube._whole_view import WholeView
from octcube_core.exam import Exam
from octcube_core.results import Analysis


class Scene:
    """The exam and its saliency overlay in a viewer.

    There is one exam at a time, the one whose layer came last: exams lie at the same place in the world and would
    share their sliders. One overlay layer shows the session's disease; choosing another swaps its data.
    The viewer's slider and the session's B-scan follow each other.

    Parameters
    ----------
    viewer : napari.Viewer
    session : Session
    defer : callable
        Runs a function soon: layers must not be removed while napari still tells of an insertion or removal.
    """

    def __init__(self, viewer: napari.Viewer, session: Session, defer: Dispatch) -> None:
        self._viewer = viewer
        self._session = session
        self._defer = defer
        self._layer: Image | None = None  # shows the session's exam
        self._overlay: Image | None = None
        self._overlay_of: tuple[Exam, Any] | None = None  # exam and token grid it is laid out for
        self._own_change = False
        self._projected: tuple[int, int] | None = None  # the depths over which saliency is shown
        self._whole = WholeView(viewer, defer)
        arrivals.announced.connect(self._on_announced)
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.dims.events.point.connect(self._follow_slider)
        viewer.dims.events.order.connect(self._update_scale_bar)
        viewer.dims.events.ndisplay.connect(self._update_scale_bar)
        session.events.analysis.connect(self._update_overlay)
        session.events.disease.connect(self._update_overlay)
        session.events.aspect.connect(self._apply_aspect)
        session.events.overlay_opacity.connect(self._apply_opacity)
        session.events.overlay_colormap.connect(self._apply_colours)
        session.events.overlay_threshold.connect(self._apply_colours)
        session.events.bscan.connect(self._follow_session)
        session.analysis_finished.connect(self._go_to_key_bscan)
        for layer in [layer for layer in viewer.layers if _exam_of(layer)]:
            self._adopt(layer)

    @property
    def overlay(self) -> Image | None:
        """The overlay layer, None while no saliency is shown."""
        return self._overlay

    @property
    def layer(self) -> Image | None:
        """The layer of the exam in view."""
        return self._layer

    def fit(self) -> None:
        """Show all of what is in view."""
        self._show_whole()

    def project_saliency(self, depth: tuple[int, int] | None) -> None:
        """Show at every depth the maximum over a range, first to last sample; None shows each depth's own."""
        if depth != self._projected:
            self._projected = depth
            self._update_overlay()

    def close(self) -> None:
        """Take the overlay away and leave the viewer alone from now on."""
        self._remove_overlay()
        self._whole.close()
        arrivals.announced.disconnect(self._on_announced)
        layers = self._viewer.layers
        layers.events.inserted.disconnect(self._on_inserted)
        layers.events.removed.disconnect(self._on_removed)
        dims = self._viewer.dims
        dims.events.point.disconnect(self._follow_slider)
        dims.events.order.disconnect(self._update_scale_bar)
        dims.events.ndisplay.disconnect(self._update_scale_bar)

    def add_exam(self, exam: Exam) -> None:
        """Show an exam in place of the one before, in its layer if possible."""
        layer = self._layer
        if layer is not None and can_show(layer, exam):
            self._let_go(layer)
            show_in(layer, exam, self._session.aspect)
            self._show(layer, exam, replaces=True)
        else:
            self._close_exam()
            self._viewer.add_layer(exam_layer(exam, self._session.aspect))

    def go_to_bscan(self, index: int) -> None:
        """Move the viewer to a B-scan of the exam in view."""
        if self._session.exam is not None:
            self._viewer.dims.set_point(
                self._bscan_axis, index * world_spacing(self._session.exam)[0]
            )

    @property
    def _bscan_axis(self) -> int:
        return self._viewer.dims.ndim - 3  # other layers may have brought more axes

    def _bscan_of_slider(self, exam: Exam) -> int:
        place = self._viewer.dims.point[self._bscan_axis] / world_spacing(exam)[0]
        return min(max(round(place), 0), exam.volume.shape[0] - 1)

    def _follow_slider(self) -> None:
        exam = self._session.exam
        dims = self._viewer.dims
        if exam is None or self._layer is None or dims.ndim < 3:
            return
        if self._bscan_axis not in dims.displayed:  # else there is no slider to follow
            self._session.bscan = self._bscan_of_slider(exam)

    def _follow_session(self, bscan: int) -> None:
        exam = self._session.exam
        if exam is None or self._layer is None or _exam_of(self._layer) is not exam:
            return
        if self._viewer.dims.ndim >= 3 and bscan != self._bscan_of_slider(exam):
            self.go_to_bscan(bscan)

    def _update_scale_bar(self) -> None:
        exam = self._session.exam
        if exam is None or self._layer is None:
            return
        dims = self._viewer.dims
        no_distance = exam.volume.spacing_mm[0] is None and self._bscan_axis in dims.displayed
        # the bar lies along the last axis; in 3D along any
        along_depth = dims.ndisplay == 3 or dims.displayed[-1] == self._bscan_axis + 1
        stretched = self._session.aspect == "px" and not np.isclose(depth_stretch(exam), 1.0)
        # in pixels, along an axis without distances, or along a stretched one, it would look like a length
        self._viewer.canvas.overlays.scale_bar.visible = bscan_is_metric(exam) and not (
            no_distance or (along_depth and stretched)
        )

    def _on_announced(self) -> None:
        if is_in_use(self._viewer):
            self._close_exam()

    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        if _exam_of(layer) is None:
            return
        if self._layer is None:
            self._adopt(layer)
        else:
            self._defer(lambda: self._adopt(layer))

    def _adopt(self, layer: Image) -> None:
        exam = _exam_of(layer)
        if exam is None or layer not in self._viewer.layers:
            return
        replaces = self._layer is not None
        self._close_exam()
        _rescale(layer, world_spacing(exam, self._session.aspect), np.zeros(3))
        self._show(layer, exam, replaces)

    def _show(self, layer: Image, exam: Exam, replaces: bool) -> None:
        self._layer = layer
        self._session.show_exam(exam)
        self._update_scale_bar()
        if replaces:  # napari itself does this for the first layer alone
            self.go_to_bscan(exam.volume.shape[0] // 2)
        self._defer(self._show_whole)
        self._follow_slider()

    def _show_whole(self) -> None:
        if self._layer is not None:
            self._whole.fit()

    def _close_exam(self) -> None:
        if self._layer is not None:
            layer = self._layer
            self._let_go(layer)
            self._viewer.layers.remove(layer)

    def _let_go(self, layer: Image) -> None:
        exam, self._layer = _exam_of(layer), None
        self._session.close_exam(exam)
        self._whole.release()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if layer is self._overlay:
            self._overlay = self._overlay_of = None
            if not self._own_change:
                self._session.disease = None
        elif layer is self._layer:
            self._layer = None
            self._whole.release()
            exam = _exam_of(layer)
            self._defer(lambda: self._session.close_exam(exam))

    def _update_overlay(self) -> None:
        exam, analysis, disease = (
            self._session.exam,
            self._session.analysis,
            self._session.disease,
        )
        if exam is None or analysis is None or disease is None:
            self._remove_overlay()
        elif disease in analysis.targets:
            layout = (exam, analysis.grid)
            if self._overlay is None or self._overlay_of != layout:
                self._remove_overlay()
                aspect, depth = self._session.aspect, self._projected
                self._overlay = overlay_layer(exam, analysis, disease, aspect, depth)
                self._overlay_of = layout
                self._apply_colours()
                self._apply_opacity()
                self._overlay.events.opacity.connect(self._follow_opacity)
                self._viewer.add_layer(self._overlay)
            else:
                self._overlay.data = overlay_data(analysis, disease, self._projected)
                self._overlay.name = overlay_name(disease)

    def _apply_colours(self) -> None:
        if self._overlay is not None:
            session = self._session
            style_overlay(self._overlay, session.overlay_colormap, session.overlay_threshold)

    def _apply_opacity(self) -> None:
        if self._overlay is not None and self._overlay.opacity != self._session.overlay_opacity:
            self._overlay.opacity = self._session.overlay_opacity

    def _follow_opacity(self, event: Any) -> None:
        self._session.overlay_opacity = event.source.opacity  # set among napari's own controls

    def _remove_overlay(self) -> None:
        if self._overlay is not None:
            self._own_change = True
            with contextlib.suppress(ValueError):
                self._viewer.layers.remove(self._overlay)
            self._own_change = False
            self._overlay = self._overlay_of = None

    def _apply_aspect(self, aspect: Aspect) -> None:
        exam, analysis = self._session.exam, self._session.analysis
        if exam is None or self._layer is None:
            return
        _rescale(self._layer, world_spacing(exam, aspect), np.zeros(3))
        if self._overlay is not None and analysis is not None:
            _rescale(self._overlay, *overlay_transform(exam, analysis, aspect))
        self._update_scale_bar()
        self._whole.fit()

    def _go_to_key_bscan(self, analysis: Analysis) -> None:
        target = analysis.top_target
        if target is not None and (bscans := analysis.key_bscans(target, 1)):
            self.go_to_bscan(bscans[0])


def _exam_of(layer: Any) -> Exam | None:
    exam = layer.metadata.get(EXAM_KEY)
    return exam if isinstance(exam, Exam) and isinstance(layer, Image) else None


def _rescale(layer: Image, scale: Any, translate: Any) -> None:
    """Set a layer's place, if it differs: each change makes napari slice the layer again."""
    if not np.allclose(layer.scale, scale):
        layer.scale = scale
    if not np.allclose(layer.translate, translate):
        layer.translate = translate
