"""Heidelberg's .vol: every scan pattern, the levels and places that eyepy gives, and nothing from a broken file."""

from __future__ import annotations

import random

import numpy as np
import pytest
from heyex_files import (
    PATIENT,
    circle,
    radial,
    raster,
    read_or_refuse,
    refusal,
    vol_bytes,
    write_vol,
)

from octcube_core.readers import detect_format, read_exam


@pytest.fixture
def eyepy_volume():
    from eyepy.io.he.vol_reader import HeVolReader

    return lambda path: HeVolReader(path).volume


def assert_agrees(exam, volume):
    """With what eyepy reads: levels, spacing, fundus image and the line of each B-scan."""
    np.testing.assert_array_equal(exam.volume.voxels, volume.data)
    assert exam.volume.spacing_mm == (volume.scale_z, volume.scale_y, volume.scale_x)
    np.testing.assert_array_equal(exam.enface[0].pixels, volume.localizer.data)
    assert exam.enface[0].spacing_mm == (volume.localizer.scale_y, volume.localizer.scale_x)
    assert exam.laterality == volume.laterality
    scale = np.array(exam.enface[0].spacing_mm)
    assert len(exam.locations.polylines) == len(volume)
    for line, bscan in zip(exam.locations.polylines, volume, strict=True):
        places = np.array([bscan.meta["start_pos"], bscan.meta["end_pos"]])[:, ::-1] / scale
        np.testing.assert_allclose(line, places, atol=1e-9)
    # eyepy's own map from B-scans to the fundus image puts the outermost corners there too
    corners = volume.localizer_transform([[0, 0]])[0][::-1]
    np.testing.assert_allclose(exam.locations.polylines[-1][0], corners, atol=1e-6)


def test_the_raster_sample_with_a_wrong_header_size(real_data, eyepy_volume):
    path = real_data / "heyex_vol/raster_dummy_10x40x50.vol"
    exam = read_exam(path)
    assert exam.volume.shape == (10, 40, 50)
    assert exam.volume.spacing_mm == pytest.approx((0.031444, 0.003872, 0.011819), abs=1e-6)
    assert (exam.laterality, exam.scan_pattern) == ("OD", "raster")
    assert_agrees(exam, eyepy_volume(path))


def test_the_circle_sample(real_data):
    exam = read_exam(real_data / "heyex_vol/circle_1x496x768.vol")
    assert exam.volume.shape == (1, 496, 768)
    assert exam.volume.spacing_mm[0] is None
    assert (exam.laterality, exam.scan_pattern, exam.warnings) == ("OD", "circle", ())
    (line,) = exam.locations.polylines
    assert len(line) == 768
    # The shadows of the vessels fall on the vessels, and only in the direction that is drawn.
    shadows = exam.volume.voxels[0].mean(axis=0)
    fundus = exam.enface[0].pixels.astype(float)

    def agreement(points):
        rows, columns = np.rint(points).astype(int).T
        return np.corrcoef(detail(fundus[rows, columns]), detail(shadows))[0, 1]

    def detail(values):
        from scipy.ndimage import gaussian_filter1d

        smooth, coarse = (gaussian_filter1d(values, width, mode="wrap") for width in (2, 30))
        return smooth - coarse

    assert agreement(line) > 0.35
    assert agreement(np.roll(line[::-1], 1, axis=0)) < 0.25


@pytest.mark.parametrize("layers", [0, 3])
def test_a_raster_agrees_with_eyepy(tmp_path, eyepy_volume, layers):
    scan = raster(7)
    scan.values[2, :, :5] = np.finfo(np.float32).max  # A-scans moved out of the picture
    scan.values[3, 0, :3] = 0.0, 1.0, 1.5
    path = write_vol(tmp_path / "scan.vol", scan, layers=max(layers, 1))
    exam = read_exam(path)
    assert (exam.volume.voxels[2, :, :5] == 0).all()
    assert_agrees(exam, eyepy_volume(path))
    assert exam.warnings == ()


