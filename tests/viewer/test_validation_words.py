from dataclasses import replace

from fakes import make_card

from napari_octcube._validation_words import validation
from octcube_core.checkpoints.card import ReportedFigure
from octcube_core.checkpoints.released import RELEASED

AMD = ("Age-related macular degeneration", "AMD")
WHOLE = ReportedFigure("eight retinal diseases", "mean AUPRC", "0.81", "arXiv 1")
OWN = ReportedFigure("AMD, inductive", "AUROC", "0.95", "arXiv 2")


def test_without_figures_it_says_so():
    text = validation(make_card(), *AMD)
    assert "no figures were published" in text
    assert "Says nothing about real eyes" in text


def test_figures_of_the_disease_come_alone():
    text = validation(replace(make_card(), reported=(WHOLE, OWN)), *AMD)
    assert "figures of AMD" in text
    assert "AUROC 0.95 (arXiv 2)" in text
    assert "0.81" not in text


def test_figures_of_the_whole_model_are_said_to_be_that():
    card = replace(make_card(), reported=(WHOLE,), synthetic=False, trained_on="26,685 volumes")
    text = validation(card, *AMD)
    assert "of the model as a whole, none of AMD" in text
    assert "mean AUPRC 0.81" in text
    assert "Trained on: 26,685 volumes" in text
    assert "real eyes" not in text


def test_thresholds_name_the_eyes_they_were_chosen_on():
    facts = {"thresholds": "Youden's J", "exams": 298, "patients": 72, "date": "2026-11-22"}
    text = validation(replace(make_card(), notes={"calibration": facts}), *AMD)
    assert "Youden's J on 298 eyes of 72 patients (2026-11-22)" in text


def test_notes_of_another_kind_do_no_harm():
    text = validation(replace(make_card(), notes={"calibration": "by hand"}), *AMD)
    assert "by hand" not in text


def test_released_figures_with_their_sources_fit_a_small_screen():
    text = validation(replace(make_card(), reported=RELEASED["octcube"].reported), *AMD)
    assert "27 of 29" in text
    assert "https://www.emergentmind.com/papers/2408.11227" in text  # in one piece
    assert max(len(line) for line in text.splitlines()) <= 100
