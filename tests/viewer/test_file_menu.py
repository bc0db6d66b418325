"""napari's own menu File, as a person uses it: through napari's actions, with the file dialogs answered."""

import shutil

import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from npe2 import PluginManifest
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QMenu

pytestmark = pytest.mark.xvfb
FILES = "napari.window.file.open_files_dialog"
FOLDER = "napari.window.file.open_folder_dialog"


@pytest.fixture
def real_dock(plugin, npe2pm, make_napari_viewer, fake_worker, monkeypatch):
    """(viewer, dock) as the plugin menu makes it, with napari's own readers beside ours."""
    from napari_octcube._widgets.dock import OCTCubeDock

    npe2pm.register(PluginManifest.from_distribution("napari"))
    monkeypatch.setattr(OCTCubeDock.__init__, "__defaults__", (fake_worker,))
    viewer = make_napari_viewer(show=True)
    _, dock = viewer.window.add_plugin_dock_widget("napari-octcube", "OCTCube")
    yield viewer, dock
    dock.client.close()


@pytest.fixture
def choose(monkeypatch, qtbot):
    """A function that triggers an action of napari and answers its dialog."""
    from napari._app_model import get_app_model
    from napari._qt import qt_viewer

    def answer(action, *paths, reader=""):
        names = [str(path) for path in paths]
        dialog = qt_viewer.QFileDialog
        monkeypatch.setattr(dialog, "getOpenFileNames", lambda *_, **__: (names, ""))
        monkeypatch.setattr(dialog, "getExistingDirectory", lambda *_, **__: names[0])
        asked = "napari._qt.dialogs.qt_reader_dialog.QtReaderDialog.get_user_choices"
        monkeypatch.setattr(asked, lambda _: (reader, False))
        command = get_app_model().commands
        QTimer.singleShot(0, lambda: command.execute_command(action).result())

    return answer


def eye(path):
    with path.open("wb") as opened:  # NumPy would add a suffix
        np.save(opened, np.zeros((3, 32, 32), np.uint8))
    return path


@pytest.fixture
def dicom(tmp_path):
    """A function that makes a DICOM exam of any name."""
    from octcube_core import phantom
    from octcube_core.writers import write_exam

    made = tmp_path / "export"
    write_exam(phantom.make_exam(1, shape=(3, 64, 32)), made, "dicom")

    def copy(name):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        return shutil.copy(made / "oct.dcm", tmp_path / name)

    return copy


@pytest.mark.parametrize(
    "name", ["scan.dcm", "I1", "OCT_Export", "an_export_with_a_longer_name", "scan.001"]
)
def test_open_files_reads_an_exam_whatever_its_name(real_dock, choose, qtbot, dicom, name):
    viewer, dock = real_dock
    choose(FILES, dicom(name), reader="OCTCube")  # asked for where napari has a reader, too
    qtbot.waitUntil(lambda: dock.session.exam is not None)
    assert [layer.name for layer in viewer.layers] == [name]


def test_several_files_become_one_list(real_dock, choose, qtbot, dicom):
    _, dock = real_dock
    choose(FILES, dicom("a/export"), dicom("b/export"))
    qtbot.waitUntil(lambda: dock.chooser is not None and dock.chooser.table.total == 2)
    dock.chooser.reject()


def test_a_folder_of_several_exams_becomes_a_list(real_dock, choose, qtbot, tmp_path):
    _, dock = real_dock
    folder = tmp_path / "visit"
    folder.mkdir()
    for name in ("right.npy", "left.npy"):
        eye(folder / name)
    choose(FOLDER, folder, reader="OCTCube")  # napari itself reads folders, too
    qtbot.waitUntil(lambda: dock.chooser is not None and dock.chooser.table.total == 2)
    dock.chooser.reject()


def test_what_is_no_exam_is_said_in_a_sentence(real_dock, choose, qtbot, tmp_path):
    viewer, dock = real_dock
    (tmp_path / "Makefile").write_text("all:")
    before = len(notification_manager.records)
    choose(FILES, tmp_path / "Makefile")
    qtbot.waitUntil(lambda: len(notification_manager.records) > before)
    (said,) = notification_manager.records[before:]
    assert said.message.startswith("Makefile is of a format that is not supported")
    assert (len(viewer.layers), dock.session.opening) == (0, "")


def utilities(viewer):
    """The items that OCTCube adds to File."""
    menus = viewer.window.file_menu.findChildren(QMenu)
    return {
        action.text(): action
        for menu in menus
        for action in menu.actions()
        if action.text().endswith("(OCTCube)")
    }


@pytest.mark.parametrize("files", [True, False])
def test_own_items_of_the_menu_open_in_the_dock(real_dock, qtbot, monkeypatch, tmp_path, files):
    viewer, dock = real_dock
    dialog = "napari_octcube._widgets.open_button.QFileDialog"
    path = eye(tmp_path / "eye.npy")
    monkeypatch.setattr(f"{dialog}.getOpenFileNames", lambda *_: ([str(path)], ""))
    monkeypatch.setattr(f"{dialog}.getExistingDirectory", lambda *_: str(tmp_path))
    words = "Open OCT exams…" if files else "Open a folder of OCT exams…"
    utilities(viewer)[f"{words} (OCTCube)"].trigger()
    qtbot.waitUntil(lambda: dock.session.exam is not None)
    assert dock.session.exam.source == path


def test_napari_s_key_for_open_files_stays_its_own(real_dock):
    viewer, dock = real_dock
    from qtpy.QtGui import QKeySequence, QShortcut

    ours = {shortcut.key().toString() for shortcut in dock.findChildren(QShortcut)}
    napari_s = {
        action.shortcut().toString()
        for action in viewer.window.file_menu.actions()
        if not action.shortcut().isEmpty()
    }
    assert QKeySequence(QKeySequence.StandardKey.Open).toString() in napari_s
    assert not ours & napari_s
