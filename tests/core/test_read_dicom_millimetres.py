"""What the millimetres of a DICOM file are worth once its lines on the fundus image are known."""

from __future__ import annotations

import pytest
from dicom_files import (
    LINES,
    MEASURES,
    infrared,
    opt,
    read_lines,
    read_with,
    save,
    scan_on,
    shared,
)

from octcube_core.readers import read_exam
from octcube_core.readers.dicom_exam import FUNDUS_IMPLAUSIBLE
from octcube_core.readers.dicom_geometry import (
    FUNDUS_CONTRADICTED,
    LATERAL_CONTRADICTED,
    MEASURED_PITCH,
    NO_RASTER,
    PITCH_CONTRADICTED,
    THICKNESS_ONLY,
)


def test_slice_thickness_alone_is_no_distance(tmp_path):
    measures = {"PixelSpacing": [0.004, 0.01], "SliceThickness": 0.08}
    volume = opt(SharedFunctionalGroupsSequence=shared(**measures))
    exam = read_exam(save(volume, tmp_path / "oct.dcm"))
    assert exam.volume.spacing_mm == (None, 0.004, 0.01)
    assert THICKNESS_ONLY in exam.warnings


def test_slice_thickness_that_the_lines_confirm(tmp_path):
    exam = read_lines(tmp_path, measures={"PixelSpacing": [0.004, 0.01], "SliceThickness": 0.081})
    assert exam.volume.spacing_mm == (0.081, 0.004, 0.01)
    assert exam.warnings == ()


@pytest.mark.parametrize("thickness", [None, 0.014])
def test_distance_measured_on_the_lines(tmp_path, thickness):
    exam = read_lines(
        tmp_path, measures={"PixelSpacing": [0.004, 0.01], "SliceThickness": thickness}
    )
    assert exam.volume.spacing_mm == pytest.approx((0.08, 0.004, 0.01), rel=1e-5)
    assert exam.warnings == (MEASURED_PITCH,)


def test_distance_measured_without_the_size_of_the_image(tmp_path):
    exam = read_lines(tmp_path, fundus_mm=None, measures={"PixelSpacing": [0.004, 0.01]})
    assert exam.volume.spacing_mm == pytest.approx((0.08, 0.004, 0.01), rel=1e-5)


def test_distance_measured_on_pixels_that_are_not_square(tmp_path):
    exam = read_lines(tmp_path, fundus_mm=[0.02, 0.01], measures={"PixelSpacing": [0.004, 0.01]})
    assert exam.volume.spacing_mm == pytest.approx((0.16, 0.004, 0.01), rel=1e-5)


def test_stated_distance_that_the_lines_contradict(tmp_path):
    exam = read_lines(tmp_path, measures=MEASURES | {"SpacingBetweenSlices": 0.12})
    assert exam.volume.spacing_mm == (None, 0.004, 0.01)
    assert exam.warnings == (PITCH_CONTRADICTED,)


@pytest.mark.parametrize(
    "lines",
    [
        [(row, 12.5, row, 59.5) for row in (10.5, 12, 30, 50)],
        [*LINES[:2], (5.5, 20.5, 52.5, 20.5), (5.5, 28.5, 52.5, 28.5)],
    ],
    ids=["uneven", "crossed"],
)
def test_stated_distance_of_lines_that_make_no_raster(tmp_path, lines):
    exam = read_lines(tmp_path, lines)
    assert exam.scan_pattern is None
    assert exam.volume.spacing_mm == (None, 0.004, 0.01)
    assert exam.warnings == (NO_RASTER,)


def test_micrometres_do_not_outvote_the_fundus_image(tmp_path):
    measures = {"PixelSpacing": [4, 10], "SpacingBetweenSlices": 80}
    exam = read_lines(tmp_path, measures=measures)
    assert exam.volume.spacing_mm == (pytest.approx(0.08, rel=1e-5), None, None)
    assert exam.enface[0].spacing_mm == (0.01, 0.01)
    assert exam.warnings[-1] == MEASURED_PITCH


def test_fundus_image_in_micrometres(tmp_path):
    exam = read_lines(tmp_path, fundus_mm=[10, 10])
    assert exam.volume.spacing_mm == (0.08, 0.004, 0.01)
    assert exam.enface[0].spacing_mm == (None, None)
    assert exam.warnings == (FUNDUS_IMPLAUSIBLE,)


def test_lateral_spacing_that_two_others_contradict(tmp_path):
    exam = read_lines(tmp_path, measures=MEASURES | {"PixelSpacing": [0.004, 0.02]})
    assert exam.volume.spacing_mm == (0.08, 0.004, None)
    assert LATERAL_CONTRADICTED in exam.warnings


def test_size_of_the_fundus_image_that_two_others_contradict(tmp_path):
    exam = read_lines(tmp_path, fundus_mm=[0.02, 0.02])
    assert exam.volume.spacing_mm == (0.08, 0.004, 0.01)
    assert exam.enface[0].spacing_mm == (None, None)
    assert exam.warnings == (FUNDUS_CONTRADICTED,)


def test_imager_pixel_spacing_is_no_spacing(tmp_path):
    localizer = infrared(ImagerPixelSpacing=[0.005, 0.005])
    exam = read_with(tmp_path, localizer, scan_on(localizer, LINES))
    assert exam.enface[0].spacing_mm == (None, None)


@pytest.mark.parametrize("rubbish", [b"nan", b"-0.1", b"0.0", b"1e999", b"abc", b"inf"])
def test_rubbish_is_unknown(tmp_path, rubbish):
    path = save(
        opt(SharedFunctionalGroupsSequence=shared(SpacingBetweenSlices="0.98765")),
        tmp_path / "oct.dcm",
    )
    path.write_bytes(path.read_bytes().replace(b"0.98765 ", rubbish.ljust(8)))
    assert read_exam(path).volume.spacing_mm == (None, None, None)
