"""The montage: colour where the saliency is, grey where it is not, true proportions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from octcube_core import montage
from octcube_core.colours import overlay_colours
from octcube_core.exam import Exam, OCTVolume
from octcube_core.montage import (
    draw_bscan,
    draw_montage,
    panel_size,
    saliency_of_bscan,
)
from octcube_core.results import Analysis


@pytest.fixture
def written_texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    texts: list[str] = []
    original = montage._write

    def record(draw, position, text, *rest) -> None:
        texts.append(text)
        original(draw, position, text, *rest)

    monkeypatch.setattr(montage, "_write", record)
    return texts


def test_alpha_rises_from_nothing() -> None:
    alpha = overlay_colours(np.linspace(0, 1, 50))[:, 3]
    assert alpha[0] == 0
    assert (np.diff(alpha) > 0).all()
    assert montage.MAX_ALPHA < 1  # tissue stays visible under the strongest saliency


def test_more_saliency_is_brighter() -> None:
    luminance = overlay_colours(np.linspace(0, 1, 50))[:, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()


def test_saliency_peaks_at_the_centre_of_its_token(known_analysis: Analysis) -> None:
    """Token (1, 0, 2) of AMD has its centre at voxel (2.5, 15.5, 79.5)."""
    between = saliency_of_bscan(known_analysis, "AMD", 2)
    assert between.shape == (64, 96)
    y, x = np.unravel_index(between.argmax(), between.shape)
    assert (y, x) in {
        (y, x) for y in range(16) for x in range(79, 96)
    }  # constant beyond the centre
    assert between[15, 80] == pytest.approx(0.75, abs=0.03)  # B-scan 2 is a quarter of a token off
    assert between[15, 48] == pytest.approx(0.0, abs=0.03)  # the next token's centre
    assert between[48, 80] == pytest.approx(0.0, abs=0.03)
    assert saliency_of_bscan(known_analysis, "AMD", 5).max() == 0


def test_the_overlay_colours_the_salient_corner_alone(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    picture = np.asarray(draw_bscan(known_exam, known_analysis, "AMD", 2)).astype(int)
    colourful = picture.max(axis=2) - picture.min(axis=2) > 20
    height, width = colourful.shape
    assert colourful[: height // 4, -width // 6 :].all()
    assert not colourful[-height // 4 :].any()
    assert not colourful[:, : width // 2].any()


def test_without_saliency_the_bscan_is_grey(known_exam: Exam, known_analysis: Analysis) -> None:
    picture = np.asarray(draw_bscan(known_exam, known_analysis, "ERM", 0))
    np.testing.assert_array_equal(picture, np.full_like(picture, 100))


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
    assert captions[0].startswith("DME 0.91 (present)")  # the most probable first
    assert "B-scan 7 of 8" in captions[0]
    assert captions[3].startswith("AMD 0.45")
    assert not any(caption.startswith("ERM") for caption in captions)  # without positive evidence


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


def test_no_text_is_cut_off_at_the_right(known_exam: Exam, known_analysis: Analysis) -> None:
    card = dataclasses.replace(known_analysis.card, name="a model with a very long name " * 4)
    picture = np.asarray(draw_montage(known_exam, dataclasses.replace(known_analysis, card=card)))
    margin = picture[: montage.HEADER_HEIGHT, -3:]
    assert (margin == montage.BACKGROUND).all()
