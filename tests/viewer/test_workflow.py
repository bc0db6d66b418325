"""A clinician's way through one eye: real files, the real model process, a real canvas."""

import time
from dataclasses import replace

import numpy as np
import pypdf
import pytest
from drops import canvas_of, drop
from qtpy.QtCore import Qt
from real_runs import RUN_MS, assert_result, eye, run, sentence
from screen import canvas, saturation

from napari_octcube._model_process import WORKER_COMMAND
from napari_octcube._recall import RECALLED
from octcube_core.writers import write_exam

pytestmark = [pytest.mark.xvfb, pytest.mark.slow]
SHAPE = (20, 128, 96)


@pytest.fixture
def folders(tmp_path):
    """Two DICOM folders, the right and the left eye."""
    paths = []
    for seed, side in ((3, "OD"), (4, "OS")):
        exam = replace(eye(seed, ("DME",), SHAPE), laterality=side)
        paths.append(tmp_path / side)
        write_exam(exam, paths[-1], "dicom")
    return paths


@pytest.fixture
def opened(open_dock, folders, qtbot):
    """(viewer, dock) with the right eye dropped on the canvas."""
    viewer, dock = open_dock(WORKER_COMMAND, show=True)
    viewer.window.resize(1366, 768)
    qtbot.wait(50)
    drop_exam(viewer, dock, qtbot, folders[0])
    return viewer, dock


def drop_exam(viewer, dock, qtbot, folder):
    before = dock.session.exam
    assert drop(canvas_of(viewer), [folder])
    qtbot.waitUntil(lambda: dock.session.exam not in (None, before), timeout=20_000)


def click(qtbot, widget, place=None):
    qtbot.mouseClick(widget, Qt.MouseButton.LeftButton, pos=place or widget.rect().center())


def choose_disease(dock, qtbot, target):
    table = dock.analysis_tab.score_table
    rows = [row for row in range(table.rowCount()) if target in table.item(row, 0).text().split()]
    click(qtbot, table.viewport(), table.visualItemRect(table.item(rows[0], 0)).center())
    assert dock.session.disease == target


def differing(one, other):
    """Share of pixels that differ clearly; without sliders the canvas is larger."""
    rows, columns = np.minimum(one.shape[:2], other.shape[:2])
    one, other = one[:rows, :columns], other[:rows, :columns]
    return (np.abs(one - other).max(axis=-1) > 20).mean()


def test_from_a_dropped_folder_to_the_report_and_back(opened, folders, qtbot, tmp_path):
    viewer, dock = opened
    plain = canvas(viewer, qtbot)
    assert dock.session.exam.volume.shape == SHAPE
    assert saturation(plain).max() <= 3
    assert (plain.max(axis=-1) > 60).mean() > 0.05
    run(dock, qtbot)
    assert_result(dock, dock.session.exam)
    first = dock.session.bscan, dock.session.disease
    overlay = canvas(viewer, qtbot)
    assert (saturation(overlay) > 60).mean() > 0.005
    see_another_disease(viewer, dock, qtbot, overlay)
    look_from_all_sides(viewer, dock, qtbot)
    go_to_bscans(viewer, dock, qtbot)
    compare(viewer, dock, qtbot, folders[1])
    save_report(dock, qtbot, tmp_path / "report.pdf")
    drop_exam(viewer, dock, qtbot, folders[1])
    assert dock.scene.overlay is None
    reopen(viewer, dock, qtbot, folders[0])
    assert (dock.session.bscan, dock.session.disease) == first
    assert differing(canvas(viewer, qtbot), overlay) < 0.01


def see_another_disease(viewer, dock, qtbot, before):
    bscan, shown = dock.session.bscan, dock.session.disease
    analysis = dock.session.analysis
    strongest = {
        target: analysis.bscan_importance(target)[bscan]
        for target in analysis.targets
        if target != shown
    }
    choose_disease(dock, qtbot, max(strongest, key=strongest.get))
    assert dock.session.bscan == bscan
    after = canvas(viewer, qtbot)
    assert (saturation(after) > 60).any()
    assert differing(before, after) > 0.005
    choose_disease(dock, qtbot, shown)
    assert differing(before, canvas(viewer, qtbot)) < 0.001


