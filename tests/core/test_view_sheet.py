"""The sheet of a target's views: which there are, in the eye's proportions, with what a reader needs to know."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from aligned import GROWTH, SIMILARITY, aligned_analysis, raster_lines, with_lines

from octcube_core import drawing, view_sheet
from octcube_core.errors import InputError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.results import Analysis
from octcube_core.view_sheet import draw_view_sheet


@pytest.fixture
def drawn_views(monkeypatch: pytest.MonkeyPatch) -> list:
    """(View, size) of everything that is drawn."""
    drawn = []
    original = drawing.draw_view

    def record(view, size):
        drawn.append((view, size))
        return original(view, size)

    monkeypatch.setattr(view_sheet, "draw_view", record)
    return drawn


def test_the_header_names_model_method_target_and_the_disclaimer(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str]
) -> None:
    draw_view_sheet(known_exam, known_analysis, "AMD")
    title, about, target, *_ = written_texts
    assert title == "toy 1.2 (synthetic)  ·  Research use only; not for diagnosis"
    assert about == "OS  ·  colour: Grad-CAM++ at norm1, scaled per volume"
    assert target == "AMD 0.45 (present)  ·  Age-related macular degeneration"


def test_a_raster_is_seen_from_all_sides_through_the_peak(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str], drawn_views: list
) -> None:
    draw_view_sheet(with_lines(known_exam, raster_lines()), known_analysis, "AMD")
    assert written_texts[3:] == [
        "B-scan 3 of 8",
        "En face, maximum over depth, B-scan 1 at the top",
        "Slow-scan plane at A-scan 81 of 96",
        "Mean saliency of each B-scan, 0 to 0.12",
        "Saliency of the OCT where it lies on the IR image",
    ]
    for view, _ in drawn_views:
        assert view.saliency.max() > 0.7  # every view shows the lesion


def test_all_views_have_the_eyes_proportions(
    known_exam: Exam, known_analysis: Analysis, drawn_views: list
) -> None:
    draw_view_sheet(known_exam, known_analysis, "AMD")
    for view, (width, height) in drawn_views:
        rows, columns = view.saliency.shape
        assert height / width == pytest.approx(rows / columns * view.pixel_aspect, rel=0.01)
    (_, bscan), (_, slow_scan), (_, en_face) = drawn_views
    assert bscan[1] == slow_scan[1]  # depth beside depth
    assert bscan[0] == en_face[0]  # A-scan below A-scan
    assert slow_scan[0] == en_face[1]


def test_unknown_distances_are_said(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str]
) -> None:
    for spacing, to_scale in (
        ((0.12, None, 0.012), [False, True, False]),
        ((None, 0.004, 0.012), [True, False, False]),
        ((None, None, None), [False, False, False]),
    ):
        written_texts.clear()
        volume = OCTVolume(known_exam.volume.voxels, spacing)
        draw_view_sheet(dataclasses.replace(known_exam, volume=volume), known_analysis, "AMD")
        bscan, en_face, slow_scan, _ = written_texts[3:]
        said = ["not to scale" not in text for text in (bscan, en_face, slow_scan)]
        assert said == to_scale


def test_a_scan_from_below_is_drawn_as_the_fundus_lies(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str], drawn_views: list
) -> None:
    key_bscan = (2 + 0.5) / 8
    for upwards, place in ((False, key_bscan), (True, 1 - key_bscan)):
        exam = with_lines(known_exam, raster_lines(upwards))
        picture = np.asarray(draw_view_sheet(exam, known_analysis, "AMD"))
        _, (_, depth) = drawn_views[-4]
        _, (_, height) = drawn_views[-2]
        top = view_sheet.HEADER + depth + 2 * drawing.CAPTION_HEIGHT + drawing.MARGIN
        edge = picture[top : top + height, drawing.MARGIN + 2]
        ticks = np.nonzero((edge == view_sheet.TICK_COLOUR).all(axis=1))[0]
        assert ticks.mean() / height == pytest.approx(place, abs=0.01)
    en_face = [view for view, _ in drawn_views if view.saliency.shape == (8, 96)]
    np.testing.assert_array_equal(en_face[0].saliency, en_face[1].saliency[::-1])
    texts = [text for text in written_texts if "En face" in text]
    assert [text.rsplit(" ", 1)[1] for text in texts] == ["top", "bottom"]


@pytest.mark.parametrize("pattern", ["radial", "circle", "line"])
def test_other_patterns_have_no_planes_across(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str], pattern
) -> None:
    exam = dataclasses.replace(known_exam, scan_pattern=pattern)
    draw_view_sheet(exam, known_analysis, "AMD")
    assert written_texts[3:] == ["B-scan 3 of 8", "Mean saliency of each B-scan, 0 to 0.12"]


def test_a_single_bscan_stands_alone(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str]
) -> None:
    volume = OCTVolume(known_exam.volume.voxels[:1], known_exam.volume.spacing_mm)
    grid = dataclasses.replace(
        known_analysis.grid, volume_shape=(1, 64, 96), input_shape=(3, 32, 48)
    )
    lone = dataclasses.replace(known_analysis, grid=grid, saliency=known_analysis.saliency[:, 1:2])
    draw_view_sheet(dataclasses.replace(known_exam, volume=volume), lone, "AMD")
    assert written_texts[3:] == ["B-scan 1 of 1"]


def test_a_similarity_is_shown_on_the_volume_and_on_the_image_side_by_side(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str]
) -> None:
    analysis = aligned_analysis(known_analysis)
    picture = np.asarray(draw_view_sheet(known_exam, analysis, SIMILARITY)).astype(int)
    assert written_texts[2] == "OCT~IR 0.312  ·  Similarity of OCT and IR"
    assert written_texts[-1] == "Saliency of the IR image, scaled per image"
    colourful = picture.max(axis=2) - picture.min(axis=2) > 60
    image = colourful[view_sheet.HEADER + 26 :, -view_sheet.IMAGE_BOX[0] - 12 :]
    rows, columns = np.nonzero(image[:330])  # the image alone: 50 x 60 in a box of 400
    assert rows.max() < 200  # heat in its right upper patch
    assert columns.min() > 130


def test_what_cannot_be_explained_is_said(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str]
) -> None:
    draw_view_sheet(known_exam, aligned_analysis(known_analysis), GROWTH)
    assert written_texts[2] == (
        "GA growth 1.5 mm²/year  ·  Growth of the atrophy  ·  no positive evidence in the volume"
    )
    assert written_texts[3] == "B-scan 5 of 8"
    assert written_texts[-1] == "Saliency of the IR image, no positive evidence"
    with pytest.raises(InputError, match="'XYZ'"):
        draw_view_sheet(known_exam, known_analysis, "XYZ")


def test_bscans_outside_the_image_are_not_shown_on_it(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str]
) -> None:
    away = [line + np.array([500, 0]) for line in raster_lines()]
    draw_view_sheet(with_lines(known_exam, away), known_analysis, "AMD")
    assert not any("where it lies" in text for text in written_texts)
