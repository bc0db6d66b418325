import numpy as np
import pytest
from qtpy.QtCore import QMimeData, QPointF, Qt, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QWidget

pytestmark = pytest.mark.xvfb


@pytest.fixture
def files(tmp_path):
    (tmp_path / "notes.txt").write_text("no exam")
    np.save(tmp_path / "eye.npy", np.zeros((4, 32, 48), np.uint8))
    return tmp_path


@pytest.fixture
def docked(open_dock, qtbot, monkeypatch):
    viewer, dock = open_dock(show=True)
    left_to_napari = []
    monkeypatch.setattr(
        type(viewer.window._qt_viewer),
        "_qt_open",
        lambda self, filenames, **_: left_to_napari.append(filenames),
    )
    qtbot.wait(50)
    return viewer, dock, left_to_napari


def drop(widget, paths, modifiers=Qt.KeyboardModifier.NoModifier):
    """Drop files as the window system does; return whether the widget took the drag at all."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    point, action = QPointF(10, 10), Qt.DropAction.CopyAction
    button = Qt.MouseButton.LeftButton
    drag = QDragEnterEvent(point.toPoint(), action, data, button, modifiers)
    QApplication.sendEvent(widget, drag)
    QApplication.sendEvent(widget, QDropEvent(point, action, data, button, modifiers))
    return drag.isAccepted()


def canvas_of(viewer):
    return viewer.window._qt_viewer


def test_a_folder_dropped_on_the_canvas_just_opens(docked, qtbot, files):
    from PIL import Image

    folder = files / "eye"
    folder.mkdir()
    for z in range(3):
        Image.fromarray(np.full((32, 48), z, np.uint8)).save(folder / f"{z}.png")
    viewer, dock, left_to_napari = docked
    assert drop(canvas_of(viewer), [folder])
    qtbot.waitUntil(lambda: dock.session.exam is not None)
    assert dock.session.exam.volume.shape == (3, 32, 48)
    assert left_to_napari == []


def test_a_file_dropped_on_the_dock_opens(docked, qtbot, files):
    _, dock, _ = docked
    assert drop(dock, [files / "eye.npy"])
    qtbot.waitUntil(lambda: dock.session.exam is not None)


def test_a_file_dropped_on_the_welcome_screen_opens(docked, qtbot, files):
    viewer, dock, _ = docked
    welcome = next(
        widget
        for widget in canvas_of(viewer).findChildren(QWidget)
        if type(widget).__name__ == "QtWelcomeWidget"
    )
    assert drop(welcome, [files / "eye.npy"])
    qtbot.waitUntil(lambda: dock.session.exam is not None)


def test_several_files_become_one_list(docked, qtbot, files):
    viewer, dock, _ = docked
    np.save(files / "other.npy", np.zeros((4, 32, 48), np.uint8))
    drop(canvas_of(viewer), [files / "eye.npy", files / "other.npy"])
    qtbot.waitUntil(lambda: dock.chooser is not None and dock.chooser.table.total == 2)
    assert dock.session.exam is None


def test_other_drops_stay_napari_s(docked, files):
    viewer, dock, left_to_napari = docked
    plain, alt, shift = (
        Qt.KeyboardModifier.NoModifier,
        Qt.KeyboardModifier.AltModifier,  # asks for the reader
        Qt.KeyboardModifier.ShiftModifier,  # stacks the files
    )
    for names, modifiers in (
        (["notes.txt"], plain),
        (["eye.npy", "notes.txt"], plain),
        (["eye.npy"], alt),
        (["eye.npy"], shift),
    ):
        paths = [files / name for name in names]
        drop(canvas_of(viewer), paths, modifiers)
        assert left_to_napari.pop() == [str(path) for path in paths]
        assert dock.session.opening == ""


def test_a_closed_dock_takes_nothing(docked, qtbot, files):
    viewer, dock, left_to_napari = docked
    viewer.window.remove_dock_widget(dock)
    drop(canvas_of(viewer), [files / "eye.npy"])
    assert left_to_napari == [[str(files / "eye.npy")]]
