import pytest
from fakes import make_exam
from qtpy.QtCore import Qt

from napari_octcube._widgets import model_chooser
from napari_octcube._widgets.model_chooser import BUILT_IN, OPEN_FILE, ModelChooser

pytestmark = pytest.mark.xvfb


@pytest.fixture
def chooser(session, qtbot):
    chooser = ModelChooser(session)
    qtbot.addWidget(chooser)
    chooser.show()
    return chooser


def test_the_models_that_ship_come_first_and_a_file_last(chooser):
    texts = [chooser.itemText(row) for row in range(chooser.count())]
    assert texts[: len(BUILT_IN)] == [text for _, text in BUILT_IN]
    assert texts[-1] == OPEN_FILE


def test_a_key_chooses_the_next_model(chooser, session, qtbot):
    chooser.setFocus()
    qtbot.keyClick(chooser, Qt.Key.Key_Down)
    assert session.model == BUILT_IN[1][0]


def test_it_follows_the_session_and_knows_a_file_by_its_name_and_tip(chooser, session, tmp_path):
    path = str(tmp_path / "mine.safetensors")
    session.model = path
    assert chooser.currentText() == "mine.safetensors"
    assert chooser.currentData(Qt.ItemDataRole.ToolTipRole) == path
    session.model = BUILT_IN[2][0]
    assert chooser.currentText() == BUILT_IN[2][1]
    rows = chooser.count()
    session.model = path  # the same file again is no other row
    assert chooser.count() == rows


def test_during_a_run_the_model_stays(chooser, session):
    exam = make_exam()
    session.show_exam(exam)
    session.begin(exam)
    assert not chooser.isEnabled()
    session.stop()
    assert chooser.isEnabled()


def test_a_dialog_without_an_answer_leaves_the_row(chooser, session, monkeypatch):
    monkeypatch.setattr(model_chooser.QFileDialog, "getOpenFileName", lambda *_: ("", ""))
    last = chooser.count() - 1
    chooser.setCurrentIndex(last)
    chooser.activated.emit(last)
    assert session.model == BUILT_IN[0][0]
    assert chooser.currentData() == BUILT_IN[0][0]
