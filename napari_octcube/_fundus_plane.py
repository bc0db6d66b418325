"""The fundus image in the world of the volume: where it lies under the scan, as layers for the views that show it."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from napari.layers import Image, Surface
from numpy.typing import NDArray

from napari_octcube._layers import bscan_is_metric, world_spacing
from napari_octcube._session import Aspect
from octcube_core.exam import Exam
from octcube_core.fundus_views import image_picture
from octcube_core.views import has_planes_across

Affine = NDArray[np.float64]  # (2, 3): (row, column, 1) of the image to (z, x) of the world
MOST_ERROR = 0.02  # of the scan's extent: more is no plane that an affine describes


def fundus_affine(exam: Exam, aspect: Aspect = "um") -> Affine | None:
    """Where the pixels of the image lie on which the B-scans are placed; None if it has no place in the world.

    The places of the B-scans' first and last A-scans on the image give it by least squares: so a rotated raster turns
    the image, not the scan. Patterns other than rasters have no plane.
    """
    if exam.locations is None or not has_planes_across(exam):
        return None
    between, _, lateral = world_spacing(exam, aspect)
    bscans, _, width = exam.volume.shape
    ends = np.array([(line[0], line[-1]) for line in exam.locations.polylines])
    pixels = np.column_stack([ends.reshape(-1, 2), np.ones(2 * bscans)])
    z = np.repeat(np.arange(bscans) * between, 2)
    x = np.tile([0.0, (width - 1) * lateral], bscans)
    world = np.column_stack([z, x])
    if np.linalg.matrix_rank(pixels) < 3:
        return None  # all in one line
    solution, *_ = np.linalg.lstsq(pixels, world, rcond=None)
    error = np.abs(pixels @ solution - world).max()
    extent = max(z.max(), x.max())
    return None if error > MOST_ERROR * extent else solution.T


def fundus_picture_of(exam: Exam) -> NDArray[np.uint8] | None:
    """Pixels of the image on which the B-scans are placed, in 8 bits; takes a while for a large photograph."""
    return (
        None if exam.locations is None else image_picture(exam.enface[exam.locations.image].pixels)
    )


def en_face_layer(exam: Exam, picture: NDArray[np.uint8], affine: Affine, aspect: Aspect) -> Image:
    """The fundus at every depth, for the view from the front."""
    depth = exam.volume.shape[1]
    shape = (picture.shape[0], depth, *picture.shape[1:])
    matrix = np.eye(4)
    matrix[np.ix_([0, 2], [0, 2, 3])] = affine
    matrix[1, 1] = world_spacing(exam, aspect)[1]
    with warnings.catch_warnings():
        # A turned image cannot be cut along B-scans; nobody does, but napari thinks of that view first.
        warnings.filterwarnings("ignore", "Non-orthogonal slicing")
        return Image(
            np.broadcast_to(picture[:, None], shape),
            name=_name(exam),
            affine=matrix,
            rgb=picture.ndim == 3,
            **_world(exam),
        )


def surface_layer(
    exam: Exam, picture: NDArray[np.uint8], affine: Affine, aspect: Aspect
) -> Surface:
    """The fundus as a plane under the volume, for the view in 3D."""
    rows, columns = picture.shape[:2]
    corners = np.array(
        [(-0.5, -0.5), (-0.5, columns - 0.5), (rows - 0.5, columns - 0.5), (rows - 0.5, -0.5)]
    )
    world = np.column_stack([corners, np.ones(4)]) @ affine.T
    bottom = (exam.volume.shape[1] - 1) * world_spacing(exam, aspect)[1]
    vertices = np.column_stack([world[:, 0], np.full(4, bottom), world[:, 1]])
    faces = np.array([(0, 1, 2), (0, 2, 3)])
    # OpenGL counts the rows of a texture from below.
    places = np.array([(0.0, 1.0), (1.0, 1.0), (1.0, 0.0), (0.0, 0.0)])
    texture = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    return Surface(
        (vertices, faces),
        name=_name(exam),
        texture=np.ascontiguousarray(texture[::-1]),
        texcoords=places,
        shading="none",
        **_world(exam),
    )


def _world(exam: Exam) -> dict[str, Any]:
    unit = "micrometer" if bscan_is_metric(exam) else "pixel"
    return {"units": (unit, unit, unit)}


def _name(exam: Exam) -> str:
    assert exam.locations is not None
    return exam.enface[exam.locations.image].modality
