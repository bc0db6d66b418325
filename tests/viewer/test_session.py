from dataclasses import replace
from pathlib import Path

import pytest
from fakes import make_analysis, make_exam

from napari_octcube._session import Session


@pytest.fixture
def session():
    return Session()


def test_finished_analysis_shows_the_top_disease(session):
    exam = make_exam()
    session.show_exam(exam)
    session.begin(exam)
    assert session.running is exam
    session.finish(exam, make_analysis(exam))
    assert session.running is None
    assert session.disease == "DME"


def test_observers_see_the_disease_gone_before_the_exam_changes(session):
    first, second = make_exam(), make_exam()
    session.show_exam(first)
    session.finish(first, make_analysis(first))
    seen = []
    session.events.exam.connect(lambda: seen.append((session.analysis, session.disease)))
    session.show_exam(second)
    assert seen == [(None, None)]


def test_result_of_an_exam_no_longer_in_view_is_dropped(session):
    first, second = make_exam(), make_exam()
    session.show_exam(first)
    session.begin(first)
    session.show_exam(second)
    session.finish(first, make_analysis(first))
    assert (session.analysis, session.running) == (None, None)


def test_closing_the_exam_in_view_clears_everything_about_it(session):
    exam = make_exam()
    session.show_exam(exam)
    session.finish(exam, make_analysis(exam))
    session.close_exam(exam)
    assert (session.exam, session.analysis, session.disease) == (None, None, None)


def test_a_new_run_clears_the_last_error(session):
    exam = make_exam()
    session.show_exam(exam)
    session.fail("It broke.")
    session.begin(exam)
    assert session.error == ""


def test_a_fovea_is_estimated_until_it_is_placed(session):
    session.show_exam(make_exam())
    heard = []
    session.fovea_moved.connect(heard.append)
    assert session.fovea(0).estimate
    session.place_fovea(0, 5.5, 99.0)
    assert (session.fovea(0).row, session.fovea(0).column) == (5.5, 31.0)  # within the image
    assert not session.fovea(0).estimate
    session.forget_fovea(0)
    assert session.fovea(0).estimate
    assert heard == [0, 0]


def test_a_placed_fovea_is_remembered_by_the_exam(session):
    session.show_exam(make_exam())
    session.place_fovea(0, 5.0, 9.0)
    session.show_exam(make_exam(bright=(10, 1, 2)))  # another eye of the same shape
    assert session.fovea(0).estimate
    session.show_exam(make_exam())  # the same one, read again
    assert session.fovea(0).row == 5.0
    session.close()
    tomorrow = Session()
    tomorrow.show_exam(replace(make_exam(), source=Path("moved.vol")))
    assert (tomorrow.fovea(0).row, tomorrow.fovea(0).column) == (5.0, 9.0)


def test_how_the_overlay_looks_outlives_the_exam(session):
    session.show_exam(make_exam())
    session.overlay_opacity, session.overlay_threshold = 0.3, 0.4
    session.show_exam(make_exam())
    assert (session.overlay_opacity, session.overlay_threshold) == (0.3, 0.4)