def test_the_levels_are_those_of_eyepy():
    from eyepy.core.utils import from_vol_intensity, to_vol_intensity

    from octcube_core.readers.heyex_intensity import grey_levels

    mantissas, exponents = np.arange(1024) / 1024 + 1, np.arange(-63, 0)
    stored = np.ldexp(mantissas, exponents[:, None]).ravel().astype(np.float32)  # by devices
    shades = np.clip(to_vol_intensity(np.arange(256, dtype=np.uint8)), 0, 1)  # by eyepy
    for values in (stored, shades.astype(np.float32), np.float32([0, 1, 1.5])):
        np.testing.assert_array_equal(grey_levels(values), from_vol_intensity(values.copy()))
    others = np.random.default_rng(5).random(1_000_000, np.float32) ** 3
    difference = grey_levels(others).astype(int) - from_vol_intensity(others.copy())
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) < 50


def test_the_real_scan_holds_values_of_10_bits(real_data):
    content = (real_data / "heyex_vol/circle_1x496x768.vol").read_bytes()
    bits = np.frombuffer(content, "<u4")[-496 * 768 :]
    assert not (bits & 0x1FFF).any()


def test_values_that_are_none_are_black(tmp_path):
    scan = raster(2)
    scan.values[0, 0, :3] = np.nan, -1.0, 3.2e38
    assert (read_exam(write_vol(tmp_path / "scan.vol", scan)).volume.voxels[0, 0, :3] == 0).all()


def test_a_vertical_raster(tmp_path):
    scan = raster(4)
    scan.lines = [(0.2 + 0.12 * n, 0.1, 0.2 + 0.12 * n, 0.56) for n in range(4)]
    exam = read_exam(write_vol(tmp_path / "scan.vol", scan))
    assert exam.volume.spacing_mm == (0.12, 0.0039, 0.0115)
    for n, line in enumerate(exam.locations.polylines):
        column = (0.2 + 0.12 * n) / 0.0121
        np.testing.assert_allclose(line, [[0.1 / 0.0118, column], [0.56 / 0.0118, column]])


def test_a_radial_scan(tmp_path):
    scan = radial()
    exam = read_exam(write_vol(tmp_path / "scan.vol", scan))
    assert exam.scan_pattern == "radial"
    assert exam.volume.spacing_mm[0] is None  # spokes have no distance
    middles = [line.mean(axis=0) for line in exam.locations.polylines]
    np.testing.assert_allclose(middles, [[0.45 / 0.0118, 0.5 / 0.0121]] * 6)
    assert exam.warnings == ()


@pytest.mark.parametrize("eye", ["OD", "OS"])
def test_a_circle_runs_temporal_superior_nasal_inferior(tmp_path, eye):
    exam = read_exam(write_vol(tmp_path / "scan.vol", circle(eye)))
    assert exam.laterality == eye
    (line,) = exam.locations.polylines
    assert len(line) == 40
    centre = np.array([0.45 / 0.0118, 0.5 / 0.0121])
    temporal = -1 if eye == "OD" else 1  # side of the picture
    radius = 0.0115 * 40 / (2 * np.pi)
    for ascan in (0, 13, 26, 39):
        turn = 2 * np.pi * ascan / 39  # the last A-scan meets the first
        offset = (line[ascan] - centre) * (0.0118, 0.0121)
        expected = radius * np.array([-np.sin(turn), temporal * np.cos(turn)])
        np.testing.assert_allclose(offset, expected, atol=1e-9)


def test_a_circle_of_an_unknown_eye_has_no_direction(tmp_path):
    scan = circle()
    scan.eye = ""
    exam = read_exam(write_vol(tmp_path / "scan.vol", scan))
    assert exam.locations is None
    assert "direction" in exam.warnings[0]


