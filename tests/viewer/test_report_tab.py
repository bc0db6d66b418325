"""The tab with the report, on a real screen: the page, its room, its tick and its buttons."""

import dataclasses
import io

import numpy as np
import pypdf
import pytest
from fakes import make_analysis, make_exam

from napari_octcube._report_files import KINDS
from napari_octcube._reporting import NO_EXAM
from octcube_core.exam import Patient

PATIENT = Patient("Zebedee^Quagga", "PID-993311", "19431127", "20240229")


def patient_exam(**changes):
    return dataclasses.replace(make_exam(), patient=PATIENT, **changes)


def text_of(path):
    (page,) = pypdf.PdfReader(io.BytesIO(path.read_bytes())).pages
    return " ".join(page.extract_text().split())


@pytest.fixture
def report_dock(open_dock, qtbot):
    """(viewer, dock, its tab) with the report in front and an analysed exam of a patient."""
    viewer, dock = open_dock(show=True)
    viewer.window.resize(1366, 768)
    dock.setCurrentWidget(dock.report_tab)
    exam = patient_exam()
    dock.scene.add_exam(exam)
    dock.session.begin(exam)
    dock.session.finish(exam, make_analysis(exam))
    tab = dock.report_tab
    qtbot.waitUntil(lambda: tab.preview.image is not None, timeout=20_000)
    return viewer, dock, tab


def pixels_of(widget):
    from qtpy.QtGui import QImage

    image = widget.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    buffer = image.constBits()
    if hasattr(buffer, "setsize"):  # PyQt
        buffer.setsize(image.sizeInBytes())
    rows = np.frombuffer(buffer, np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].reshape(image.height(), -1, 3).astype(int)


@pytest.mark.xvfb
def test_the_page_is_drawn_white_with_text_and_evidence_on_it(report_dock, qtbot):
    _, _, tab = report_dock
    rect = tab.preview.page_rect().toRect()
    assert rect.width() > 200
    assert abs(rect.width() / rect.height() - 210 / 297) < 0.01
    page = pixels_of(tab.preview)[rect.top() : rect.bottom(), rect.left() : rect.right()]
    assert (page.min(axis=-1) > 240).mean() > 0.4
    title = page[: page.shape[0] // 10, : page.shape[1] // 2]
    assert (title.max(axis=-1) < 120).sum() > 40
    colourful = page.max(axis=-1) - page.min(axis=-1) > 50
    assert colourful[page.shape[0] // 3 :].sum() > 20


@pytest.mark.xvfb
@pytest.mark.parametrize("theme", ["dark", "light"])
def test_everything_has_room_at_1366_x_768(report_dock, qtbot, theme):
    viewer, dock, tab = report_dock
    viewer.theme = theme
    qtbot.wait(50)
    window = viewer.window._qt_window
    assert (window.width(), window.height()) == (1366, 768)
    for button in tab.buttons.values():
        needed = button.fontMetrics().horizontalAdvance(button.text())
        assert button.width() >= needed + 8
        corner = button.mapTo(window, button.rect().bottomRight())
        assert corner.x() < window.width()
        assert corner.y() < window.height()
    bar = dock.tabBar()
    last = bar.tabRect(bar.count() - 1)
    assert last.right() <= bar.width(), "all tabs have room, none is scrolled away"


@pytest.mark.xvfb
def test_the_tick_names_the_patient_and_falls_with_the_next_exam(report_dock, qtbot, tmp_path):
    _, dock, tab = report_dock
    plain = tab.preview.image
    assert not tab.identity.isChecked()
    tab.identity.click()
    assert tab.preview.image is None  # the page without the name is not taken for the one with it
    qtbot.waitUntil(lambda: tab.preview.image is not None, timeout=20_000)
    assert tab.preview.image != plain
    other = make_exam()
    dock.scene.add_exam(other)
    dock.session.finish(other, make_analysis(other))
    assert not tab.identity.isChecked()


@pytest.mark.xvfb
def test_buttons_save_where_the_user_says(report_dock, qtbot, tmp_path):
    _, _, tab = report_dock
    asked = []

    def ask(parent, kind, folder):
        asked.append((kind.name, folder))
        return tmp_path / kind.name

    tab._ask_path = ask
    for kind in ("pdf", "csv"):
        tab.buttons[kind].click()
        name = KINDS[kind].name
        qtbot.waitUntil(lambda name=name: tab.news.text() == f"Saved: {name}.", timeout=20_000)
    assert asked == [("report.pdf", None), ("scores.csv", tmp_path)]
    assert "OCT analysis report" in text_of(tmp_path / "report.pdf")
    tab._ask_path = lambda *_: None  # cancelled
    tab.buttons["html"].click()
    assert not (tmp_path / "report.html").exists()


@pytest.mark.xvfb
def test_what_cannot_be_saved_is_grey_and_says_why(report_dock, qtbot):
    _, dock, tab = report_dock
    assert not tab.buttons["dicom"].isEnabled()
    assert "another format" in tab.buttons["dicom"].toolTip()
    assert all(button.isEnabled() for kind, button in tab.buttons.items() if kind != "dicom")
    dock.session.show_exam(None)
    assert not any(button.isEnabled() for button in tab.buttons.values())
    assert tab.buttons["pdf"].toolTip() == NO_EXAM
    assert not tab.identity.isEnabled()


@pytest.mark.xvfb
def test_a_click_or_a_key_shows_the_page_in_full_size(report_dock, qtbot):
    from qtpy.QtCore import Qt

    _, dock, tab = report_dock
    qtbot.mouseClick(tab.preview, Qt.MouseButton.LeftButton)
    assert tab.window_of_page.width() > 600
    tab.window_of_page.close()
    qtbot.waitUntil(lambda: tab.window_of_page is None)
    tab.preview.setFocus()
    qtbot.keyClick(tab.preview, Qt.Key.Key_Return)
    assert tab.window_of_page is not None
    dock.session.show_exam(None)  # the page would be of an exam that is gone
    qtbot.waitUntil(lambda: tab.window_of_page is None)


@pytest.mark.xvfb
def test_the_viewer_does_not_stand_still_while_a_report_is_made(report_dock, qtbot, longest_stall):
    _, _, tab = report_dock
    qtbot.wait(300)
    longest_stall()
    for _ in range(3):
        tab.identity.click()
        qtbot.waitUntil(lambda: tab.preview.image is not None, timeout=20_000)
    _, computed = longest_stall()
    assert computed < 0.05
