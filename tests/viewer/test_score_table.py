import dataclasses

import pytest
from fakes import make_analysis, make_exam
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor

from napari_octcube._session import Session
from napari_octcube._widgets.score_bar import ABSENT, PRESENT, SCORE_ROLE
from napari_octcube._widgets.score_table import BAR, NAME, VALUE, ScoreTable
from octcube_core.checkpoints.card import ReportedFigure
from octcube_core.results import Measurement

MEASUREMENTS = (
    Measurement("Similarity of OCT and IR", "OCT~IR", 0.3125),
    Measurement("Growth of the atrophy", "GA growth", 1.5, "mm²/year"),
)


@pytest.fixture
def session():
    session = Session()
    session.show_exam(make_exam())
    return session


@pytest.fixture
def table(session, qtbot):
    table = ScoreTable(session)
    qtbot.addWidget(table)
    session.finish(session.exam, make_analysis(session.exam))
    table.resize(330, 200)
    table.show()
    qtbot.waitExposed(table)
    return table


def column(table, number):
    return [table.item(row, number).text() for row in range(table.rowCount())]


def test_a_row_per_disease_and_one_for_normal(table):
    assert column(table, NAME) == ["DME", "AMD", "PVD", "Normal"]
    assert column(table, VALUE) == ["0.91", "0.08", "0.30", "0.09"]


def test_diseases_at_their_threshold_are_bold(table):
    bold = [table.item(row, NAME).font().bold() for row in range(4)]
    assert bold == [True, False, True, False]


def test_top_disease_is_selected(table):
    assert [index.row() for index in table.selectionModel().selectedRows()] == [0]


def test_clicking_a_row_switches_the_disease(table, session, qtbot):
    place = table.visualItemRect(table.item(1, BAR)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert session.disease == "AMD"


def test_arrow_keys_walk_the_diseases_and_stop_before_normal(table, session, qtbot):
    table.setCurrentCell(0, 0)
    for expected in ("AMD", "PVD", "PVD"):
        qtbot.keyClick(table, Qt.Key.Key_Down)
        assert session.disease == expected


def test_session_selects_the_row(table, session):
    session.disease = "PVD"
    assert [index.row() for index in table.selectionModel().selectedRows()] == [2]
    session.disease = None
    assert not table.selectionModel().selectedRows()


def test_tooltip_names_the_disease_its_code_and_threshold(table):
    tip = table.item(2, BAR).toolTip()
    assert "Posterior vitreous detachment" in tip
    assert "H43.8" in tip
    assert "at or above the threshold of 0.30" in tip


def test_tooltip_says_how_the_model_was_validated(table, session):
    assert "no figures were published" in table.item(0, BAR).toolTip()
    figure = ReportedFigure("AMD, fine-tuned", "AUPRC", "0.81", "the paper")
    analysis = make_analysis(session.exam)
    card = dataclasses.replace(analysis.card, reported=(figure,))
    session.finish(session.exam, dataclasses.replace(analysis, card=card))
    assert "AUPRC 0.81 (the paper)" in table.item(1, NAME).toolTip()
    assert "not verified here" in table.item(1, NAME).toolTip()
    assert "none of DME" in table.item(0, NAME).toolTip()


def test_table_is_hidden_without_an_analysis(table, session):
    session.show_exam(make_exam())
    assert table.rowCount() == 0
    assert table.isHidden()


def pixel(table, row, fraction):
    """Colour of a bar at a probability."""
    cell = table.visualItemRect(table.item(row, BAR))
    x = cell.left() + 4 + fraction * (cell.width() - 8)
    return QColor(table.viewport().grab().toImage().pixel(round(x), cell.center().y()))


def test_bar_reaches_to_its_value_in_the_colour_of_its_verdict(table):
    table.clearSelection()
    assert pixel(table, 0, 0.85) in PRESENT
    assert pixel(table, 0, 0.96) not in PRESENT
    assert pixel(table, 1, 0.04) in ABSENT
    assert pixel(table, 1, 0.2) not in ABSENT


def test_threshold_mark_is_drawn(table):
    table.clearSelection()
    # a pixel more or less: Qt's bindings do not agree on the width of a column
    beside = pixel(table, 1, 0.4)
    assert any(pixel(table, 1, 0.5 + nudge) != beside for nudge in (-0.02, 0, 0.02))


@pytest.fixture
def show(table, session):
    """A function that shows an analysis with other results."""

    def show_analysis(**changes):
        analysis = dataclasses.replace(make_analysis(session.exam), **changes)
        session.finish(session.exam, analysis)

    return show_analysis


def header(table):
    return [table.horizontalHeaderItem(number).text() for number in range(3)]


def test_measurements_are_values_with_units_and_have_no_bar(table, session, show):
    show(scores=(), normal_probability=None, measurements=MEASUREMENTS)
    assert column(table, NAME) == ["Similarity of OCT and IR", "Growth of the atrophy"]
    assert table.horizontalHeader().length() <= table.viewport().width()
    assert column(table, VALUE) == ["0.312", "1.5 mm²/year"]
    assert [table.item(row, BAR).data(SCORE_ROLE) for row in range(2)] == [None, None]
    assert "GA growth" in table.item(1, NAME).toolTip()
    assert header(table) == ["Measurement", "", "Value"]
    assert [index.row() for index in table.selectionModel().selectedRows()] == [0]


def test_selecting_a_measurement_switches_the_target(table, session, show, qtbot):
    show(scores=(), normal_probability=None, measurements=MEASUREMENTS)
    place = table.visualItemRect(table.item(1, BAR)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert session.disease == "GA growth"


def test_measurements_come_after_the_diseases(table, session, show):
    show(measurements=MEASUREMENTS[:1])
    names = ["DME", "AMD", "PVD", "Similarity of OCT and IR", "Normal"]
    assert column(table, NAME) == names
    assert header(table)[0] == "Disease"
    assert table.item(0, BAR).data(SCORE_ROLE) == (0.91, 0.5)


def test_normal_has_a_row_only_with_a_probability(table, show):
    show(normal_probability=None)
    assert "Normal" not in column(table, NAME)


def test_a_table_of_nothing_is_hidden_until_there_are_scores_again(table, session, show):
    show(scores=(), normal_probability=None)
    assert table.isHidden()
    show()
    assert not table.isHidden()
    assert column(table, NAME) == ["DME", "AMD", "PVD", "Normal"]