def test_one_line(tmp_path):
    exam = read_exam(write_vol(tmp_path / "scan.vol", raster(1, pattern=1)))
    assert (exam.scan_pattern, exam.volume.spacing_mm[0]) == ("line", None)
    assert exam.warnings == ()


@pytest.mark.parametrize(
    ("scan", "pattern"),
    [(raster(4), "raster"), (raster(1), "line"), (radial(), "radial"), (circle(), "circle")],
)
def test_an_unknown_pattern_follows_from_the_lines(tmp_path, scan, pattern):
    scan.pattern = 0
    assert read_exam(write_vol(tmp_path / "scan.vol", scan)).scan_pattern == pattern


def test_the_distance_follows_from_the_lines_where_none_is_stated(tmp_path):
    scan = raster(4, spacing=(0.0, 0.0039, 0.0115))
    exam = read_exam(write_vol(tmp_path / "scan.vol", scan))
    assert exam.volume.spacing_mm[0] == pytest.approx(0.12)


def test_distance_that_the_lines_contradict_is_unknown(tmp_path):
    scan = raster(4, spacing=(0.24, 0.0039, 0.0115))
    exam = read_exam(write_vol(tmp_path / "scan.vol", scan))
    assert exam.volume.spacing_mm == (None, 0.0039, 0.0115)
    assert exam.scan_pattern == "raster"
    (told,) = exam.warnings
    assert "0.24 mm" in told
    assert "0.12 mm" in told


@pytest.mark.parametrize("stated", [0.1171, 0.1229])
def test_distance_within_five_per_cent_of_the_lines_is_kept(tmp_path, stated):
    exam = read_exam(write_vol(tmp_path / "scan.vol", raster(4, spacing=(stated, 0.0039, 0.0115))))
    assert (exam.volume.spacing_mm[0], exam.warnings) == (stated, ())


def test_distance_between_lines_unequally_far_apart_is_unknown(tmp_path):
    scan = raster(4)
    scan.lines[2] = scan.lines[1]
    exam = read_exam(write_vol(tmp_path / "scan.vol", scan))
    assert exam.volume.spacing_mm[0] is None
    assert "unequal distances" in exam.warnings[0]


@pytest.mark.parametrize("stated", [0.0, 0.12])
def test_raster_whose_lines_are_spokes_is_radial(tmp_path, stated):
    scan = radial()
    scan.pattern, scan.spacing = 3, (stated, 0.0039, 0.0115)
    exam = read_exam(write_vol(tmp_path / "scan.vol", scan))
    assert (exam.scan_pattern, exam.volume.spacing_mm[0]) == ("radial", None)
    assert len(exam.locations.polylines) == 6
    (told,) = exam.warnings
    assert "states a raster scan" in told


def test_raster_whose_lines_follow_no_pattern_has_none(tmp_path):
    scan = raster(3)
    scan.lines[1] = (0.2, 0.1, 0.2, 0.56)
    exam = read_exam(write_vol(tmp_path / "scan.vol", scan))
    assert (exam.scan_pattern, exam.volume.spacing_mm[0]) == (None, None)
    assert "pattern counts as unknown" in exam.warnings[0]


def test_distance_that_no_scan_has_is_unknown(tmp_path):
    """Places in pixels instead of mm: their distance is none in mm either."""
    scan = raster(4, spacing=(0.0, 0.0039, 0.0115))
    scan.lines = [tuple(80 * value for value in line) for line in scan.lines]
    exam = read_exam(write_vol(tmp_path / "scan.vol", scan))
    assert exam.volume.spacing_mm[0] is None
    assert "distance between B-scans" in exam.warnings[0]


def test_impossible_spacing_is_unknown(tmp_path):
    scan = raster(4, spacing=(0.12, 1e200, float("nan")), fundus_mm=(0.0118, 0.0))
    exam = read_exam(write_vol(tmp_path / "scan.vol", scan))
    assert exam.volume.spacing_mm == (0.12, None, None)
    assert exam.locations is None
    assert len(exam.warnings) == 2


