import threading
from pathlib import Path

import numpy as np
import pytest
from fakes import make_entry, make_exam
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_octcube import _exam_listing
from napari_octcube._opening import ExamOpener
from napari_octcube._session import Session
from napari_octcube._widgets.exam_chooser import SETTLE_MS, ExamChooser
from napari_octcube._widgets.qt_dispatch import QtDispatcher
from octcube_core.errors import ExamReadError
from octcube_core.readers import find_exams

pytestmark = pytest.mark.xvfb
ROOT = Path("/exams")
MANY = 12_000


class Opened:
    """A folder being opened, with the chooser that asks about it; no viewer."""

    def __init__(self, entries, monkeypatch, qtbot):
        monkeypatch.setattr(_exam_listing.octcube_core, "find_exams", lambda path: iter(entries))
        self.window = QWidget()
        qtbot.addWidget(self.window)
        self.window.show()
        self.session = Session()
        self.chooser = None
        self.opener = ExamOpener(
            self.session, QtDispatcher(self.window), self.session.show_exam, self._choose
        )
        self.opener.open_paths([ROOT])
        qtbot.waitUntil(lambda: self.chooser is not None, timeout=20_000)

    def _choose(self, listing):
        self.chooser = ExamChooser(
            listing, self.opener.open_listed, self.opener.cancel, self.window
        )
        listing.over.connect(self._forget)
        self.chooser.show()

    def _forget(self):
        self.chooser = None


@pytest.fixture
def opened(monkeypatch, qtbot):
    return lambda entries: Opened(entries, monkeypatch, qtbot)


def bad():
    raise ExamReadError("bad.vol is truncated; copy it again.")


def two_exams():
    return [
        make_entry(ROOT / "bad.vol", bad),
        make_entry(ROOT / "visit 2/good.vol", make_exam, laterality="OS"),
    ]


