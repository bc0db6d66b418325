from dataclasses import replace

from fakes import make_exam

from napari_octcube._session import Session
from napari_octcube._widgets.exam_facts import NO_EXAM, ExamFacts


def test_facts_and_warnings_of_the_exam_in_view(qtbot):
    session = Session()
    facts = ExamFacts(session)
    qtbot.addWidget(facts)
    assert facts.note.text() == NO_EXAM
    exam = replace(make_exam(), device="<b>New</b> scanner", warnings=("The spacing is rounded.",))
    session.show_exam(exam)
    texts = {name: label.text() for name, label in facts.values.items()}
    assert texts == {
        "Scan": "20 B-scans of 160 \u00d7 96 px, raster",
        "Spacing": "120 \u00d7 4 \u00d7 12 \u00b5m",
        "Images": "OCT, IR 32 \u00d7 32",
        "Device": "<b>New</b> scanner",
    }
    assert "Places of the B-scans: not stated" in facts.values["Images"].toolTip()
    facts.resize(340, 300)
    facts.show()
    assert facts.values["Device"].heightForWidth(300) < 40  # plain text, no markup
    assert facts.note.text() == "\u26a0 The spacing is rounded."
    session.opening = "other.vol"
    assert facts.note.text().startswith("Opening other.vol")
    session.show_exam(None)
    session.opening = ""
    assert facts.note.text() == NO_EXAM
