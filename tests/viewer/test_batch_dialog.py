"""The window in which a folder is analysed, with a command that needs no model."""

from pathlib import Path

import numpy as np
import psutil
import pytest
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QMessageBox, QWidget

from napari_octcube._batch import STOPPED, FolderAnalysis
from napari_octcube._batch_rows import BatchRow
from napari_octcube._session import Session
from napari_octcube._widgets import batch_dialog
from napari_octcube._widgets.batch_dialog import THERE, BatchDialog
from napari_octcube._widgets.batch_table import BatchTable
from napari_octcube._widgets.qt_dispatch import QtDispatcher
from octcube_core.phantom import make_exam

pytestmark = pytest.mark.xvfb
FAKE = (str(Path(__file__).parent / "fake_batch.py"),)
SIDES = {"No": QMessageBox.StandardButton.No, "Yes": QMessageBox.StandardButton.Yes}


@pytest.fixture
def window(qtbot):
    window = QWidget()
    qtbot.addWidget(window)
    window.show()
    return window


@pytest.fixture
def opened():
    return []


@pytest.fixture
def dialog(window, opened, qtbot):
    analysis = FolderAnalysis(QtDispatcher(window), FAKE)
    dialog = BatchDialog(
        Session(), analysis, lambda row, folder: opened.append((row.name, folder)), window
    )
    dialog.show()
    yield dialog
    analysis.close()


def begin(dialog, folder, qtbot):
    folder.mkdir(exist_ok=True)
    dialog.show_folder(folder)
    qtbot.mouseClick(dialog.start_button, Qt.MouseButton.LeftButton)


def finished(dialog, folder, qtbot):
    begin(dialog, folder, qtbot)
    qtbot.waitUntil(lambda: not dialog.start_button.isEnabled(), timeout=5000)
    qtbot.waitUntil(lambda: dialog.start_button.isEnabled(), timeout=30_000)


def with_the_fake(monkeypatch):
    """Have the dock run the command that needs no model."""
    monkeypatch.setattr(
        "napari_octcube._widgets.dock.FolderAnalysis",
        lambda dispatch, settings: FolderAnalysis(dispatch, FAKE, settings),
    )


def cells(dialog, title):
    column = dialog.rows.column_of(title)
    return [dialog.rows.index(row, column).data() for row in range(dialog.rows.rowCount())]


def click_header(dialog, title, qtbot):
    header = dialog.view.horizontalHeader()
    position = header.sectionViewportPosition(dialog.rows.column_of(title)) + 8
    area = header.viewport()
    place = area.rect().center()
    place.setX(position)
    qtbot.mouseClick(area, Qt.MouseButton.LeftButton, pos=place)


def test_it_fills_and_says_what_was_done(dialog, tmp_path, qtbot):
    finished(dialog, tmp_path / "12 exams", qtbot)
    assert dialog.table == tmp_path / "12 exams scores.parquet"
    assert dialog.note_label.text().startswith("11 exams analysed, 1 could not be.")
    assert dialog.stage_label.text().startswith("12 exams, 1 without results.")
    assert cells(dialog, "Exam")[8:11] == ["8.npy", "⚠ 9.npy", "10.npy"]
    assert cells(dialog, "DME")[:3] == ["0.000", "0.143", "0.286"]
    assert cells(dialog, "DME")[9] == ""
    assert cells(dialog, "Remarks")[9] == "9.npy is damaged; copy it again."
    assert cells(dialog, "B-scan")[:3] == ["1", "2", "3"]  # counted from 1
    assert cells(dialog, "Eye")[:2] == ["OS", "OD"]
    header = dialog.view.horizontalHeader()
    for column in range(dialog.rows.columnCount()):
        assert header.sectionSize(column) >= header.sectionSizeHint(column)  # no title is cut
    dme = dialog.rows.column_of("DME")
    tip = dialog.rows.headerData(dme, Qt.Orientation.Horizontal, Qt.ItemDataRole.ToolTipRole)
    assert tip == "Probability of Diabetic macular edema; bold from its threshold of 0.50"
    fonts = [dialog.rows.index(n, dme).data(Qt.ItemDataRole.FontRole) for n in (3, 4)]
    assert fonts[0] is None
    assert fonts[1].bold()


