"""The montage: colour where the saliency is, grey where it is not, true proportions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from aligned import aligned_analysis, bare_analysis

from octcube_core import drawing, montage
from octcube_core.colours import overlay_colours
from octcube_core.drawing import draw_view
from octcube_core.errors import InputError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.montage import draw_montage, panel_size
from octcube_core.results import Analysis
from octcube_core.views import bscan_view


def test_alpha_rises_from_nothing() -> None:
    alpha = overlay_colours(np.linspace(0, 1, 50))[:, 3]
    assert alpha[0] == 0
    assert (np.diff(alpha) > 0).all()
    assert drawing.MAX_ALPHA < 1  # tissue stays visible under the strongest saliency


def test_more_saliency_is_brighter() -> None:
    luminance = overlay_colours(np.linspace(0, 1, 50))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()


def _drawn(exam: Exam, analysis: Analysis, target: str, bscan: int) -> np.ndarray:
    view = bscan_view(exam, analysis, target, bscan)
    return np.asarray(draw_view(view, panel_size(exam.volume))).astype(int)


def test_the_overlay_colours_the_salient_corner_alone(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    picture = _drawn(known_exam, known_analysis, "AMD", 2)
    colourful = picture.max(axis=2) - picture.min(axis=2) > 20
    height, width = colourful.shape
    assert colourful[: height // 4, -width // 6 :].all()
    assert not colourful[-height // 4 :].any()
    assert not colourful[:, : width // 2].any()


def test_without_saliency_the_bscan_is_grey(known_exam: Exam, known_analysis: Analysis) -> None:
    assert (_drawn(known_exam, known_analysis, "ERM", 0) == 100).all()


def test_proportions_are_those_of_the_eye_where_known() -> None:
    voxels = np.zeros((2, 100, 400), np.uint8)
    width, height = panel_size(OCTVolume(voxels, (None, 0.004, 0.002)))
    assert height / width == pytest.approx(0.5, abs=0.01)  # 0.4 mm deep, 0.8 mm wide
    width, height = panel_size(OCTVolume(voxels, (0.1, None, 0.002)))
    assert height / width == pytest.approx(0.25, abs=0.01)  # square pixels
    tall = OCTVolume(np.zeros((1, 2000, 100), np.uint8))
    assert max(panel_size(tall)) <= max(montage.PANEL_WIDTH, montage.PANEL_MAX_HEIGHT)


def test_captions_name_disease_probability_bscan_model_and_the_disclaimer(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str]
) -> None:
    draw_montage(known_exam, known_analysis)
    header, proportions, *captions = written_texts
    assert "toy 1.2 (synthetic)" in header
    assert "Research use only; not for diagnosis" in header
    assert "OS" in proportions
    assert "colour: Grad-CAM++" in proportions
    # The most probable first, only B-scans with evidence, and no row for the disease without any.
    assert captions == [
        "DME 0.91 (present)  ·  B-scan 7 of 8",
        "AMD 0.45 (present)  ·  B-scan 3 of 8",
    ]


def test_a_synthetic_eye_is_called_so(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str]
) -> None:
    draw_montage(dataclasses.replace(known_exam, format="synthetic"), known_analysis)
    assert "synthetic eye" in written_texts[1]


def test_without_any_evidence_the_middle_bscan_is_shown(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str]
) -> None:
    empty = dataclasses.replace(known_analysis, saliency=np.zeros_like(known_analysis.saliency))
    draw_montage(known_exam, empty)
    assert [text for text in written_texts if "B-scan" in text] == [
        "DME 0.91 (present)  ·  B-scan 5 of 8"
    ]


def test_measurements_have_rows_with_their_values(
    known_exam: Exam, known_analysis: Analysis, written_texts: list[str]
) -> None:
    draw_montage(known_exam, aligned_analysis(known_analysis))
    assert written_texts[2:] == ["OCT~IR 0.312  ·  B-scan 3 of 8"]


def test_a_model_without_scores_has_no_montage(known_exam: Exam, known_analysis: Analysis) -> None:
    with pytest.raises(InputError, match="gives no scores"):
        draw_montage(known_exam, bare_analysis(known_analysis))


def test_no_text_is_cut_off_at_the_right(known_exam: Exam, known_analysis: Analysis) -> None:
    for repeats in (4, 40):
        card = dataclasses.replace(known_analysis.card, name="a model with a long name " * repeats)
        analysis = dataclasses.replace(known_analysis, card=card)
        picture = np.asarray(draw_montage(known_exam, analysis))
        margin = picture[: drawing.HEADER_HEIGHT, -3:]
        assert (margin == drawing.BACKGROUND).all()
