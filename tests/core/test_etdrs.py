"""The ETDRS grid has its diameters in millimetres, also where pixels are not square."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from octcube_core.etdrs import DIAMETERS_MM, Fovea, estimated_fovea, etdrs_outlines
from octcube_core.exam import BScanLocations, EnFaceImage, Exam
from octcube_core.phantom import make_exam

SPACING_MM = (0.02, 0.01)
IMAGE = EnFaceImage(np.zeros((300, 600), np.uint8), "IR", SPACING_MM)


def test_circles_have_their_diameters() -> None:
    outlines = etdrs_outlines(Fovea(140.0, 310.0), IMAGE)
    for circle, diameter in zip(outlines, DIAMETERS_MM, strict=False):
        away = (circle - [140.0, 310.0]) * SPACING_MM
        np.testing.assert_allclose(np.hypot(*away.T), diameter / 2)
        np.testing.assert_allclose(circle[0], circle[-1])  # closed


def test_diagonals_lead_from_the_inner_circle_to_the_outer() -> None:
    lines = etdrs_outlines(Fovea(140.0, 310.0), IMAGE)[len(DIAMETERS_MM) :]
    assert len(lines) == 4
    for line in lines:
        away = (line - [140.0, 310.0]) * SPACING_MM
        np.testing.assert_allclose(np.hypot(*away.T), (0.5, 3.0))
        np.testing.assert_allclose(abs(away[:, 0]), abs(away[:, 1]))


def test_without_distances_there_is_no_grid() -> None:
    unknown = EnFaceImage(np.zeros((30, 60), np.uint8), "IR", (None, 0.01))
    assert etdrs_outlines(Fovea(1.0, 2.0), unknown) == []


@pytest.mark.parametrize("pattern", ["raster", "radial", "line"])
def test_the_fovea_is_first_where_the_scan_has_its_centre(pattern: str) -> None:
    exam = make_exam(1, scan_pattern=pattern, shape=(8, 64, 32))
    ends = np.concatenate(exam.locations.polylines)
    place = estimated_fovea(exam, exam.locations.image)
    np.testing.assert_allclose((place.row, place.column), ends.mean(axis=0), atol=1)
    assert place.estimate == "the scan"


def test_the_centre_of_a_circle_or_of_another_image_is_not_taken() -> None:
    circle: Exam = make_exam(1, scan_pattern="circle", shape=(1, 64, 64))
    raster: Exam = make_exam(1, shape=(8, 64, 32))
    lines = tuple(line + 5000 for line in raster.locations.polylines)
    outside = replace(raster, locations=BScanLocations(lines))
    for exam, image in ((circle, 0), (raster, 1), (outside, 0)):
        place = estimated_fovea(exam, image)
        rows, columns = exam.enface[0].shape
        assert (place.row, place.column) == ((rows - 1) / 2, (columns - 1) / 2)
        assert place.estimate == "the image"