def test_sorted_by_a_disease_and_what_failed_comes_last(dialog, tmp_path, qtbot):
    finished(dialog, tmp_path / "30 exams", qtbot)
    for click in range(2):
        click_header(dialog, "DME", qtbot)
        shown = cells(dialog, "DME")
        values = [float(text) for text in shown if text]
        assert len(values) == 27
        assert shown[-3:] == ["", "", ""]
        assert values == sorted(values, reverse=values[0] > values[-1])
        if click == 0:
            first = values
    assert values == first[::-1]
    click_header(dialog, "Exam", qtbot)
    names = [name.removeprefix("⚠ ") for name in cells(dialog, "Exam")]
    assert names in ([f"{n}.npy" for n in range(30)], [f"{n}.npy" for n in range(29, -1, -1)])


def test_a_selected_row_says_all_and_a_double_click_opens(dialog, opened, tmp_path, qtbot):
    folder = tmp_path / "12 exams"
    finished(dialog, folder, qtbot)
    place = dialog.view.visualRect(dialog.rows.index(9, 0)).center()
    area = dialog.view.viewport()
    qtbot.mouseClick(area, Qt.MouseButton.LeftButton, pos=place)
    assert dialog.remarks_label.text() == "9.npy is damaged; copy it again."
    qtbot.mouseDClick(area, Qt.MouseButton.LeftButton, pos=place)
    assert opened == [("9.npy", folder)]


def test_stop_then_resume(dialog, tmp_path, qtbot):
    assert not dialog.stop_button.isEnabled()
    begin(dialog, tmp_path / "8 endless", qtbot)
    qtbot.waitUntil(lambda: dialog.rows.rowCount() == 3, timeout=20_000)
    assert not dialog.start_button.isEnabled()
    assert not dialog.model_chooser.isEnabled()
    assert dialog.stage_label.text() == "3 of 8 exams"
    qtbot.mouseClick(dialog.stop_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.note_label.text() == STOPPED, timeout=20_000)
    assert dialog.rows.rowCount() == 3
    assert dialog.start_button.text() == "Resume"
    qtbot.mouseClick(dialog.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: "3 were there" in dialog.note_label.text(), timeout=20_000)
    assert cells(dialog, "Exam") == [f"{n}.npy" for n in range(8)]  # none twice


def test_a_table_that_is_there_is_not_overwritten_but_gone_on_with(dialog, tmp_path, qtbot):
    folder = tmp_path / "8 exams"
    folder.mkdir()
    (tmp_path / "8 exams scores.parquet").touch()
    dialog.show_folder(folder)
    assert (dialog.start_button.text(), dialog.note_label.text()) == ("Resume", THERE)
    dialog.show_table(tmp_path / "other.csv")
    assert dialog.start_button.text() == "Start"
    assert not dialog.note_label.isVisible()


def test_a_table_of_another_name(dialog, tmp_path, qtbot, monkeypatch):
    begin(dialog, tmp_path / "2 exams", qtbot)
    qtbot.waitUntil(lambda: dialog.start_button.isEnabled(), timeout=20_000)
    for given, table in (("t.csv", "t.csv"), ("t", "t.parquet"), ("", "t.parquet")):
        given = given and str(tmp_path / given)
        monkeypatch.setattr(
            batch_dialog.QFileDialog, "getSaveFileName", lambda *_, given=given, **__: (given, "")
        )
        qtbot.mouseClick(dialog.table_button, Qt.MouseButton.LeftButton)
        assert dialog.table == tmp_path / table
    assert dialog.rows.rowCount() == 0  # another table, other results


def test_a_failure_is_a_sentence(dialog, tmp_path, qtbot):
    finished(dialog, tmp_path / "0 refused", qtbot)
    assert dialog.note_label.text() == "⚠ The folder holds no OCT exam."


@pytest.mark.parametrize("answer", SIDES)
def test_closing_asks_while_it_runs(dialog, tmp_path, qtbot, monkeypatch, answer):
    begin(dialog, tmp_path / "8 endless", qtbot)
    qtbot.waitUntil(lambda: dialog.rows.rowCount() == 3, timeout=20_000)
    command = [child for child in psutil.Process().children() if FAKE[0] in child.cmdline()]
    asked = []
    monkeypatch.setattr(
        QMessageBox, "question", lambda *words: asked.append(words) or SIDES[answer]
    )
    gone = []
    dialog.finished.connect(gone.append)
    dialog.close()
    assert "stays in the table" in asked[0][2]
    if answer == "No":
        assert dialog.isVisible()
        assert command[0].is_running()
    else:
        assert len(gone) == 1
        assert psutil.wait_procs(command, timeout=20)[1] == []