def double_click(chooser, qtbot, row):
    place = chooser.rows.visualRect(chooser.table.index(row, 0)).center()
    area = chooser.rows.viewport()
    qtbot.mouseClick(area, Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseDClick(area, Qt.MouseButton.LeftButton, pos=place)


def test_a_double_click_opens_the_exam_and_closes_the_list(opened, qtbot):
    folder = opened(two_exams())
    chooser = folder.chooser
    assert chooser.isVisible()
    qtbot.waitUntil(lambda: "2 exams" in chooser.status.text())
    assert "still looking" not in chooser.status.text()
    double_click(chooser, qtbot, 1)
    qtbot.waitUntil(lambda: folder.session.exam is not None)
    assert folder.chooser is None


def test_an_exam_that_fails_says_why_and_the_list_stays(opened, qtbot):
    folder = opened(two_exams())
    chooser = folder.chooser
    qtbot.waitUntil(lambda: chooser.table.total == 2)
    qtbot.mouseClick(chooser.open_button, Qt.MouseButton.LeftButton)  # the first is selected
    qtbot.waitUntil(lambda: "truncated" in chooser.status.text())
    assert chooser.table.index(0, 0).data() == "⚠ bad.vol"
    assert folder.session.exam is None
    assert folder.chooser is chooser
    double_click(chooser, qtbot, 1)
    qtbot.waitUntil(lambda: folder.session.exam is not None)


def test_filter_then_enter_opens(opened, qtbot):
    folder = opened(two_exams())
    chooser = folder.chooser
    qtbot.waitUntil(lambda: chooser.table.total == 2)
    qtbot.keyClicks(chooser.filter_box, "os good")
    assert chooser.table.rowCount() == 1
    assert chooser.status.text() == "1 of 2 exams"
    qtbot.keyClick(chooser.filter_box, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: folder.session.exam is not None)


@pytest.mark.parametrize("by_key", [True, False])
def test_cancel_opens_nothing(opened, qtbot, by_key):
    folder = opened(two_exams())
    chooser = folder.chooser
    if by_key:
        qtbot.keyClick(chooser, Qt.Key.Key_Escape)
    else:
        qtbot.mouseClick(chooser.cancel_button, Qt.MouseButton.LeftButton)
    assert folder.chooser is None
    assert (folder.session.exam, folder.session.opening) == (None, "")


def test_a_new_request_replaces_the_list(opened, qtbot):
    folder = opened(two_exams())
    chooser = folder.chooser
    exam = make_exam()
    folder.opener.open_exam(lambda: exam, "another")
    assert folder.chooser is None
    assert not chooser.isVisible()
    qtbot.waitUntil(lambda: folder.session.exam is exam)


def test_a_large_folder_never_stops_the_viewer(opened, qtbot, longest_stall):
    gate = threading.Event()

    def entries():
        for number in range(MANY):
            yield make_entry(ROOT / f"patient {number % 977}/{number}.dcm", laterality="OD")
            if number == 100:
                gate.wait(30)

    folder = opened(entries())
    chooser = folder.chooser
    qtbot.waitUntil(lambda: chooser.table.total >= 100)
    assert "still looking" in chooser.status.text()
    longest_stall()
    gate.set()
    qtbot.waitUntil(lambda: chooser.table.total > 2000, timeout=30_000)
    chooser.filter_box.setText("patient 976/")  # while it grows
    qtbot.waitUntil(lambda: not chooser.status.text().endswith("looking …"), timeout=60_000)
    assert chooser.table.total == MANY
    assert chooser.table.rowCount() == len(range(976, MANY, 977))
    _, busy = longest_stall()
    assert busy < 0.05


def test_a_slow_file_never_stops_the_viewer(open_dock, monkeypatch, qtbot, longest_stall):
    gate, exam = threading.Event(), make_exam()
    shown_after = []

    def slow():
        gate.wait(20)
        return exam

    monkeypatch.setattr(
        _exam_listing.octcube_core, "find_exams", lambda path: iter([make_entry(path, slow)])
    )
    _, dock = open_dock(show=True)
    monkeypatch.setattr(dock.opener, "_show", shown_after.append)
    qtbot.wait(100)
    longest_stall()
    dock.open_path("slow.vol")
    qtbot.wait(1500)
    assert "Opening slow.vol" in dock.analysis_tab.exam_facts.note.text()
    gate.set()
    qtbot.waitUntil(lambda: shown_after == [exam])
    stood_still, _ = longest_stall()
    assert stood_still < 1.0


def test_the_dock_asks_and_shows_what_is_chosen(open_dock, monkeypatch, qtbot):
    entries = two_exams()
    monkeypatch.setattr(_exam_listing.octcube_core, "find_exams", lambda path: iter(entries))
    viewer, dock = open_dock(show=True)
    dock.open_path(ROOT)
    qtbot.waitUntil(lambda: dock.chooser is not None and dock.chooser.table.total == 2)
    assert dock.chooser.isVisible()
    double_click(dock.chooser, qtbot, 1)
    qtbot.waitUntil(lambda: len(viewer.layers) == 1)
    assert dock.chooser is None


def grey(chooser, row):
    """Brightness in the middle of a row's picture on the screen."""
    place = chooser.rows.visualRect(chooser.table.index(row, 0))
    pixels = chooser.rows.viewport().grab(place).toImage()
    return pixels.pixelColor(20, place.height() // 2).value()


@pytest.fixture
def many_eyes(tmp_path):
    """Entries of 60 files, the first of them damaged since it was listed."""
    folder = tmp_path / "eyes"
    folder.mkdir()
    for number in range(60):
        np.save(folder / f"{number:02}.npy", np.full((3, 32, 48), 200, np.uint8))
    entries = list(find_exams(folder))
    (folder / "00.npy").write_bytes(b"no array")
    return entries


def test_rows_in_view_get_pictures_and_no_others(opened, qtbot, many_eyes):
    chooser = opened(many_eyes).chooser
    thumbnails = chooser.thumbnails
    qtbot.waitUntil(lambda: chooser.table.total == 60)
    qtbot.waitUntil(lambda: grey(chooser, 1) == 200, timeout=20_000)
    chooser.rows.clearSelection()  # whose colour is as bright
    assert grey(chooser, 0) != 200  # the damaged one has none, and no word
    assert chooser.table.index(0, 0).data().endswith("00.npy")
    qtbot.wait(800)
    made = [row for row in range(60) if thumbnails.picture(chooser.table.exam(row)) is not None]
    assert 5 < len(made) < 20
    assert max(made) < 20
    chooser.rows.scrollTo(chooser.table.index(50, 0))
    qtbot.waitUntil(lambda: grey(chooser, 50) == 200, timeout=20_000)
    assert thumbnails.picture(chooser.table.exam(30)) is None
    assert chooser._settle.interval() == SETTLE_MS
    chooser.reject()


def test_a_selected_row_s_picture_keeps_its_greys(opened, qtbot, many_eyes):
    chooser = opened(many_eyes[1:3]).chooser
    qtbot.waitUntil(lambda: chooser.table.total == 2)
    assert chooser.rows.currentIndex().row() == 0
    qtbot.waitUntil(lambda: grey(chooser, 0) == grey(chooser, 1) == 200, timeout=20_000)
    chooser.reject()


def test_a_closed_list_reads_no_more(opened, qtbot, many_eyes):
    chooser = opened(many_eyes).chooser
    thumbnails = chooser.thumbnails
    qtbot.waitUntil(lambda: thumbnails._command is not None, timeout=20_000)
    command = thumbnails._command
    qtbot.waitUntil(lambda: command._process is not None)
    chooser.reject()
    assert thumbnails._command is None
    command._process.wait(10)


def test_what_is_chosen_does_not_wait_for_pictures(opened, qtbot, many_eyes):
    folder = opened(many_eyes)
    thumbnails = folder.chooser.thumbnails
    qtbot.waitUntil(lambda: thumbnails._command is not None, timeout=20_000)
    double_click(folder.chooser, qtbot, 1)
    assert thumbnails._command is None
    qtbot.waitUntil(lambda: folder.session.exam is not None)


def test_a_list_that_grows_has_pictures_already(opened, qtbot, many_eyes):
    gate = threading.Event()

    def growing():
        yield from many_eyes[1:20]
        for entry in many_eyes[20:] * 20:
            yield entry
            if gate.wait(0.02):
                return

    chooser = opened(growing()).chooser
    try:
        qtbot.waitUntil(lambda: grey(chooser, 1) == 200, timeout=12_000)
        assert "still looking" in chooser.status.text()
    finally:
        gate.set()
    chooser.reject()