def test_places_that_are_none(tmp_path):
    scan = raster(4)
    scan.lines[2] = (float("inf"), 0.0, 1.0, 1e300)
    exam = read_exam(write_vol(tmp_path / "scan.vol", scan))
    assert exam.locations is None
    assert "places" in exam.warnings[0]


def test_width_that_contradicts_the_lines_is_told(tmp_path):
    scan = raster(4, spacing=(0.12, 0.0039, 0.0060))
    assert "measure with care" in read_exam(write_vol(tmp_path / "a.vol", scan)).warnings[0]


def test_identity_is_in_the_patient_alone(tmp_path):
    exam = read_exam(write_vol(tmp_path / "scan.vol", raster()))
    assert exam.patient.id == PATIENT[2]
    assert (exam.patient.birth_date, exam.patient.exam_date) == ("1943-11-27", "2024-02-29")
    assert PATIENT[2] not in repr(exam) + "".join(exam.warnings) + str(exam.device)


def test_both_header_sizes_wrong(tmp_path):
    content = bytearray(vol_bytes(raster(3), stated_header_bytes=700))
    first = 2048 + 80 * 96
    content[first + 12 : first + 16] = (600).to_bytes(4, "little")
    path = tmp_path / "scan.vol"
    path.write_bytes(content)
    assert "damaged" in refusal(path)


@pytest.mark.parametrize("bscans", [2, 4])
def test_fewer_bscans_stated_than_stored(tmp_path, bscans):
    content = bytearray(vol_bytes(raster(5)))
    content[16:20] = bscans.to_bytes(4, "little")
    path = tmp_path / "scan.vol"
    path.write_bytes(content)
    refusal(path)


def test_bytes_too_many(tmp_path):
    content = bytearray(vol_bytes(raster(3)))
    content[-500:-500] = b"\7\7"  # which shifts the samples that follow
    path = tmp_path / "scan.vol"
    path.write_bytes(content)
    assert "damaged" in refusal(path)


def test_a_thickness_grid_may_follow(tmp_path):
    path = write_vol(tmp_path / "scan.vol", raster(1, pattern=1), tail=b"\1" * 700, grid=3)
    assert read_exam(path).volume.shape == (1, 24, 40)


def test_truncated_at_any_byte(tmp_path):
    content = vol_bytes(raster(3, fundus=np.zeros((9, 9), np.uint8)))
    path = tmp_path / "scan.vol"
    cuts = {0, 7, 2047, 2048, len(content) - 1, *range(8, len(content), 397)}
    for cut in cuts:
        path.write_bytes(content[:cut])
        refusal(path)


def test_flipped_header_bytes_never_give_another_shape(tmp_path):
    scan = raster(3, fundus=np.zeros((9, 9), np.uint8))
    content, path = vol_bytes(scan), tmp_path / "scan.vol"
    refused = 0
    chance = random.Random(20)
    headers = [*range(12, 24), *range(48, 56), *(2048 + 81 + n for n in range(16))]
    for position in headers + [chance.randrange(600) for _ in range(150)]:
        mutated = bytearray(content)
        mutated[position] ^= chance.randrange(1, 256)
        path.write_bytes(mutated)
        exam = read_or_refuse(path)
        if exam is None:
            refused += 1
        else:
            assert exam.volume.shape == scan.values.shape
    assert refused >= 30


def test_claims_beyond_the_file(tmp_path):
    path = tmp_path / "scan.vol"
    for place in (12, 16, 20, 48, 52):
        content = bytearray(vol_bytes(raster(3)))
        content[place : place + 4] = b"\xff\xff\xff\x7f"
        path.write_bytes(content)
        assert "truncated" in refusal(path)


def test_eyepys_own_files_are_known_by_their_suffix(real_data):
    assert detect_format(real_data / "heyex_vol/raster_dummy_10x40x50.vol") == "Heidelberg vol"
