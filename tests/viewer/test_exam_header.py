from dataclasses import replace

import pytest
from fakes import make_exam

from napari_octcube._session import Session
from napari_octcube._widgets.exam_header import ExamHeader


@pytest.mark.parametrize(
    ("side", "colour"), [("OD", (168, 64, 10)), ("OS", (0, 114, 178)), (None, None)]
)
def test_the_side_is_in_its_colour(qtbot, side, colour):
    session = Session()
    header = ExamHeader(session)
    qtbot.addWidget(header)
    header.resize(340, 30)
    session.show_exam(make_exam())
    session.show_exam(replace(make_exam(), laterality=side))
    header.show()
    label = header.eye_label
    image = label.grab().toImage()
    found = image.pixelColor(2, image.height() // 2)
    if colour is None:
        assert "unknown" in label.text()
        assert not label.styleSheet()
    else:
        assert side in label.text()
        assert (found.red(), found.green(), found.blue()) == colour
        assert label.width() < header.width() // 2


def test_the_bscan_in_view_has_its_number_and_its_place(qtbot):
    session = Session()
    header = ExamHeader(session)
    qtbot.addWidget(header)
    assert header.isHidden()
    session.show_exam(make_exam())
    session.go_to_bscan(10)
    assert header.bscan_label.text() == "B-scan 11 of 20, at 1.20 mm"
    session.show_exam(make_exam(spacing_mm=(None, 0.004, 0.012)))
    assert header.bscan_label.text() == "B-scan 1 of 20"
    session.show_exam(None)
    assert header.isHidden()
