"""One page about an exam, as HTML and as PDF: what it says, what it never says, and that it is one page."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pypdf
import pytest
from aligned import aligned_analysis, bare_analysis, raster_lines, with_lines
from report_pages import Page, both, pdf_text

from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, Exam, OCTVolume
from octcube_core.report import html_text, make_report, pdf_bytes, why_no_report
from octcube_core.results import Analysis


def test_both_say_what_was_found_in_what_by_what(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    exam = with_lines(known_exam, raster_lines())
    for text in both(make_report(exam, known_analysis)):
        for words in (
            "OCT analysis report",
            "OS (left eye)",
            "Heidelberg Spectralis",
            "raster (B-scans side by side)",
            "8 of 96 × 64 pixels",
            "1.2 mm wide, 0.3 mm deep, 0.8 mm across the B-scans",
            "12 µm in width, 4 µm in depth, 120 µm between B-scans",
            "toy 1.2 (synthetic)",
            "Trained on: synthetic eyes",
            "Grad-CAM++ at the last layer before its attention",
            "Evidence for Diabetic macular oedema: the brighter, the more",
            "B-scan 7 of 8",
            "Heat map on the IR image",
            "The exam has a warning.",
            "The analysis has a warning.",
            "Synthetic model",
        ):
            assert words in text
        assert text.count("Research use only; not for diagnosis") == 2
        assert "Synthetic eye" not in text
        assert "norm1" not in text


def test_the_likeliest_disease_comes_first_and_the_normal_eye_last(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    page = Page(html_text(make_report(known_exam, known_analysis)))
    cells = [text for tag, text in page.texts if tag in ("span", "td")]
    start = cells.index("Diabetic macular oedema (DME)")
    assert cells[start : start + 11] == [
        *("Diabetic macular oedema (DME)", "0.91", "present"),
        *("Age-related macular degeneration (AMD)", "0.45", "present"),
        *("Epiretinal membrane (ERM)", "0.02", "absent"),
        *("Normal eye", "0.09"),
    ]
    text = pdf_text(pdf_bytes(make_report(known_exam, known_analysis)))
    order = [text.index(name) for name in ("(DME)", "(AMD)", "(ERM)", "Normal eye 0.09")]
    assert order == sorted(order)


def test_the_pictures_are_of_a_disease_that_is_present_if_any_is(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    amd, dme, erm = known_analysis.scores
    scores = (amd, dataclasses.replace(dme, threshold=0.95), erm)  # 0.91, and yet absent
    analysis = dataclasses.replace(known_analysis, scores=scores)
    report = make_report(known_exam, analysis)
    assert report.scores[0].verdict == "absent"
    assert report.evidence.startswith("Evidence for Age-related macular degeneration")
    assert report.bscans[0].caption.startswith("B-scan 3 of 8")


def test_the_bar_and_its_mark_are_where_they_belong(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    text = html_text(make_report(known_exam, known_analysis))
    assert '<i style="width:45.0%"></i><b style="left:40.0%"></b>' in text
    assert '<i style="width:9.0%"></i></span>' in text  # the normal eye has no threshold


def test_values_have_their_units_and_a_model_of_values_no_diseases(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    for text in both(make_report(known_exam, aligned_analysis(known_analysis))):
        assert "Growth of the atrophy 1.5 mm²/year" in text
        assert "What raises Similarity of OCT and IR" in text
        assert "Ran on the CPU, as the GPU's memory was full." in text
        assert "Diseases" not in text
        assert "Normal" not in text


def test_a_synthetic_eye_is_called_one(known_exam: Exam, known_analysis: Analysis) -> None:
    exam = dataclasses.replace(known_exam, format="synthetic")
    for text in both(make_report(exam, known_analysis)):
        assert "Synthetic eye: computed, of no patient." in text


def test_pictures_lie_inside_the_file_and_show_the_evidence(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    exam = with_lines(known_exam, raster_lines())
    report = make_report(exam, known_analysis)
    page = Page(html_text(report))
    assert len(page.pictures) == 1 + len(report.bscans)
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    picture = np.asarray(report.bscans[0].image).astype(int)
    colour = picture.max(axis=-1) - picture.min(axis=-1)
    # DME is seen in token (3, 1, 0): the lower left of B-scan 7
    rows, columns = np.nonzero(colour > 60)
    assert rows.mean() > 0.5 * picture.shape[0]
    assert columns.mean() < 0.35 * picture.shape[1]
    images = pypdf.PdfReader(io.BytesIO(pdf_bytes(report))).pages[0].images
    assert sorted(image.image.size for image in images) == sorted(
        picture.image.size for picture in (report.front, *report.bscans)
    )


def test_a_large_photograph_is_shown_as_a_small_one(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    small = with_lines(known_exam, raster_lines())
    pixels = np.kron(small.enface[0].pixels, np.ones((29, 29), np.uint8))  # 4640 pixels wide
    large = with_lines(
        known_exam,
        [(line + 0.5) * 29 - 0.5 for line in raster_lines()],
        EnFaceImage(pixels, "CFP", (0.01 / 29, 0.01 / 29)),
    )
    pictures = [make_report(exam, known_analysis).front.image for exam in (small, large)]
    assert pictures[0].size == pictures[1].size
    one, other = (np.asarray(picture.resize((160, 120)), float) for picture in pictures)
    assert np.abs(one - other).mean() < 3
    assert np.ptp(one - one.mean(axis=-1, keepdims=True)) > 60  # there is colour to compare


def test_without_places_the_heat_map_is_on_the_oct_from_the_front(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    for text in both(make_report(known_exam, known_analysis)):
        assert "Heat map on the OCT seen from the front" in text
        assert "does not say where the B-scans lie on a fundus image." in text


@pytest.mark.parametrize("pattern", ["radial", "circle", "line"])
def test_where_there_is_no_view_from_the_front_it_is_said(
    known_exam: Exam, known_analysis: Analysis, pattern: str
) -> None:
    report = make_report(dataclasses.replace(known_exam, scan_pattern=pattern), known_analysis)
    assert report.front is None
    for text in both(report):
        assert f"a {pattern} scan has no view from the front: there is no heat map" in text


def test_no_evidence_is_said_and_the_middle_bscan_shown(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    analysis = dataclasses.replace(known_analysis, saliency=np.zeros_like(known_analysis.saliency))
    for text in both(make_report(with_lines(known_exam, raster_lines()), analysis)):
        assert "The model found no evidence for Diabetic macular oedema in the OCT" in text
        assert "B-scan 5 of 8" in text


def test_unknown_facts_are_called_unknown(known_exam: Exam, known_analysis: Analysis) -> None:
    exam = dataclasses.replace(
        known_exam,
        volume=OCTVolume(known_exam.volume.voxels),
        laterality=None,
        device=None,
        scan_pattern=None,
        enface=(),
    )
    for text in both(make_report(exam, known_analysis, identity=True)):
        for words in ("side unknown", "Device not stated", "pattern unknown", "Spacing unknown"):
            assert words in text
        assert "B-scan 7 of 8, not to scale" in text


def test_much_text_stays_on_one_page_and_nothing_is_dropped_silently(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    scores = tuple(
        dataclasses.replace(
            known_analysis.scores[0],
            name=f"Disease {number} of a name that is far too long for its column here",
            abbreviation=f"D{number}",
            probability=1 - number / 20,
        )
        for number in range(20)
    )
    analysis = dataclasses.replace(
        known_analysis,
        scores=scores,
        saliency=np.repeat(known_analysis.saliency[:1], 20, axis=0),
        saliency_peak=np.ones(20, np.float32),
    )
    warnings = tuple(f"Warning {number}: {'word ' * 100}" for number in range(12))
    exam = dataclasses.replace(known_exam, warnings=warnings, device="Device " * 40)
    html, pdf = both(make_report(exam, analysis, identity=True))
    for text in (html, pdf):
        assert "6 more diseases (0 of them present) have no room here" in text
        assert "Warning 0" in text
        assert "more are in the scores file." in text
        assert "Normal eye" in text


def test_what_is_left_of_the_page_goes_to_the_first_bscan_but_never_at_the_cost_of_notes(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    few = make_report(known_exam, known_analysis)
    warnings = tuple(f"Warning {number}: {'word ' * 30}" for number in range(8))
    many = make_report(dataclasses.replace(known_exam, warnings=warnings), known_analysis)
    assert (few.roomy, many.roomy) == (True, False)
    assert 'class="bscans roomy"' in html_text(few)
    assert "scores file" not in pdf_text(pdf_bytes(few))


def test_nothing_in_the_pdf_is_beside_the_page_or_over_its_foot(
    known_exam: Exam, known_analysis: Analysis
) -> None:
    scores = tuple(
        dataclasses.replace(known_analysis.scores[0], abbreviation=f"D{number}")
        for number in range(14)
    )
    growth = aligned_analysis(known_analysis).measurements[1]
    analysis = dataclasses.replace(
        known_analysis,
        scores=scores,
        measurements=(growth,) * 4,
        saliency=np.ones((18, 4, 2, 3), np.float32),
    )
    warnings = tuple(f"Warning {number}: {'word ' * 100}" for number in range(7))
    exam = dataclasses.replace(known_exam, warnings=warnings, device="Device " * 40)
    report = make_report(exam, analysis, identity=True)
    (page,) = pypdf.PdfReader(io.BytesIO(pdf_bytes(report))).pages
    places: list[tuple[str, float, float]] = []
    page.extract_text(
        visitor_text=lambda text, cm, tm, font, size: places.append((text, tm[4], tm[5]))
    )
    written = [(text, x, y) for text, x, y in places if text.strip()]
    assert len(written) > 50
    assert all(35 < x < 560 and 25 < y < 815 for _, x, y in written)
    foot = next(y for text, _, y in written if text.startswith("Model: toy"))
    notes = [y for text, _, y in written if "word word" in text or "scores file" in text]
    assert min(notes) > foot + 10
    assert "more are in the scores file." in page.extract_text()
    html = html_text(report)
    assert "7 more are in the scores file." in html
    assert "Warning 0" in html
    assert "Warning 1" not in html


def test_a_model_without_scores_has_no_report(known_exam: Exam, known_analysis: Analysis) -> None:
    analysis = bare_analysis(known_analysis)
    with pytest.raises(InputError, match="gives no scores, so there is nothing to report"):
        make_report(known_exam, analysis)
    assert why_no_report(analysis)
    assert not why_no_report(known_analysis)


def test_an_analysis_of_another_exam_is_refused(known_exam: Exam, known_analysis: Analysis) -> None:
    other = dataclasses.replace(known_exam, volume=OCTVolume(np.zeros((3, 9, 9), np.uint8)))
    with pytest.raises(InputError, match="another exam"):
        make_report(other, known_analysis)


def test_missing_fonts_are_one_sentence(
    known_exam: Exam, known_analysis: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    from octcube_core.report import fonts

    monkeypatch.setattr(fonts, "find_spec", lambda name: None)
    fonts._register.cache_clear()
    try:
        with pytest.raises(
            InputError, match="install matplotlib again, or save the report as HTML"
        ):
            pdf_bytes(make_report(known_exam, known_analysis))
    finally:
        monkeypatch.undo()
        fonts._register.cache_clear()
