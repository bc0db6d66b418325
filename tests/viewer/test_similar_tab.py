"""The tab with a real canvas, the fake model process and a real archive."""

from pathlib import Path

import numpy as np
import pytest
from archives import choose, eye, find_similar, make_archive
from fakes import make_embedding
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QFileDialog
from superqt.utils import qimage_to_array

from napari_octcube._widgets.archive_bar import NOTHING_OPEN
from napari_octcube._widgets.neighbour_gallery import known_of
from octcube_core.readers import read_exam
from octcube_core.retrieval import EmbeddingIndex

SELECTED = Qt.ItemDataRole.DisplayRole


def grabbed(widget):
    return qimage_to_array(widget.grab().toImage())[..., :3]


@pytest.mark.xvfb
def test_shows_the_neighbours_with_what_is_known_of_them(archive_tab, qtbot):
    _, dock, _ = archive_tab
    tab_ = find_similar(qtbot, dock)
    model = tab_.gallery.model()
    texts = [model.data(model.index(row, 0), SELECTED).splitlines() for row in range(4)]
    assert [lines[0].split(" · ")[1] for lines in texts] == ["OD", "OS", "OS", "OD"]
    assert texts[0][1] == "DME"
    assert texts[1][1] == "AMD, DME"
    similarities = [float(lines[0].split(" · ")[0]) for lines in texts]
    assert similarities == sorted(similarities, reverse=True)
    assert tab_.votes.text() == "Labels among 3 labelled neighbours: AMD 2 · DME 2"
    # The thumbnails themselves: rows of grey as bright as the eyes are.
    picture = model.data(model.index(0, 0), Qt.ItemDataRole.DecorationRole).toImage()
    assert picture.pixelColor(60, 40).red() == pytest.approx(101, abs=8)
    shown = grabbed(tab_.gallery.viewport())
    assert (np.abs(shown.astype(int) - 101).max(axis=2) < 10).sum() > 128 * 96 * 0.5


@pytest.mark.xvfb
def test_a_key_searches_from_any_tab_and_shows_the_answer(archive_tab, qtbot):
    _, dock, state = archive_tab
    dock.scene.add_exam(eye(95))
    dock.setCurrentWidget(dock.localizer_tab)
    dock.window().activateWindow()
    qtbot.waitUntil(lambda: QApplication.activeWindow() is not None)
    qtbot.keyClick(dock, Qt.Key.Key_F6)
    assert dock.currentWidget() is dock.similar_tab
    qtbot.waitUntil(lambda: state.found is not None, timeout=20_000)


@pytest.mark.xvfb
def test_filters_narrow_what_is_shown(archive_tab, qtbot):
    _, dock, state = archive_tab
    tab_ = find_similar(qtbot, dock)
    box = tab_.question.label_box
    box.setCurrentIndex(box.findData("AMD"))
    box.activated.emit(box.currentIndex())
    qtbot.waitUntil(lambda: len(state.found.neighbours) == 2)
    assert tab_.gallery.model().rowCount() == 2
    box = tab_.question.eye_box
    box.setCurrentIndex(box.findData("OS"))
    box.activated.emit(box.currentIndex())
    qtbot.waitUntil(lambda: len(state.found.neighbours) == 1)
    device = tab_.question.device_box
    assert device.itemText(0) == "all"
    assert device.count() == 2


@pytest.mark.xvfb
def test_the_query_may_be_the_fundus_image(archive_tab, qtbot):
    _, dock, state = archive_tab
    tab_ = find_similar(qtbot, dock)
    box = tab_.question.by_box
    assert [box.itemText(n) for n in range(box.count())] == ["volume", "its IR"]
    box.setCurrentIndex(box.findData("IR"))
    box.activated.emit(box.currentIndex())
    qtbot.waitUntil(lambda: state.found.by == "IR")
    assert state.found.to == "OCT"


@pytest.mark.xvfb
def test_why_shows_both_eyes(archive_tab, qtbot):
    _, dock, _ = archive_tab
    tab_ = find_similar(qtbot, dock)
    choose(tab_.gallery, 0)
    tab_.why_button.click()
    qtbot.waitUntil(lambda: tab_.why_dialog is not None, timeout=20_000)
    shown = grabbed(tab_.why_dialog)
    middle = shown.shape[1] // 2
    for half in (shown[:, :middle], shown[:, middle:]):
        colourful = np.ptp(half.astype(int), axis=2) > 60
        assert colourful.sum() > 200  # the overlay
    tab_.why_dialog.close()


@pytest.mark.xvfb
def test_the_map_marks_the_eye_in_view(archive_tab, qtbot):
    _, dock, state = archive_tab
    tab_ = find_similar(qtbot, dock)
    tab_.pages.setCurrentIndex(1)
    tab_.map_buttons["pca"].click()
    qtbot.waitUntil(lambda: state.map is not None, timeout=60_000)
    qtbot.waitUntil(lambda: state.map.here is not None)
    view = tab_.map_view
    pixels = grabbed(view).astype(int)
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90)
    rows, columns = np.nonzero(red)
    (x, y) = view._placed(state.map.here[None])[0]
    assert (columns.mean(), rows.mean()) == pytest.approx((x, y), abs=2)
    assert set(view.legend) == {"AMD", "DME"}
    exam = state.map.archive_map.exams[0]
    px, py = view._places[0]
    assert view.text_at(px + 2, py) == (
        ", ".join(state.map.labels.get(int(exam), ())) or "no label"
    )
    assert view.text_at(-100, -100) == ""


