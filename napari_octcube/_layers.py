"""From an exam and its analysis to napari layers, with their geometry in micrometres."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari.layers import Image
from napari.utils.colormaps import AVAILABLE_COLORMAPS, Colormap
from numpy.typing import NDArray

from napari_octcube._session import Aspect
from octcube_core.colours import OVERLAY_COLORMAPS, overlay_colours
from octcube_core.exam import Exam
from octcube_core.results import Analysis

EXAM_KEY = "octcube_exam"
AXIS_LABELS = ("B-scan", "depth", "width")
NOT_TO_SCALE = "B-scan (not to scale)"
UM_PER_MM = 1000.0


def bscan_is_metric(exam: Exam) -> bool:
    """Whether a B-scan can be drawn to scale: its axial and its lateral spacing are known."""
    return None not in exam.volume.spacing_mm[1:]


def world_spacing(exam: Exam, aspect: Aspect = "um") -> tuple[float, float, float]:
    """Size of a voxel in world units: micrometres if the spacing within a B-scan is known, else 1 pixel.

    With aspect 'px' the depth is stretched until a B-scan's pixels are square. The other two axes keep their
    micrometres, so that the en-face view and the horizontal scale bar stay true. Where B-scans have no distance (a
    circle, a star, or simply not stated) they lie as far apart as A-scans; that axis is labelled as not to scale.
    """
    z, y, x = exam.volume.spacing_mm
    if y is None or x is None:
        return 1.0, 1.0, 1.0
    across = x if z is None else z
    return across * UM_PER_MM, (x if aspect == "px" else y) * UM_PER_MM, x * UM_PER_MM


def depth_stretch(exam: Exam) -> float:
    """How many times deeper than true a B-scan is drawn with square pixels; 1 if the spacing is unknown."""
    return world_spacing(exam, "px")[1] / world_spacing(exam, "um")[1]


def _units(exam: Exam) -> tuple[str, str, str]:
    # One for all axes, though B-scans may have no distance: napari 0.9 warns in every view that mixes units.
    unit = "micrometer" if bscan_is_metric(exam) else "pixel"
    return unit, unit, unit


def _axis_labels(exam: Exam) -> tuple[str, str, str]:
    bscan, depth, width = AXIS_LABELS
    to_scale = exam.volume.spacing_mm[0] is not None or exam.volume.shape[0] == 1
    return (bscan if to_scale or not bscan_is_metric(exam) else NOT_TO_SCALE), depth, width


def exam_name(exam: Exam) -> str:
    """What the layer list calls an exam."""
    if exam.source is not None:
        return exam.source.name
    return "Synthetic eye" if exam.format == "synthetic" else "OCT"


def exam_layer_data(
    exam: Exam, name: str | None = None, aspect: Aspect = "um"
) -> tuple[NDArray[Any], dict[str, Any], str]:
    """The OCT volume as napari's layer data tuple; its metadata holds the exam."""
    options = {
        "name": name or exam_name(exam),
        "scale": world_spacing(exam, aspect),
        "units": _units(exam),
        "axis_labels": _axis_labels(exam),
        "contrast_limits": exam.volume.black_white,
        "colormap": "gray",
        "interpolation2d": "linear",
        "rendering": "attenuated_mip",
        "metadata": {EXAM_KEY: exam},
    }
    return exam.volume.voxels, options, "image"


def exam_layer(exam: Exam, aspect: Aspect = "um") -> Image:
    """The OCT volume as a layer."""
    voxels, options, _ = exam_layer_data(exam, aspect=aspect)
    return Image(voxels, **options)


def can_show(layer: Image, exam: Exam) -> bool:
    """Whether a layer can show another exam instead."""
    # napari draws one kind of number only, and makes room for the names of axes when there are new sliders only
    same_kind = layer.data.dtype == exam.volume.voxels.dtype
    same_axes = layer.axis_labels == _axis_labels(exam)
    return same_kind and same_axes and layer.ndim == 3 and not layer.multiscale and not layer.rgb


