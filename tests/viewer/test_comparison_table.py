from types import SimpleNamespace

import pytest
from fakes import make_analysis, make_exam

from napari_octcube._comparison import ComparisonState
from napari_octcube._widgets.comparison_table import ComparisonTable


@pytest.fixture
def table(session, qtbot):
    comparison = SimpleNamespace(state=ComparisonState())
    table = ComparisonTable(session, comparison)
    table.state = comparison.state
    qtbot.addWidget(table)
    return table


def cells(table):
    rows, columns = range(table.table.rowCount()), range(4)
    return [[table.table.item(row, column).text() for column in columns] for row in rows]


def test_it_is_there_only_with_an_eye_beside_and_says_what_goes_on(table, session):
    session.show_exam(make_exam())
    assert table.isHidden()
    table.state.exam, table.state.note = make_exam(), "Scoring the eye beside …"
    assert not table.isHidden()
    assert table.note.text() == "Scoring the eye beside …"
    assert table.table.isHidden()
    table.state.exam = None
    assert table.isHidden()


def test_scores_stand_next_to_each_other_bold_from_the_threshold_on(table, session):
    exam, other = make_exam(), make_exam()
    session.show_exam(exam)
    session.finish(exam, make_analysis(exam, (0.91, 0.08, 0.30)))
    table.state.exam = other
    table.state.analysis = make_analysis(other, (0.41, 0.083, 0.29))
    assert cells(table) == [
        ["DME", "0.91", "0.41", "-0.50"],
        ["AMD", "0.08", "0.08", "0.00"],  # neither +0.00 nor -0.00
        ["PVD", "0.30", "0.29", "-0.01"],
    ]
    bold = [[table.table.item(row, n).font().bold() for n in (1, 2)] for row in range(3)]
    assert bold == [[True, False], [False, False], [True, False]]
    assert table.table.horizontalHeaderItem(1).text() == "In view (OD)"
    session.show_exam(None)
    assert table.table.isHidden()
