from dataclasses import replace

import numpy as np
import pytest
from fakes import make_exam

from napari_octcube import _exam_words as words
from octcube_core.exam import BScanLocations, EnFaceImage


@pytest.mark.parametrize(
    ("spacing", "pattern", "text"),
    [
        ((0.12, 0.004, 0.012), "raster", "120 × 4 × 12 µm"),
        ((None, None, None), "raster", "spacing unknown"),
        (
            (None, 0.00387, None),
            "raster",
            "3.87 µm in depth, unknown in width, unknown between B-scans; so shown in pixels",
        ),
        (
            (0.12, 0.004, None),
            "raster",
            "4 µm in depth, unknown in width, 120 µm between B-scans; so shown in pixels",
        ),
        (
            (None, 0.004, 0.012),
            "raster",
            "4 µm in depth, 12 µm in width, unknown between B-scans",
        ),
        ((None, 0.004, 0.012), "radial", "4 µm in depth, 12 µm in width, none between B-scans"),
    ],
)
def test_each_spacing_is_known_or_said_to_be_unknown(spacing, pattern, text):
    assert words.spacing(replace(make_exam(spacing_mm=spacing), scan_pattern=pattern)) == text


def test_a_single_bscan_has_no_distance_to_the_next():
    exam = make_exam((1, 96, 160), (None, 0.004, 0.012), (0, 1, 1))
    assert words.spacing(exam) == "4 µm in depth, 12 µm in width"
    assert words.scan(replace(exam, scan_pattern="circle")) == "1 B-scan of 160 × 96 px, circle"


def test_images_are_named_with_their_sizes():
    images = tuple(
        EnFaceImage(np.zeros(shape, np.uint8), modality)
        for shape, modality in (((30, 40), "IR"), ((50, 60, 3), "CFP"), ((8, 9), "IR"))
    )
    exam = replace(make_exam(), enface=images)
    assert words.images(exam) == "OCT, IR 40 × 30, CFP 60 × 50, IR 2 9 × 8"


def test_places():
    exam = make_exam()
    assert words.places(exam) == "not stated by the file"
    lines = (np.zeros((2, 2)),) * 20
    located = replace(exam, locations=BScanLocations(lines, 0))
    assert words.places(located) == "on the IR image, see Localizer"


def test_sides():
    assert words.eye(make_exam()) == "OD (right)"
    assert words.eye(replace(make_exam(), laterality=None)) == "side unknown"
    assert words.eye(replace(make_exam(), format="synthetic")) == "OD (right), synthetic"