def show_in(layer: Image, exam: Exam, aspect: Aspect) -> None:
    """Show another exam in the layer of one before, in the user's colours.

    Unlike a new layer this takes napari no time, and no memory: each layer's controls leave some 4 MB behind.
    """
    voxels, options, _ = exam_layer_data(exam, aspect=aspect)
    layer.metadata = options["metadata"]
    layer.data = voxels
    layer.reset_contrast_limits_range()
    options |= {"translate": (0.0, 0.0, 0.0), "opacity": 1.0, "visible": True}
    for name in (
        *("name", "scale", "translate", "units", "axis_labels"),
        *("contrast_limits", "opacity", "visible"),
    ):
        if not np.array_equal(getattr(layer, name), options[name]):  # each change is drawn anew
            setattr(layer, name, options[name])


def saliency_colormap(name: str = OVERLAY_COLORMAPS[0], threshold: float = 0.0) -> Colormap:
    """An overlay's colours, whose alpha rises from 0; below the threshold it is transparent."""
    colors = overlay_colours(np.linspace(0.0, 1.0, 256), name, threshold).astype(np.float32)
    return Colormap(colors, name=f"OCTCube {name}")


def style_overlay(layer: Image, colormap: str, threshold: float) -> None:
    """Set the colours of an overlay."""
    colors = saliency_colormap(colormap, threshold)
    # napari would list one with another threshold as a further colour map
    AVAILABLE_COLORMAPS.pop(colors.name, None)
    layer.colormap = colors


def overlay_data(
    analysis: Analysis, disease: str, depth: tuple[int, int] | None = None
) -> NDArray[np.float32]:
    """The saliency of a disease or measurement, shape (z, y, x), on the token grid.

    Where several token layers fall on one B-scan they are averaged: a layer finer than the B-scans would make
    napari's slider stop between them. With ``depth``, first and last sample of a range, its maximum over the range
    stands at every depth.
    """
    saliency = analysis.saliency[analysis.index(disease)]
    if depth is not None:
        saliency = _projected(saliency, analysis, depth)
    if not _averages_layers(analysis):
        return saliency
    layers = np.zeros((analysis.grid.shape[0], 3))
    layers[:, 0] = np.arange(len(layers))
    bscans = np.rint(analysis.grid.voxel_of_token(layers)[:, 0]).astype(int)
    averaged = np.zeros((analysis.grid.volume_shape[0], *saliency.shape[1:]), np.float32)
    np.add.at(averaged, bscans, saliency)
    return averaged / np.bincount(bscans)[:, None, None].astype(np.float32)


def _projected(
    saliency: NDArray[np.float32], analysis: Analysis, depth: tuple[int, int]
) -> NDArray[np.float32]:
    step, first = analysis.grid.step_voxels[1], analysis.grid.origin_voxels[1]
    upper_edges = first + step * (np.arange(saliency.shape[1]) - 0.5)
    seen = (upper_edges < depth[1] + 0.5) & (upper_edges + step > depth[0] - 0.5)
    over_depth = saliency[:, seen].max(axis=1, keepdims=True, initial=0.0)
    return np.broadcast_to(over_depth, saliency.shape)


def _averages_layers(analysis: Analysis) -> bool:
    return bool(analysis.grid.step_voxels[0] < 1)


def overlay_transform(
    exam: Exam, analysis: Analysis, aspect: Aspect = "um"
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(scale, translate) that lay ``overlay_data`` on the exam's layer, in the same world units."""
    spacing = world_spacing(exam, aspect)
    scale, translate = analysis.grid.scale_and_translate(spacing)
    if _averages_layers(analysis):
        scale[0], translate[0] = spacing[0], 0.0
    return scale, translate


def overlay_layer(
    exam: Exam,
    analysis: Analysis,
    disease: str,
    aspect: Aspect = "um",
    depth: tuple[int, int] | None = None,
) -> Image:
    """The saliency of a disease or measurement as a layer registered with ``exam_layer``."""
    scale, translate = overlay_transform(exam, analysis, aspect)
    return Image(
        overlay_data(analysis, disease, depth),
        name=overlay_name(disease),
        scale=scale,
        translate=translate,
        units=_units(exam),
        axis_labels=_axis_labels(exam),
        contrast_limits=(0.0, 1.0),
        interpolation2d="linear",
        interpolation3d="linear",
        blending="translucent_no_depth",
        rendering="mip",
    )


def overlay_name(disease: str) -> str:
    """What the layer list calls the overlay."""
    return f"Saliency: {disease}"
