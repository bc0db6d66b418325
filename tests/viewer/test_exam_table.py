import pytest
from fakes import make_entry
from qtpy.QtCore import QPersistentModelIndex, Qt

from napari_octcube._exam_listing import ExamListing, ListedExam
from napari_octcube._widgets.exam_table import ExamTable

FACTS = (
    ("visit 10", "OD", "Spectralis"),
    ("visit 9", "OS", "Cirrus"),
    ("Visit 1", "OD", "Cirrus"),
)


def make_listed():
    return [
        ListedExam(make_entry(name, laterality=eye, device=device), name)
        for name, eye, device in FACTS
    ]


@pytest.fixture
def table(qapp, owner):
    table = ExamTable(ExamListing((), owner))
    table.add(make_listed())
    return table


def names(table):
    return [table.index(row, 0).data() for row in range(table.rowCount())]


def test_rows_are_in_the_order_of_discovery(table):
    assert names(table) == ["visit 10", "visit 9", "Visit 1"]


def test_sorting_knows_numbers_and_ignores_case(table):
    table.sort(0)
    assert names(table) == ["Visit 1", "visit 9", "visit 10"]
    table.sort(0, Qt.SortOrder.DescendingOrder)
    assert names(table) == ["visit 10", "visit 9", "Visit 1"]


def test_new_exams_join_the_order(table):
    table.sort(0)
    table.add([ListedExam(make_entry("visit 2"), "visit 2")])
    assert names(table) == ["Visit 1", "visit 2", "visit 9", "visit 10"]


def test_a_selection_stays_at_its_exam(table):
    selected = QPersistentModelIndex(table.index(0, 0))
    table.sort(0)
    assert selected.row() == 2


def test_every_word_of_the_filter_must_occur(table):
    table.set_filter("od cirrus")
    assert names(table) == ["Visit 1"]
    table.add([ListedExam(make_entry("new", laterality="OD"), "new")])
    assert names(table) == ["Visit 1"]
    table.set_filter("")
    assert (table.rowCount(), table.total) == (4, 4)


def test_a_problem_is_shown_in_the_row(table):
    exam = table.exam(1)
    exam.problem = "It is truncated; copy it again."
    changed = []
    table.dataChanged.connect(lambda first, last: changed.append(first.row()))
    table.update_row(exam)
    assert changed == [1]
    assert names(table)[1] == "⚠ visit 9"
    assert table.index(1, 3).data(Qt.ItemDataRole.ToolTipRole) == exam.problem