def look_from_all_sides(viewer, dock, qtbot):
    bscan = dock.session.bscan
    buttons = dock.view_bar.buttons
    pictures = {}
    for view in ("bscan", "enface", "slow", "3d"):
        click(qtbot, buttons[view])
        assert buttons[view].isChecked()
        qtbot.wait(300)  # the fundus picture is made on a thread
        pictures[view] = canvas(viewer, qtbot)
        assert (pictures[view].max(axis=-1) > 60).mean() > 0.02, view
    for view in ("enface", "slow", "3d"):
        assert differing(pictures["bscan"], pictures[view]) > 0.05, view
    click(qtbot, buttons["bscan"])
    assert dock.session.bscan == bscan
    assert differing(pictures["bscan"], canvas(viewer, qtbot)) < 0.001


def go_to_bscans(viewer, dock, qtbot):
    before = canvas(viewer, qtbot)
    tab = dock.localizer_tab
    dock.setCurrentWidget(tab)
    qtbot.waitUntil(lambda: not tab.view.fundus.picture.pixmap().isNull())
    lines = dock.session.exam.locations.polylines
    wanted = 2
    row, column = np.mean(lines[wanted], axis=0)
    click(qtbot, tab.view.viewport(), tab.view.mapFromScene(column + 0.5, row + 0.5))
    assert dock.session.bscan == wanted
    elsewhere = canvas(viewer, qtbot)
    assert differing(before, elsewhere) > 0.02
    dock.setCurrentWidget(dock.analysis_tab)
    bscan, chip = next(iter(dock.analysis_tab.key_bscans.chips.items()))
    assert bscan != wanted
    click(qtbot, chip)
    assert dock.session.bscan == bscan
    assert differing(before, canvas(viewer, qtbot)) < 0.001


def compare(viewer, dock, qtbot, folder):
    alone = canvas(viewer, qtbot)
    dock.open_beside(folder)
    qtbot.waitUntil(lambda: dock.comparison.state.analysis is not None, timeout=RUN_MS)
    table = dock.comparison_table.table
    assert table.isVisible()
    header = [table.horizontalHeaderItem(column).text() for column in (1, 2)]
    assert header == ["In view (OD)", "Beside (OS)"]
    both = canvas(viewer, qtbot)
    half = both.shape[1] // 2
    assert saturation(both[:, half:]).max() <= 3  # the overlay stays with its eye
    assert (both[:, half:].max(axis=-1) > 60).mean() > 0.005
    assert (saturation(both[:, :half]) > 60).any()
    dock.beside.leave()
    qtbot.wait(100)
    assert differing(alone, canvas(viewer, qtbot)) < 0.01


def save_report(dock, qtbot, path):
    tab = dock.report_tab
    dock.setCurrentWidget(tab)
    qtbot.waitUntil(lambda: tab.preview.image is not None, timeout=20_000)
    tab._ask_path = lambda *_: path
    click(qtbot, tab.buttons["pdf"])
    qtbot.waitUntil(lambda: tab.news.text() == f"Saved: {path.name}.", timeout=20_000)
    (page,) = pypdf.PdfReader(path).pages
    text = " ".join(page.extract_text().split())
    assert "OCT analysis report" in text
    assert dock.session.analysis.name_of(dock.session.disease) in text
    dock.setCurrentWidget(dock.analysis_tab)


def reopen(viewer, dock, qtbot, folder):
    ran = []
    dock.session.events.running.connect(ran.append)
    drop_exam(viewer, dock, qtbot, folder)
    start = time.monotonic()
    qtbot.waitUntil(lambda: dock.session.analysis is not None, timeout=20_000)
    assert time.monotonic() - start < 2
    assert dock.analysis_tab.run_bar.stage_label.text() == RECALLED
    assert not any(ran)
    assert sentence(dock) == ""