@pytest.mark.xvfb
def test_without_an_archive_only_opening_is_offered(open_dock, qtbot):
    _, dock = open_dock(show=True)
    dock.setCurrentWidget(dock.similar_tab)
    bar, question = dock.similar_tab.archive_bar, dock.similar_tab.question
    assert bar.name_label.text() == NOTHING_OPEN
    assert bar.open_button.isEnabled()
    for button in (bar.add_button, bar.index_button, question.find_button):
        assert not button.isEnabled()


@pytest.mark.xvfb
def test_makes_an_archive_and_adds_the_exam_in_view(open_dock, qtbot, tmp_path, monkeypatch):
    _, dock = open_dock(show=True)
    dock.setCurrentWidget(dock.similar_tab)
    state, bar = dock.similar.state, dock.similar_tab.archive_bar
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "ours"), ""))
    bar.new_button.click()
    qtbot.waitUntil(lambda: state.archive is not None, timeout=20_000)
    assert (tmp_path / "ours.octindex").is_file()
    assert bar.model_box.isVisible()
    dock.session.model = "/models/ours.safetensors"
    assert bar.model_box.findText("ours.safetensors") >= 0
    bar.model_box.activated.emit(bar.model_box.findText("demo"))
    dock.scene.add_exam(eye(95))
    bar.add_button.click()
    qtbot.waitUntil(lambda: state.archive.counts["exams"] == 1, timeout=20_000)
    assert not bar.model_box.isVisible()
    assert state.archive.model.source == "demo"
    assert dock.similar_tab.news.text() == "This exam is in the archive now."


@pytest.mark.xvfb
def test_opens_the_archive_of_last_time_when_the_tab_is_looked_at(open_dock, qtbot, tmp_path):
    address = make_archive(tmp_path)
    _, dock = open_dock(show=True)
    dock.similar.open_archive(address)
    qtbot.waitUntil(lambda: dock.similar.state.archive is not None, timeout=20_000)
    _, later = open_dock(show=True)
    qtbot.wait(100)
    assert later.similar.state.archive is None  # nobody looked
    later.setCurrentWidget(later.similar_tab)
    qtbot.waitUntil(lambda: later.similar.state.archive is not None, timeout=20_000)
    assert later.similar.state.archive.counts["exams"] == 4


@pytest.mark.xvfb
def test_a_damaged_archive_is_one_sentence_in_the_tab(open_dock, qtbot, tmp_path):
    address = make_archive(tmp_path)
    with Path(address).open("r+b") as file:
        file.truncate(9000)
    _, dock = open_dock(show=True)
    dock.setCurrentWidget(dock.similar_tab)
    dock.similar.open_archive(address)
    qtbot.waitUntil(lambda: bool(dock.similar.state.error), timeout=20_000)
    assert "is damaged" in dock.similar_tab.news.text()
    assert dock.similar.state.archive is None


@pytest.mark.xvfb
def test_an_archive_without_its_salt_can_be_searched_only(
    archive_tab, qtbot, tmp_path, monkeypatch
):
    _, dock, state = archive_tab
    address = state.archive.address
    monkeypatch.setenv("OCTCUBE_CONFIG", str(tmp_path / "another computer"))
    state.archive = None
    dock.similar.open_archive(address)
    qtbot.waitUntil(lambda: state.archive is not None, timeout=20_000)
    tab_ = find_similar(qtbot, dock, read_exam(tmp_path / "exams" / "100"))
    assert len(state.found.neighbours) == 4  # whose exams they are is not known
    assert not tab_.archive_bar.add_button.isEnabled()
    assert not tab_.archive_bar.index_button.isEnabled()
    assert "without its salt" in tab_.archive_bar.name_label.text()
    choose(tab_.gallery, 0)
    tab_.open_button.click()
    qtbot.waitUntil(lambda: bool(state.error), timeout=20_000)
    assert "has not the salt" in state.error


@pytest.mark.xvfb
def test_closing_the_dock_ends_the_thread_of_the_archive(archive_tab, qtbot):
    viewer, dock, _ = archive_tab
    thread = dock.similar.archive._thread
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: not thread.is_alive(), timeout=10_000)


def test_what_is_shown_of_scores_when_there_are_no_labels(tmp_path):
    address = make_archive(tmp_path, (20,))
    with EmbeddingIndex(address) as index:
        exam = read_exam(tmp_path / "exams" / "20")
        index.add(
            exam, make_embedding(exam), scores={"AMD": 0.2, "DME": 0.91, "DR": 0.5, "PVD": 0.1}
        )
        index.label(1, ())
        (only,) = index.search(make_embedding(eye(30)), exam=eye(30))
    assert known_of(only) == "DME 0.91, DR 0.50, AMD 0.20"
