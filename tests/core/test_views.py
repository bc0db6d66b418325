"""The views: saliency and anatomy lie where the eye has them, in its proportions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from aligned import GROWTH, SIMILARITY, aligned_analysis, raster_lines, with_lines
from scipy.ndimage import map_coordinates

from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, Exam, OCTVolume
from octcube_core.fundus_views import (
    image_picture,
    image_saliency,
    image_view,
    localizer_saliency,
    localizer_view,
)
from octcube_core.results import Analysis
from octcube_core.views import (
    bscan_view,
    en_face_view,
    has_planes_across,
    peak_voxel,
    saliency_en_face,
    saliency_of_bscan,
    saliency_of_slow_scan,
    slow_scan_view,
)


@pytest.fixture
def busy_analysis(known_analysis: Analysis) -> Analysis:
    """Random saliency of AMD."""
    saliency = np.random.default_rng(0).random(known_analysis.saliency.shape, np.float32)
    return dataclasses.replace(known_analysis, saliency=saliency)


@pytest.fixture
def textured_exam(known_exam: Exam) -> Exam:
    voxels = np.random.default_rng(1).integers(0, 255, (8, 64, 96), np.uint8)
    return dataclasses.replace(known_exam, volume=OCTVolume(voxels, (0.12, 0.004, 0.012)))


def _whole(analysis: Analysis) -> np.ndarray:
    """Saliency of AMD on every voxel, plane by plane."""
    bscans = range(analysis.grid.volume_shape[0])
    return np.stack([saliency_of_bscan(analysis, "AMD", bscan) for bscan in bscans])


def test_saliency_peaks_at_the_centre_of_its_token(known_analysis: Analysis) -> None:
    """Token (1, 0, 2) of AMD has its centre at voxel (2.5, 15.5, 79.5)."""
    between = saliency_of_bscan(known_analysis, "AMD", 2)
    assert between.shape == (64, 96)
    y, x = np.unravel_index(between.argmax(), between.shape)
    # constant beyond the centre
    assert (y, x) in {(y, x) for y in range(16) for x in range(79, 96)}
    assert between[15, 80] == pytest.approx(0.75, abs=0.03)  # B-scan 2 is a quarter of a token off
    assert between[15, 48] == pytest.approx(0.0, abs=0.03)  # the next token's centre
    assert between[48, 80] == pytest.approx(0.0, abs=0.03)
    assert saliency_of_bscan(known_analysis, "AMD", 5).max() == 0


def test_all_planes_cut_the_same_volume(busy_analysis: Analysis) -> None:
    whole = _whole(busy_analysis)
    for column in (0, 41, 95):
        plane = saliency_of_slow_scan(busy_analysis, "AMD", column)
        np.testing.assert_allclose(plane, whole[:, :, column].T, atol=1e-6)


@pytest.mark.parametrize("depth", [None, (0, 64), (10, 11), (20, 30), (40, 64)])
def test_en_face_projects_the_whole_volume_over_depth(busy_analysis: Analysis, depth) -> None:
    """With eight tokens in depth, whose centres lie between two voxels."""
    grid = dataclasses.replace(busy_analysis.grid, input_shape=(12, 64, 48), cube=(3, 8, 16))
    saliency = np.random.default_rng(2).random((3, 4, 8, 3), np.float32)
    analysis = dataclasses.replace(busy_analysis, grid=grid, saliency=saliency)
    first, end = depth or (0, 64)
    mean = saliency_en_face(analysis, "AMD", "mean", depth)
    np.testing.assert_allclose(mean, _whole(analysis)[:, first:end].mean(axis=1), atol=1e-6)
    half_voxels = np.arange(first, end - 0.75, 0.5)
    at = np.meshgrid(np.arange(8), half_voxels, np.arange(96), indexing="ij")
    tokens = (np.moveaxis(at, 0, -1) - grid.origin_voxels) / grid.step_voxels
    dense = map_coordinates(saliency[0], np.moveaxis(tokens, -1, 0), order=1, mode="nearest")
    most = saliency_en_face(analysis, "AMD", "max", depth)
    np.testing.assert_allclose(most, dense.max(axis=1), atol=1e-5)


def test_each_view_shows_the_anatomy_that_the_saliency_lies_on(
    textured_exam: Exam, busy_analysis: Analysis
) -> None:
    voxels = textured_exam.volume.voxels
    bscan = bscan_view(textured_exam, busy_analysis, "AMD", 3)
    np.testing.assert_array_equal(bscan.picture, voxels[3])
    slow = slow_scan_view(textured_exam, busy_analysis, "AMD", 40)
    np.testing.assert_array_equal(slow.picture, voxels[:, :, 40].T)
    front = en_face_view(textured_exam, busy_analysis, "AMD", depth=(10, 30))
    np.testing.assert_allclose(front.picture, voxels[:, 10:30].mean(axis=1), atol=0.51)
    for view in (bscan, slow, front):
        assert view.picture.dtype == np.uint8
        assert view.saliency.shape == view.picture.shape


def test_every_plane_has_the_eyes_proportions(textured_exam: Exam, busy_analysis: Analysis) -> None:
    views = {
        "bscan": bscan_view(textured_exam, busy_analysis, "AMD", 3),
        "slow": slow_scan_view(textured_exam, busy_analysis, "AMD", 40),
        "front": en_face_view(textured_exam, busy_analysis, "AMD"),
    }
    aspects = {name: view.pixel_aspect for name, view in views.items()}
    assert aspects == pytest.approx({"bscan": 1 / 3, "slow": 1 / 30, "front": 10})
    unknown = OCTVolume(textured_exam.volume.voxels, (None, 0.004, 0.012))
    exam = dataclasses.replace(textured_exam, volume=unknown)
    assert bscan_view(exam, busy_analysis, "AMD", 3).pixel_aspect == pytest.approx(1 / 3)
    assert slow_scan_view(exam, busy_analysis, "AMD", 3).pixel_aspect is None
    assert en_face_view(exam, busy_analysis, "AMD").pixel_mm == (None, 0.012)


def test_the_peak_is_the_centre_of_the_most_salient_token(known_analysis: Analysis) -> None:
    bscan, depth, column = peak_voxel(known_analysis, "AMD")
    assert np.abs(np.array([bscan, depth, column]) - [2.5, 15.5, 79.5]).max() <= 0.5
    assert peak_voxel(known_analysis, "ERM") is None


@pytest.mark.parametrize("pattern", ["radial", "circle", "line"])
def test_bscans_that_do_not_lie_side_by_side_have_no_planes_across(
    known_exam: Exam, known_analysis: Analysis, pattern
) -> None:
    exam = dataclasses.replace(known_exam, scan_pattern=pattern)
    assert has_planes_across(known_exam)
    assert not has_planes_across(exam)
    bscan_view(exam, known_analysis, "AMD", 0)
    for make in (
        lambda: slow_scan_view(exam, known_analysis, "AMD", 0),
        lambda: en_face_view(exam, known_analysis, "AMD"),
    ):
        with pytest.raises(InputError, match=f"{pattern} pattern do not lie side by side"):
            make()


def test_a_single_bscan_has_a_view_and_no_planes_across(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    exam = dataclasses.replace(known_exam, volume=OCTVolume(known_exam.volume.voxels[:1]))
    grid = dataclasses.replace(
        known_analysis.grid, volume_shape=(1, 64, 96), input_shape=(3, 32, 48)
    )
    lone = dataclasses.replace(known_analysis, grid=grid, saliency=known_analysis.saliency[:, 1:2])
    view = bscan_view(exam, lone, "AMD", 0)
    assert view.saliency[:16, 80:].min() == pytest.approx(1.0)
    with pytest.raises(InputError, match="single B-scan has no planes across"):
        en_face_view(exam, lone, "AMD")


def test_what_does_not_exist_is_one_sentence(known_exam: Exam, known_analysis: Analysis) -> None:
    for make, said in (
        (lambda: bscan_view(known_exam, known_analysis, "AMD", 8), "no B-scan 8"),
        (lambda: bscan_view(known_exam, known_analysis, "AMD", -1), "no B-scan -1"),
        (lambda: slow_scan_view(known_exam, known_analysis, "AMD", 96), "from 0 to 95"),
        (lambda: saliency_en_face(known_analysis, "AMD", depth=(60, 70)), "from 60 to 70"),
        (lambda: saliency_en_face(known_analysis, "AMD", depth=(5, 5)), "from 5 to 5"),
        (lambda: bscan_view(known_exam, known_analysis, "XYZ", 0), "'XYZ'; it scores AMD"),
        (lambda: image_view(known_exam, known_analysis, "AMD", "IR"), "no IR image"),
        (lambda: localizer_view(known_exam, known_analysis, "AMD"), "does not say where"),
    ):
        with pytest.raises(InputError, match=said):
            make()
    other = dataclasses.replace(known_exam, volume=OCTVolume(np.zeros((8, 64, 95), np.uint8)))
    with pytest.raises(InputError, match="another exam"):
        bscan_view(other, known_analysis, "AMD", 0)


def test_the_map_of_an_image_lies_on_its_patches_and_not_outside_what_the_model_sees(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    """Of 50 x 60 pixels the model sees columns 5 to 54; the upper right patch is rows 0-24, columns 30-54."""
    view = image_view(known_exam, aligned_analysis(known_analysis), SIMILARITY, "IR")
    assert view.saliency.shape == (50, 60)
    assert view.saliency[:12, 43:54].min() > 0.95
    assert view.saliency[:, 56:].max() == 0
    assert view.saliency[:, :17].max() == 0
    assert view.saliency[38:].max() == 0
    assert view.pixel_aspect == 1
    nothing = image_view(known_exam, aligned_analysis(known_analysis), GROWTH, "IR")
    assert not nothing.saliency.any()


def test_a_raster_is_laid_on_the_image_between_its_lines(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    """Token (1, 0, 2): B-scans 2 and 3 lie in rows 40 and 50, A-scan 79.5 in column 109.5."""
    exam = with_lines(known_exam, raster_lines())
    placed = localizer_view(exam, known_analysis, "AMD").saliency
    assert placed.shape == (120, 160)
    row, column = np.unravel_index(placed.argmax(), placed.shape)
    assert 40 <= row <= 50
    assert 109 <= column <= 125
    assert placed[45, 120] == pytest.approx(0.75, abs=0.01)  # between two lines
    assert placed[:15].max() == 0  # half a line's distance above the first
    assert placed[:, 127:].max() == 0
    assert placed[:, :70].max() == 0
    upside_down = with_lines(known_exam, raster_lines(upwards=True))
    flipped = localizer_view(upside_down, known_analysis, "AMD").saliency
    np.testing.assert_allclose(flipped[20:91], placed[20:91][::-1], atol=1e-5)


def test_a_turned_raster_is_laid_on_the_image_turned(
    known_exam: Exam, busy_analysis: Analysis
) -> None:
    """Lines that run down the image, right to left one after another."""
    lines = [line[:, ::-1] * [1, -1] + [-25, 140] for line in raster_lines()]
    placed = localizer_view(with_lines(known_exam, lines), busy_analysis, "AMD").saliency
    front = saliency_en_face(busy_analysis, "AMD")
    for bscan, line in enumerate(lines):
        for ascan in (0, 30, 95):
            row, column = line[0] + (line[1] - line[0]) * ascan / 95
            assert placed[round(row), round(column)] == pytest.approx(front[bscan, ascan], abs=1e-4)


def test_other_patterns_are_ribbons_along_their_lines(
    known_exam: Exam, busy_analysis: Analysis
) -> None:
    angles = np.pi * np.arange(8) / 8
    spokes = np.column_stack([np.sin(angles), np.cos(angles)])
    lines = [np.array([[60, 80] - 50 * spoke, [60, 80] + 50 * spoke]) for spoke in spokes]
    placed = localizer_view(with_lines(known_exam, lines), busy_analysis, "AMD").saliency
    front = saliency_en_face(busy_analysis, "AMD")
    for bscan, line in enumerate(lines):
        row, column = line[0] + (line[1] - line[0]) * 0.1
        assert placed[round(row), round(column)] == pytest.approx(
            np.interp(9.5, np.arange(96), front[bscan]), abs=0.03
        )
    between = np.array([60, 80]) + 45 * np.array([np.sin(np.pi / 16), np.cos(np.pi / 16)])
    assert placed[tuple(np.rint(between).astype(int))] == 0


def test_where_lines_cross_the_larger_value_is_seen(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    """B-scans 0 and 1 alone are salient."""
    saliency = np.zeros_like(known_analysis.saliency)
    saliency[0, 0] = 1.0
    analysis = dataclasses.replace(known_analysis, saliency=saliency)
    row, column = np.array([[60.0, 30.0], [60.0, 130.0]]), np.array([[10.0, 80.0], [110.0, 80.0]])
    for lines in ([row] + [column] * 7, [column] + [row] * 7):
        placed = localizer_view(with_lines(known_exam, lines), analysis, "AMD").saliency
        assert placed[60, 80] == 1
        along = placed[60, 30:131] if lines[0] is row else placed[10:111, 80]
        assert along.min() == 1


def test_a_circle_has_no_gaps(known_exam: Exam, busy_analysis: Analysis) -> None:
    turns = 2 * np.pi * np.arange(97) / 96
    circle = np.column_stack([60 + 40 * np.sin(turns), 80 + 40 * np.cos(turns)])
    ones = dataclasses.replace(busy_analysis, saliency=np.ones_like(busy_analysis.saliency))
    placed = localizer_view(with_lines(known_exam, [circle] * 8), ones, "AMD").saliency
    rows, columns = np.indices(placed.shape)
    radius = np.hypot(rows - 60, columns - 80)
    assert (placed[np.abs(radius - 40) < 1] == 1).all()
    assert not placed[np.abs(radius - 40) > 4].any()


def test_lines_outside_the_image_leave_it_free(known_exam: Exam, busy_analysis: Analysis) -> None:
    for lines in (raster_lines(), [raster_lines()[0]] * 8):
        away = [line + np.array([500, 0]) for line in lines]
        view = localizer_view(with_lines(known_exam, away), busy_analysis, "AMD")
        assert not view.saliency.any()


def test_a_large_image_is_laid_out_without_gaps(known_exam: Exam, busy_analysis: Analysis) -> None:
    image = EnFaceImage(np.zeros((1200, 1600), np.uint8), "CFP")
    small = localizer_view(with_lines(known_exam, raster_lines()), busy_analysis, "AMD").saliency
    lines = [line * 10 for line in raster_lines()]
    large = localizer_view(with_lines(known_exam, lines, image), busy_analysis, "AMD").saliency
    np.testing.assert_allclose(large[200:910:10, 300:1260:10], small[20:91, 30:126], atol=1e-4)


def test_fewer_pixels_hold_the_same_saliency(known_exam: Exam, busy_analysis: Analysis) -> None:
    exam = with_lines(known_exam, raster_lines())
    all_pixels = localizer_view(exam, busy_analysis, "AMD").saliency
    few = localizer_saliency(exam, busy_analysis, "AMD", step=3)
    np.testing.assert_allclose(few, all_pixels[1::3, 1::3], atol=1e-4)
    analysis = aligned_analysis(busy_analysis)
    seen = image_view(known_exam, analysis, SIMILARITY, "IR").saliency
    few = image_saliency(known_exam.enface[0], analysis, SIMILARITY, step=3)
    np.testing.assert_array_equal(few, seen[1::3, 1::3])


def test_images_of_every_type_are_shown_from_black_to_white() -> None:
    ramp = np.linspace(0, 4095, 64 * 64).reshape(64, 64)
    for pixels in (ramp.astype(np.uint16), (ramp / 4095).astype(np.float32)):
        shown = image_picture(pixels)
        assert shown.dtype == np.uint8
        assert (shown[0, 0], shown[-1, -1]) == (0, 255)
    colour = np.zeros((4, 5, 3), np.uint8)
    np.testing.assert_array_equal(image_picture(colour), colour)
