import threading
from pathlib import Path

import pytest
from fakes import make_entry, make_exam
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_octcube import _exam_listing
from napari_octcube._opening import ExamOpener
from napari_octcube._session import Session
from napari_octcube._widgets.exam_chooser import ExamChooser
from napari_octcube._widgets.qt_dispatch import QtDispatcher
from octcube_core.errors import ExamReadError

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


def test_rows_in_view_get_pictures_and_others_are_not_read(opened, qtbot):
    read = []

    def produce(number):
        read.append(number)
        return make_exam()

    folder = opened(
        [make_entry(ROOT / "bad.vol", bad)]
        + [make_entry(ROOT / f"{n}.vol", lambda n=n: produce(n)) for n in range(200)]
    )
    chooser = folder.chooser
    qtbot.waitUntil(lambda: chooser.table.total == 201)
    chooser.rows.clearSelection()
    before = grey(chooser, 1)
    qtbot.waitUntil(lambda: abs(grey(chooser, 1) - before) > 40, timeout=20_000)
    qtbot.wait(600)
    assert abs(grey(chooser, 0) - before) < 40  # the damaged one has none, and no word
    assert chooser.table.index(0, 0).data() == "bad.vol"
    assert 1 <= len(read) < 20
    assert 150 not in read
    chooser.rows.scrollTo(chooser.table.index(150, 0))
    qtbot.waitUntil(lambda: 149 in read, timeout=20_000)
    assert len(read) < 40
    chooser.reject()


def test_a_closed_list_reads_no_more(opened, qtbot):
    gate, read = threading.Event(), []

    def slow():
        read.append(1)
        gate.wait(20)
        return make_exam()

    folder = opened([make_entry(ROOT / f"{n}.vol", slow) for n in range(8)])
    qtbot.waitUntil(lambda: bool(read), timeout=20_000)
    folder.chooser.reject()
    gate.set()
    qtbot.wait(500)
    assert len(read) == 1


def test_what_is_chosen_does_not_wait_for_pictures(opened, qtbot):
    gate = threading.Event()

    def slow():
        gate.wait(20)
        return make_exam()

    exam = make_exam()
    folder = opened(
        [make_entry(ROOT / "0.vol", lambda: exam)]
        + [make_entry(ROOT / f"{n}.vol", slow) for n in range(1, 8)]
    )
    qtbot.waitUntil(lambda: folder.chooser.table.total == 8)
    qtbot.wait(400)  # pictures are being made
    double_click(folder.chooser, qtbot, 0)
    qtbot.waitUntil(lambda: folder.session.exam is exam)
    gate.set()