def test_closing_does_not_ask_when_nothing_runs(dialog, qtbot, monkeypatch):
    monkeypatch.setattr(QMessageBox, "question", lambda *_: 1 / 0)
    gone = []
    dialog.finished.connect(gone.append)
    qtbot.keyClick(dialog, Qt.Key.Key_Escape)
    assert len(gone) == 1


def test_thousands_of_rows_never_stop_the_viewer(dialog, tmp_path, qtbot, longest_stall):
    dialog.rows.sort(0)  # by name, while it grows
    begin(dialog, tmp_path / "4000 exams", qtbot)
    qtbot.waitUntil(lambda: dialog.rows.rowCount() > 0, timeout=20_000)
    longest_stall()
    qtbot.waitUntil(lambda: dialog.start_button.isEnabled(), timeout=60_000)
    _, busy = longest_stall()
    assert dialog.rows.rowCount() == 4000
    assert busy < 0.05


def test_a_row_replaces_that_of_the_same_exam_and_keeps_its_place(qtbot):
    table, names = BatchTable(), ("path", "part", "error", "notes", "warnings", "probability_A")

    def row(number, value, **changes):
        values = {**dict.fromkeys(names), "path": f"/e/{number}", "probability_A": value}
        return BatchRow({**values, **changes}, Path("/e"))

    table.sort(3, Qt.SortOrder.DescendingOrder)
    table.add([row(1, 0.1), row(2, 0.9), row(3, None, error="Damaged.")])
    assert [table.row(n).name for n in range(3)] == ["2", "1", "3"]
    table.add([row(3, 0.5), row(4, 0.3)])
    assert [table.row(n).name for n in range(4)] == ["2", "3", "4", "1"]
    assert table.failed == 0
    table.add([BatchRow({**row(1, 0.1).values, "probability_B": 0.2}, Path("/e"))])
    assert table.rowCount() == 1  # of another model


def test_from_the_menu_to_an_exam_in_view(open_dock, tmp_path, qtbot, monkeypatch):
    with_the_fake(monkeypatch)
    folder = tmp_path / "2 exams"
    folder.mkdir()
    for number in range(2):
        np.save(folder / f"{number}.npy", make_exam(number, shape=(3, 64, 16)).volume.voxels)
    _, dock = open_dock(show=True)
    monkeypatch.setattr(
        "napari_octcube._widgets.open_button.QFileDialog.getExistingDirectory",
        lambda *_: str(folder),
    )
    (action,) = (
        each for each in dock.open_button.menu().actions() if each.text() == "Analyse a folder…"
    )
    action.trigger()
    dialog = dock.batch_dialog
    qtbot.mouseClick(dialog.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.rows.rowCount() == 2, timeout=20_000)
    place = dialog.view.visualRect(dialog.rows.index(1, 0)).center()
    area = dialog.view.viewport()
    qtbot.mouseClick(area, Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseDClick(area, Qt.MouseButton.LeftButton, pos=place)
    qtbot.waitUntil(lambda: dock.session.exam is not None, timeout=20_000)
    assert dock.session.exam.source == folder / "1.npy"
    qtbot.waitUntil(lambda: dialog.start_button.isEnabled(), timeout=20_000)
    dialog.close()
    assert dock.batch_dialog is None


@pytest.mark.parametrize("close", ["dock", "viewer"])
def test_the_viewer_closes_and_the_run_ends(open_dock, tmp_path, qtbot, monkeypatch, close):
    with_the_fake(monkeypatch)
    monkeypatch.setattr(QMessageBox, "question", lambda *_: 1 / 0)
    viewer, dock = open_dock(show=True)
    folder = tmp_path / "8 endless"
    folder.mkdir()
    dock.analyse_folder(folder)
    dialog = dock.batch_dialog
    qtbot.mouseClick(dialog.start_button, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: dialog.rows.rowCount() == 3, timeout=20_000)
    command = [child for child in psutil.Process().children() if FAKE[0] in child.cmdline()]
    assert len(command) == 1
    if close == "dock":
        viewer.window.remove_dock_widget(dock)
        assert dock.batch_dialog is None
    else:
        viewer.close()
        qtbot.wait(100)
    assert psutil.wait_procs(command, timeout=20)[1] == []
