"""Keeps the layers of a napari viewer and the session in step. Knows napari's public viewer only."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_octcube._layers import (
    EXAM_KEY,
    exam_layer,
    overlay_data,
    overlay_layer,
    overlay_name,
    overlay_transform,
    world_spacing,
)
from napari_octcube._session import Aspect, Session
from octcube_core.exam import Exam
from octcube_core.results import Analysis

if TYPE_CHECKING:
    import napari


class Scene:
    """The exams and the saliency overlay in a viewer.

    The exam in view is that of the OCT layer last added or selected. One overlay layer shows the session's disease;
    choosing another swaps its data.
    """

    def __init__(self, viewer: napari.Viewer, session: Session) -> None:
        self._viewer = viewer
        self._session = session
        self._exams: dict[Image, Exam] = {}
        self._overlay: Image | None = None
        self._overlay_of: tuple[Exam, Any] | None = None  # exam and token grid it is laid out for
        self._own_change = False
        viewer.layers.events.inserted.connect(self._on_inserted)
        viewer.layers.events.removed.connect(self._on_removed)
        viewer.layers.selection.events.active.connect(self._on_active)
        session.events.analysis.connect(self._update_overlay)
        session.events.disease.connect(self._update_overlay)
        session.events.aspect.connect(self._apply_aspect)
        session.analysis_finished.connect(self._go_to_key_bscan)
        for layer in viewer.layers:
            self._adopt(layer)

    @property
    def overlay(self) -> Image | None:
        """The overlay layer, None while no saliency is shown."""
        return self._overlay

    def add_exam(self, exam: Exam) -> None:
        """Show an exam as a new layer."""
        self._viewer.add_layer(exam_layer(exam, self._session.aspect))

    def go_to_bscan(self, index: int) -> None:
        """Move the viewer to a B-scan of the exam in view."""
        if self._session.exam is not None:
            axis = self._viewer.dims.ndim - 3  # other layers may have brought more axes
            self._viewer.dims.set_point(axis, index * world_spacing(self._session.exam)[0])

    def _on_inserted(self, event: Any) -> None:
        self._adopt(event.value)

    def _adopt(self, layer: Any) -> None:
        exam = layer.metadata.get(EXAM_KEY)
        if not isinstance(exam, Exam) or not isinstance(layer, Image):
            return
        self._exams[layer] = exam
        _rescale(layer, world_spacing(exam, self._session.aspect), np.zeros(3))
        # a bar in pixels would look like a length
        metric = all(known.volume.is_metric for known in self._exams.values())
        self._viewer.canvas.overlays.scale_bar.visible = metric
        self._session.show_exam(exam)

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if layer is self._overlay:
            self._overlay = self._overlay_of = None
            if not self._own_change:
                self._session.disease = None
            return
        exam = self._exams.pop(layer, None)
        if exam is None or exam in self._exams.values():
            return
        self._session.close_exam(exam)
        if self._session.exam is None and self._exams:
            self._session.show_exam(list(self._exams.values())[-1])

    def _on_active(self, event: Any) -> None:
        if exam := self._exams.get(event.value):
            self._session.show_exam(exam)

    def _update_overlay(self) -> None:
        exam, analysis, disease = (
            self._session.exam,
            self._session.analysis,
            self._session.disease,
        )
        if exam is None or analysis is None or disease is None:
            self._remove_overlay()
        elif any(score.abbreviation == disease for score in analysis.scores):
            layout = (exam, analysis.grid)
            if self._overlay is None or self._overlay_of != layout:
                self._remove_overlay()
                self._overlay = overlay_layer(exam, analysis, disease, self._session.aspect)
                self._overlay_of = layout
                self._viewer.add_layer(self._overlay)
            else:
                self._overlay.data = overlay_data(analysis, disease)
                self._overlay.name = overlay_name(disease)

    def _remove_overlay(self) -> None:
        if self._overlay is not None:
            self._own_change = True
            with contextlib.suppress(ValueError):
                self._viewer.layers.remove(self._overlay)
            self._own_change = False
            self._overlay = self._overlay_of = None

    def _apply_aspect(self, aspect: Aspect) -> None:
        for layer, exam in self._exams.items():
            _rescale(layer, world_spacing(exam, aspect), np.zeros(3))
        if self._overlay is not None and self._session.exam is not None:
            assert self._session.analysis is not None
            transform = overlay_transform(self._session.exam, self._session.analysis, aspect)
            _rescale(self._overlay, *transform)
        self._viewer.reset_view()

    def _go_to_key_bscan(self, analysis: Analysis) -> None:
        if bscans := analysis.key_bscans(analysis.top_disease, 1):
            self.go_to_bscan(bscans[0])


def _rescale(layer: Image, scale: Any, translate: Any) -> None:
    """Set a layer's place, if it differs: each change makes napari slice the layer again."""
    if not np.allclose(layer.scale, scale):
        layer.scale = scale
    if not np.allclose(layer.translate, translate):
        layer.translate = translate
