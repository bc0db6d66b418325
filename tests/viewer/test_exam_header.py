from dataclasses import replace

import pytest
from fakes import make_exam

from napari_octcube._session import Session
from napari_octcube._widgets.exam_facts import ExamFacts


@pytest.mark.parametrize(
    ("side", "colour"), [("OD", (168, 64, 10)), ("OS", (0, 114, 178)), (None, None)]
)
def test_the_side_is_in_its_colour(qtbot, side, colour):
    session = Session()
    facts = ExamFacts(session)
    qtbot.addWidget(facts)
    facts.resize(340, 300)
    session.show_exam(make_exam())
    session.show_exam(replace(make_exam(), laterality=side))
    facts.show()
    label = facts.values["Eye"]
    image = label.grab().toImage()
    found = image.pixelColor(2, image.height() // 2)
    if colour is None:
        assert "unknown" in label.text()
        assert not label.styleSheet()
    else:
        assert side in label.text()
        assert (found.red(), found.green(), found.blue()) == colour
        assert label.width() < facts.width() // 2
