import io

import numpy as np
import pytest
from PIL import Image
from qtpy.QtCore import Qt
from superqt.utils import qimage_to_array

from napari_octcube._similar_state import Found, SimilarState
from napari_octcube._widgets.neighbour_gallery import NeighbourGallery
from octcube_core.retrieval.records import Identity, Neighbour

pytestmark = pytest.mark.xvfb


def neighbour(item, similarity, patient=None, visit_day=None, labels=()):
    who = Identity(str(item), patient, "OD", visit_day)
    return Neighbour(similarity, item, item, "OCT", who, None, labels, {"AMD": 0.75}, None)


def jpeg(level):
    file = io.BytesIO()
    Image.new("L", (64, 48), level).save(file, "JPEG")
    return file.getvalue()


NEIGHBOURS = (neighbour(1, 0.98, "p", 130, ("DME",)), neighbour(2, 0.91, "q"))
FOUND = Found(
    "OCT", "OCT", Identity("0", "p", "OD", 100), NEIGHBOURS, {1: jpeg(120), 2: b"damaged"}, ()
)


@pytest.fixture
def gallery(qtbot):
    state = SimilarState()
    gallery = NeighbourGallery(state)
    gallery.state = state
    qtbot.addWidget(gallery)
    gallery.resize(320, 200)
    gallery.show()
    qtbot.waitExposed(gallery)
    state.found = FOUND
    return gallery


def texts(gallery, role=Qt.ItemDataRole.DisplayRole):
    model = gallery.model()
    return [model.data(model.index(row, 0), role) for row in range(model.rowCount())]


def centre(gallery, row):
    return gallery.visualRect(gallery.model().index(row, 0)).center()


def test_each_neighbour_says_how_alike_it_is_and_what_is_known(gallery):
    assert texts(gallery) == ["0.98 · OD\nDME\nsame patient, +30 days", "0.91 · OD\nAMD 0.75"]
    (tip, _) = texts(gallery, Qt.ItemDataRole.ToolTipRole)
    assert "Labels: DME" in tip
    assert "File: unknown" in tip


def test_the_picture_is_drawn_and_a_damaged_one_is_none(gallery):
    pixels = qimage_to_array(gallery.viewport().grab().toImage())[..., :3].astype(int)
    _, columns = np.nonzero(np.abs(pixels - 120).max(axis=-1) < 5)
    second = gallery.visualRect(gallery.model().index(1, 0)).left()
    assert (columns < second).sum() == pytest.approx(128 * 96, rel=0.02)
    assert (columns >= second).sum() < 100  # of the letters


def test_a_click_selects_and_return_opens(gallery, qtbot):
    qtbot.mouseClick(gallery.viewport(), Qt.MouseButton.LeftButton, pos=centre(gallery, 1))
    assert gallery.state.selected is NEIGHBOURS[1]
    with qtbot.waitSignal(gallery.opened) as opened:
        qtbot.keyClick(gallery, Qt.Key.Key_Return)
    assert opened.args == [NEIGHBOURS[1]]


def test_the_next_search_takes_the_answer_away(gallery):
    gallery.state.found = None
    assert texts(gallery) == []
