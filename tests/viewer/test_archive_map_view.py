import numpy as np
import pytest
from superqt.utils import qimage_to_array

from napari_octcube._similar_state import ShownMap, SimilarState
from napari_octcube._widgets.archive_map_view import COLOURS, ArchiveMapView
from octcube_core.retrieval.archive_map import ArchiveMap

pytestmark = pytest.mark.xvfb
POINTS = np.array([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)


def shown_map(here=None):
    """AMD below, DME above left, and one without a label."""
    exams = np.array([10, 11, 12, 13])
    labels = {10: ("AMD",), 11: ("AMD", "DR"), 12: ("DME",)}
    classes = np.array([0, 0, 1, -1])
    archive_map = ArchiveMap(exams, POINTS)
    return ShownMap(archive_map, "OCT", "PCA", labels, ("AMD", "DME"), classes, here)


@pytest.fixture
def view(qtbot):
    state = SimilarState()
    view = ArchiveMapView(state)
    view.state = state
    qtbot.addWidget(view)
    view.resize(300, 300)
    view.show()
    qtbot.waitExposed(view)
    return view


def drawn(view):
    return qimage_to_array(view.grab().toImage())[..., :3].astype(int)


def places_of(view, colour):
    rows, columns = np.nonzero(np.abs(drawn(view) - colour).max(axis=-1) < 3)
    return sorted({(row > 150, column > 150) for row, column in zip(rows, columns, strict=True)})


def test_each_eye_has_the_colour_of_its_first_label(view):
    view.state.map = shown_map()
    assert places_of(view, COLOURS[0]) == [(True, False), (True, True)]  # below
    assert places_of(view, COLOURS[1]) == [(False, False)]
    assert view.legend == {"AMD": COLOURS[0], "DME": COLOURS[1]}


def test_the_labels_of_the_eye_under_the_mouse_are_told(view):
    view.state.map = shown_map()
    low, high = 14, 286  # within the margin
    assert view.text_at(low + 3, high) == "AMD"
    assert view.text_at(high, high) == "AMD, DR"
    assert view.text_at(high, low) == "no label"
    assert view.text_at(150, 150) == ""


def test_the_points_grow_with_the_widget_and_leave_with_the_map(view, qtbot):
    view.state.map = shown_map()
    view.resize(500, 500)
    qtbot.waitUntil(lambda: view.text_at(486, 486) == "AMD, DR")
    view.state.map = None
    assert view.text_at(486, 486) == ""
    assert places_of(view, COLOURS[0]) == []


def test_the_eye_in_view_is_marked_where_it_lies(view):
    view.state.map = shown_map(here=np.array([0.5, 0.5], np.float32))
    rows, columns = np.nonzero((drawn(view) - (255, 59, 48) == 0).all(axis=-1))
    assert rows.mean() == pytest.approx(150, abs=2)
    assert columns.mean() == pytest.approx(150, abs=2)
