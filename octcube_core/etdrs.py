"""The ETDRS grid around a fovea, and where the fovea may be. numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octcube_core.exam import EnFaceImage, Exam

# Early Treatment Diabetic Retinopathy Study: circles around the fovea, and the lines between four quadrants.
DIAMETERS_MM = (1.0, 3.0, 6.0)
QUADRANT_LINES_DEG = (45.0, 135.0, 225.0, 315.0)
POINTS = 91  # of a circle: a corner every four degrees


@dataclass(frozen=True)
class Fovea:
    """A place on an en-face image in pixels, whose centres are at integers.

    ``estimate`` says what it is the centre of, and is empty once a person has placed it.
    """

    row: float
    column: float
    estimate: str = ""


def estimated_fovea(exam: Exam, image: int) -> Fovea:
    """The centre of the B-scans' lines if they are placed within this image, else the image's.

    A circle scan lies around the optic disc, so that its centre is not taken.
    """
    rows, columns = exam.enface[image].shape
    located = exam.locations
    if located is not None and located.image == image and exam.scan_pattern != "circle":
        points = np.concatenate(located.polylines)
        row, column = (points.min(axis=0) + points.max(axis=0)) / 2
        if 0 <= row < rows and 0 <= column < columns:
            return Fovea(float(row), float(column), "the scan")
    return Fovea((rows - 1) / 2, (columns - 1) / 2, "the image")


def etdrs_outlines(fovea: Fovea, image: EnFaceImage) -> list[NDArray[np.float64]]:
    """The circles and the lines between the quadrants, as polylines of (row, column) in pixels.

    Empty if the image's pixel distances are unknown.
    """
    rows_mm, columns_mm = image.spacing_mm
    if rows_mm is None or columns_mm is None:
        return []
    centre = np.array([fovea.row, fovea.column])
    pixel_mm = np.array([rows_mm, columns_mm])
    angles = np.linspace(0.0, 2 * np.pi, POINTS)
    circle = np.stack([np.sin(angles), np.cos(angles)], axis=1)
    radii = [diameter / 2 for diameter in DIAMETERS_MM]
    outlines = [centre + radius * circle / pixel_mm for radius in radii]
    for angle in np.deg2rad(QUADRANT_LINES_DEG):
        direction = np.array([np.sin(angle), np.cos(angle)])
        ends = np.array([radii[0] * direction, radii[-1] * direction])
        outlines.append(centre + ends / pixel_mm)
    return outlines
