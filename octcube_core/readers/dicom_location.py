"""Where the frames of a DICOM file lie on its fundus images: the Ophthalmic Frame Location macro (PS3.3 C.8.17.10).

Reference Coordinates are (row, column) pairs that count from the corner of the first pixel; here pixel centres are at
integers, hence half a pixel less. LINEAR gives the ends of a B-scan, NONLINEAR points along it, TRANSVERSE two corners
of the rectangle that an en-face frame covers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import Spacing
from octcube_core.readers.dicom_elements import (
    FRAME_LOCATION,
    IMAGE_ORIENTATION_EYE,
    REFERENCE_COORDINATES,
    REFERENCED_INSTANCE,
    TRANSVERSE_DEPTH,
    Item,
    items,
    numbers,
    text,
)
from octcube_core.readers.dicom_file import DicomFile

SOME_MISSING = "The file states no usable place of some B-scans on the fundus image; all places are left unknown."
OFF_THE_IMAGE = "The file places B-scans beside the fundus image; their places are left unknown."
UNEVEN_DEPTHS = (
    "The en-face frames are not evenly spaced in depth; the axial spacing is left unknown."
)

_CORNER = 0.5  # from a pixel's corner to its centre
_BESIDE = 1.0  # pixels by which a line may leave the image
_POINT = 1.0  # pixels within which all points of a place are one
_EVEN = 0.05  # relative unevenness of depths that counts as one spacing
_DEPTH_STEP_UM = (0.5, 100.0)  # of a stack of en-face planes; beyond, the unit is in doubt


@dataclass(frozen=True, eq=False)
class FramePlace:
    """Where one frame lies on one image.

    Attributes
    ----------
    points : array, shape (points, 2)
        (row, column), pixel centres at integers.
    """

    instance: str
    orientation: str
    points: NDArray[np.float64]
    depth_um: float | None


@dataclass(frozen=True, eq=False)
class EnFaceStack:
    """How a volume whose frames are en-face planes becomes one of B-scans.

    Attributes
    ----------
    deepest_first : bool
        Whether the order of the planes must be turned round.
    axial_mm : float or None
    """

    deepest_first: bool = False
    axial_mm: Spacing = None
    warnings: tuple[str, ...] = ()


Places = Mapping[str, Sequence[FramePlace]]


def frame_places(file: DicomFile, frames: int) -> tuple[dict[str, list[FramePlace]], bool]:
    """Places by the SOP Instance UID of the image they are on, and whether some frame has no place on any.

    Only images on which every frame has a place are given, in the order in which the file names them; none where some
    frames are B-scans and some are en-face planes.
    """
    found: dict[str, list[FramePlace]] = {}
    order = file.encoding.order
    shared = _places(file.shared, order)
    groups = file.frame_groups
    for place in shared:
        if frames == 1 or not any(items(group, FRAME_LOCATION) for group in groups):
            found.setdefault(place.instance, []).extend([place] * frames)
    if not found:
        for index, group in enumerate(groups):
            for place in _places(group, order):
                on_image = found.setdefault(place.instance, [])
                if len(on_image) == index:  # of several places on one image the first counts
                    on_image.append(place)
    complete = {instance: places for instance, places in found.items() if len(places) == frames}
    stated = any(items(group, FRAME_LOCATION) for group in (file.shared, *groups))
    kinds = {place.orientation == "TRANSVERSE" for on in complete.values() for place in on}
    if len(kinds) > 1:  # what is no B-scan has no line
        complete = {}
    return complete, stated and not complete


def _places(group: Item, order: str) -> list[FramePlace]:
    found = []
    for item in items(group, FRAME_LOCATION):
        values = numbers(item, REFERENCE_COORDINATES, order)
        orientation = text(item, IMAGE_ORIENTATION_EYE)
        if len(values) < 4 or len(values) % 2:
            continue
        depth = numbers(item, TRANSVERSE_DEPTH, order)
        points = np.array(values, dtype=np.float64).reshape(-1, 2) - _CORNER
        if np.ptp(points, axis=0).max() < _POINT:
            continue
        found.append(
            FramePlace(
                text(item, REFERENCED_INSTANCE), orientation, points, depth[0] if depth else None
            )
        )
    return found


def named_images(file: DicomFile) -> list[str]:
    """SOP Instance UIDs of the images on which frames are placed, most often named first."""
    counts: dict[str, int] = {}
    for group in (file.shared, *file.frame_groups):
        if FRAME_LOCATION not in group:
            continue
        for item in items(group, FRAME_LOCATION):
            if instance := text(item, REFERENCED_INSTANCE):
                counts[instance] = counts.get(instance, 0) + 1
    return sorted(counts, key=lambda instance: -counts[instance])


def is_transverse(places: Places) -> bool:
    """Whether the frames are en-face planes."""
    every = [place for on_image in places.values() for place in on_image]
    return bool(every) and all(place.orientation == "TRANSVERSE" for place in every)


def en_face_stack(places: Places) -> EnFaceStack:
    """Order and spacing in depth of en-face planes."""
    depths = [place.depth_um for place in next(iter(places.values()))]
    if len(depths) < 2 or any(depth is None for depth in depths):
        return EnFaceStack()
    steps = np.diff(np.array(depths, dtype=float))
    step = float(steps.mean())
    if not step or np.abs(steps - step).max() > _EVEN * abs(step):
        return EnFaceStack(warnings=(UNEVEN_DEPTHS,))
    known = _DEPTH_STEP_UM[0] <= abs(step) <= _DEPTH_STEP_UM[1]
    return EnFaceStack(step < 0, abs(step) / 1000.0 if known else None)


def lines_on_image(
    places: Sequence[FramePlace], shape: tuple[int, int, int], transverse: bool
) -> list[NDArray[np.float64]] | None:
    """Line of each B-scan, or None where it cannot be told.

    Parameters
    ----------
    places : sequence of FramePlace
        Of each frame on one image.
    shape : tuple of 3 int
        (B-scans, depth samples, A-scans per B-scan) of the volume, after en-face planes were turned into B-scans.
    """
    if transverse:
        return _rows_of_box(places, shape)
    return [place.points for place in places]


def _rows_of_box(
    places: Sequence[FramePlace], shape: tuple[int, int, int]
) -> list[NDArray[np.float64]] | None:
    boxes = np.array([place.points[[0, -1]] for place in places])
    if np.ptp(boxes, axis=0).max() > 1.0:
        return None  # planes that shift with depth have no lines
    (top, left), (bottom, right) = boxes.mean(axis=0)
    rows = top + (np.arange(shape[0]) + 0.5) * (bottom - top) / shape[0]
    half = 0.5 * (right - left) / shape[2]
    return [np.array([(row, left + half), (row, right - half)]) for row in rows]


def lie_on(lines: Sequence[NDArray[np.float64]], image: tuple[int, int]) -> bool:
    """Whether the lines stay on an image of (rows, columns)."""
    points = np.concatenate(lines)
    low, high = points.min(axis=0) + _CORNER, points.max(axis=0) + _CORNER
    return bool((low >= -_BESIDE).all() and (high <= np.array(image) + _BESIDE).all())
