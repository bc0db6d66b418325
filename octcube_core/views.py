"""Planes of an exam with a target's saliency on every pixel: B-scan, slow-scan plane, en face. numpy only.

Saliency is interpolated linearly between the centres of tokens and keeps its scale: 1 is the maximum of the volume.
The same for fundus images is in `fundus_views`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import Exam, Spacing
from octcube_core.results import Analysis

Projection = Literal["max", "mean"]
Saliency = NDArray[np.float32]
FLAT_PATTERNS = ("radial", "circle", "line")  # whose B-scans do not lie side by side


@dataclass(frozen=True, eq=False)
class View:
    """A picture of a plane, and the saliency on it.

    Attributes
    ----------
    picture : uint8 array, shape (rows, columns) or (rows, columns, 3)
        Grey or RGB.
    saliency : float32 array, shape (rows, columns)
        In [0, 1].
    pixel_mm : tuple of 2 float or None
        Distance between (rows, columns) in mm.
    """

    picture: NDArray[np.uint8]
    saliency: Saliency
    pixel_mm: tuple[Spacing, Spacing]

    @property
    def pixel_aspect(self) -> float | None:
        """Height of a pixel over its width; None if a distance is unknown."""
        height, width = self.pixel_mm
        return None if height is None or width is None else height / width


def has_planes_across(exam: Exam) -> bool:
    """Whether an exam has planes across its B-scans: they are several, and lie side by side as far as is known."""
    return exam.volume.shape[0] > 1 and exam.scan_pattern not in FLAT_PATTERNS


def peak_voxel(analysis: Analysis, target: str) -> tuple[int, int, int] | None:
    """(B-scan, depth, A-scan) nearest to the centre of the most salient token; None without positive evidence."""
    saliency = analysis.saliency[analysis.index(target)]
    if not saliency.any():
        return None
    token = np.unravel_index(int(saliency.argmax()), saliency.shape)
    last = np.array(analysis.grid.volume_shape) - 1
    bscan, depth, column = np.clip(np.rint(analysis.grid.voxel_of_token(token)), 0, last)
    return int(bscan), int(depth), int(column)


def saliency_of_bscan(analysis: Analysis, target: str, bscan: int) -> Saliency:
    """Saliency on every pixel of a B-scan, shape (depth, width)."""
    bscans, depth, width = analysis.grid.volume_shape
    at = _within(bscan, bscans, "B-scan")
    plane: Saliency = _sampled(analysis, target, [at], np.arange(depth), np.arange(width))[0]
    return plane


def saliency_of_slow_scan(analysis: Analysis, target: str, column: int) -> Saliency:
    """Saliency on the plane across all B-scans at one A-scan, shape (depth, bscans)."""
    bscans, depth, width = analysis.grid.volume_shape
    at = _within(column, width, "A-scan")
    plane = _sampled(analysis, target, np.arange(bscans), np.arange(depth), [at])[:, :, 0]
    return plane.T


def saliency_en_face(
    analysis: Analysis,
    target: str,
    projection: Projection = "max",
    depth: tuple[int, int] | None = None,
) -> Saliency:
    """Saliency seen from the front, shape (bscans, width).

    Parameters
    ----------
    analysis, target
    projection : 'max' or 'mean'
        Over depth.
    depth : (first, end), optional
        Depth samples to project, without the end; by default all.

    Raises
    ------
    InputError
        If there are no such depth samples.
    """
    bscans, samples, width = analysis.grid.volume_shape
    first, end = _depth_range(depth, samples)
    if projection == "mean":
        along_y = _weights(analysis, 1, np.arange(first, end)).mean(axis=0, keepdims=True)
    else:
        # Linear pieces have their maxima where they meet: at the centres of tokens, or at an end of the range.
        centres = analysis.grid.voxel_of_token(np.arange(analysis.grid.shape[1])[:, None])[:, 1]
        inside = centres[(centres > first) & (centres < end - 1)]
        along_y = _weights(analysis, 1, np.array([first, *inside, end - 1]))
    maps = _interpolated(
        analysis,
        target,
        _weights(analysis, 0, np.arange(bscans)),
        along_y,
        _weights(analysis, 2, np.arange(width)),
    )
    return np.asarray(maps.max(axis=1), np.float32)


def bscan_view(exam: Exam, analysis: Analysis, target: str, bscan: int) -> View:
    """A B-scan, rows along depth."""
    require_same(exam, analysis)
    saliency = saliency_of_bscan(analysis, target, bscan)
    _, axial, lateral = exam.volume.spacing_mm
    return View(_picture(exam, exam.volume.voxels[bscan]), saliency, (axial, lateral))


def slow_scan_view(exam: Exam, analysis: Analysis, target: str, column: int) -> View:
    """The plane across all B-scans at one A-scan, rows along depth, a column per B-scan.

    Raises
    ------
    InputError
        If the B-scans do not lie side by side.
    """
    require_same(exam, analysis)
    _require_planes_across(exam)
    saliency = saliency_of_slow_scan(analysis, target, column)
    between, axial, _ = exam.volume.spacing_mm
    plane = exam.volume.voxels[:, :, column].T
    return View(_picture(exam, plane), saliency, (axial, between))


def en_face_view(
    exam: Exam,
    analysis: Analysis,
    target: str,
    projection: Projection = "max",
    depth: tuple[int, int] | None = None,
) -> View:
    """The volume from the front, a row per B-scan: mean intensity, and the projected saliency.

    Parameters are those of `saliency_en_face`.

    Raises
    ------
    InputError
        If the B-scans do not lie side by side, or there are no such depth samples.
    """
    require_same(exam, analysis)
    _require_planes_across(exam)
    saliency = saliency_en_face(analysis, target, projection, depth)
    first, end = _depth_range(depth, exam.volume.shape[1])
    between, _, lateral = exam.volume.spacing_mm
    mean = exam.volume.voxels[:, first:end].mean(axis=1, dtype=np.float64)
    return View(_picture(exam, mean), saliency, (between, lateral))


def _picture(exam: Exam, values: NDArray[Any]) -> NDArray[np.uint8]:
    black, white = exam.volume.black_white
    return eight_bits(values.astype(np.float32), black, white)


def _sampled(analysis: Analysis, target: str, *voxels: Any) -> Saliency:
    """Saliency at all combinations of voxel indices along (z, y, x)."""
    weights = [_weights(analysis, axis, np.asarray(at)) for axis, at in enumerate(voxels)]
    return _interpolated(analysis, target, *weights)


def _interpolated(analysis: Analysis, target: str, *weights: Saliency) -> Saliency:
    values: Saliency = analysis.saliency[analysis.index(target)]
    for axis, along in enumerate(weights):
        values = np.moveaxis(np.tensordot(along, values, axes=(1, axis)), 0, axis)
    return values


def _weights(analysis: Analysis, axis: int, voxels: NDArray[Any]) -> Saliency:
    grid = analysis.grid
    weights = linear_weights(
        voxels, grid.origin_voxels[axis], grid.step_voxels[axis], grid.shape[axis]
    )
    if axis == 1 and grid.depth is not None:  # nothing is said of what the model did not see
        first, end = grid.depth
        weights[(voxels < first) | (voxels >= end)] = 0.0
    return weights


def linear_weights(positions: NDArray[Any], origin: float, step: float, tokens: int) -> Saliency:
    """Weights (position, token) of linear interpolation between token centres, constant beyond the outer ones."""
    token = np.clip((positions - origin) / step, 0, tokens - 1)
    distance = np.abs(token[:, None] - np.arange(tokens)[None, :])
    weights: Saliency = np.clip(1.0 - distance, 0.0, None).astype(np.float32)
    return weights


def eight_bits(values: NDArray[Any], black: float, white: float) -> NDArray[np.uint8]:
    """Values from black to white as 0 to 255."""
    unit = np.clip((values - black) / ((white - black) or 1.0), 0.0, 1.0)
    return np.rint(unit * 255.0).astype(np.uint8)


def _within(index: int, size: int, what: str) -> int:
    if not 0 <= index < size:
        raise InputError(f"There is no {what} {index}; they are counted from 0 to {size - 1}.")
    return index


def _depth_range(depth: tuple[int, int] | None, samples: int) -> tuple[int, int]:
    first, end = depth or (0, samples)
    if not 0 <= first < end <= samples:
        raise InputError(f"There is no depth from {first} to {end}; the exam has 0 to {samples}.")
    return first, end


def require_same(exam: Exam, analysis: Analysis) -> None:
    """Raise InputError if an analysis is of a volume of another shape."""
    if exam.volume.shape != analysis.grid.volume_shape:
        raise InputError("The analysis is of another exam; please analyse this one.")


def _require_planes_across(exam: Exam) -> None:
    if exam.volume.shape[0] == 1:
        raise InputError("A single B-scan has no planes across it; look at the B-scan itself.")
    if not has_planes_across(exam):
        raise InputError(
            f"B-scans in a {exam.scan_pattern} pattern do not lie side by side, so there are no planes across them; "
            "look at each B-scan, or at the image they are placed on."
        )
