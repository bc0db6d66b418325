from dataclasses import replace

import pytest
from fakes import make_exam

from napari_octcube._archive import ArchiveFacts
from napari_octcube._similar_state import SimilarState
from napari_octcube._widgets.similar_question import SimilarQuestion

FACTS = ArchiveFacts(
    address="eyes",
    name="eyes",
    model=None,
    counts={"exams": 3, "OCT": 3, "IR": 2, "FAF": 1},
    devices=("Cirrus", "Spectralis"),
    labels=("AMD", "DME"),
    read_only=False,
    has_salt=True,
)


@pytest.fixture
def question(session, qtbot):
    state, asked = SimilarState(), []
    question = SimilarQuestion(
        session, state, lambda **what: asked.append(what), lambda: asked.append("find")
    )
    question.state, question.asked = state, asked
    qtbot.addWidget(question)
    return question


def words(box):
    return [box.itemText(number) for number in range(box.count())]


def test_it_can_be_asked_once_there_are_an_archive_and_an_eye(question, session):
    assert not question.find_button.isEnabled()
    session.show_exam(make_exam())
    assert not question.find_button.isEnabled()
    question.state.archive = FACTS
    question.find_button.click()
    assert question.asked == ["find"]
    question.state.busy = "Searching"
    assert not question.find_button.isEnabled()
    question.state.busy = ""
    question.state.archive = replace(FACTS, counts={"exams": 0})
    assert not question.find_button.isEnabled()


def test_it_offers_what_the_eye_and_the_archive_have(question, session):
    question.state.archive = FACTS
    session.show_exam(make_exam())  # with an IR image
    assert words(question.by_box) == ["volume", "its IR"]
    assert words(question.to_box) == ["OCT", "IR", "FAF"]
    assert words(question.device_box) == ["all", "Cirrus", "Spectralis"]
    assert words(question.label_box) == ["all", "AMD", "DME"]


def test_a_choice_is_handed_on_and_shown_when_it_is_taken(question, session):
    question.state.archive = FACTS
    question.label_box.activated.emit(2)
    question.eye_box.activated.emit(question.eye_box.findData("OS"))
    question.count_box.setValue(5)
    assert question.asked == [{"label": "DME"}, {"laterality": "OS"}, {"count": 5}]
    question.state.filters = replace(question.state.filters, label="DME")
    assert question.label_box.currentText() == "DME"
