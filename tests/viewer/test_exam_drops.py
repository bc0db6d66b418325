import time

import numpy as np
import pytest
from drops import canvas_of, drop
from napari.utils.notifications import notification_manager
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QWidget

from napari_octcube._widgets import exam_drops

pytestmark = pytest.mark.xvfb
END = " of a format that can be opened; what napari opens can be dropped on the image."


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


def welcome_of(viewer):
    return next(
        widget
        for widget in canvas_of(viewer).findChildren(QWidget)
        if type(widget).__name__ == "QtWelcomeWidget"
    )


@pytest.fixture
def said():
    """A function that gives what notifications said since it was called last, up to 'of a format …'."""
    heard = []

    def hear(notification):
        heard.append(notification.message.removesuffix(END))

    notification_manager.notification_ready.connect(hear)

    def read():
        result = list(heard)
        heard.clear()
        return result

    yield read
    notification_manager.notification_ready.disconnect(hear)


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
    assert drop(welcome_of(viewer), [files / "eye.npy"])
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
        (["eye.npy"], alt),
        (["eye.npy"], shift),
    ):
        paths = [files / name for name in names]
        drop(canvas_of(viewer), paths, modifiers)
        assert left_to_napari.pop() == [str(path) for path in paths]
        assert dock.session.opening == ""


@pytest.mark.parametrize("where", [canvas_of, lambda viewer: welcome_of(viewer)])
def test_of_a_mixed_drop_on_the_canvas_the_exam_opens_and_napari_gets_the_rest(
    docked, qtbot, files, where
):
    viewer, dock, left_to_napari = docked
    drop(where(viewer), [files / "notes.txt", files / "eye.npy"])
    assert left_to_napari == [[str(files / "notes.txt")]]
    qtbot.waitUntil(lambda: dock.session.exam is not None)


def test_of_a_mixed_drop_on_the_dock_the_rest_is_said(docked, qtbot, files, said):
    _, dock, left_to_napari = docked
    assert drop(dock, [files / "eye.npy", files / "notes.txt"])
    assert said() == ["notes.txt is no OCT exam"]
    qtbot.waitUntil(lambda: dock.session.exam is not None)
    assert left_to_napari == []


@pytest.mark.parametrize(
    "modifiers", [Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier]
)
def test_the_dock_ignores_nothing_silently(docked, files, said, modifiers):
    _, dock, _ = docked
    for _time in range(2):  # said again, too
        assert drop(dock, [files / "notes.txt"], modifiers)
        assert said() == ["notes.txt is no OCT exam"]
    names = [f"{letter}.txt" for letter in "abcde"]
    for name in names:
        (files / name).write_text("no exam")
    drop(dock, [files / name for name in names[:2]])
    assert said() == ["a.txt and b.txt are no OCT exams"]
    drop(dock, [files / name for name in names])
    assert said() == ["a.txt, b.txt, c.txt and 2 more are no OCT exams"]
    assert dock.session.opening == ""


@pytest.mark.parametrize("name", ["img.zarr", "img.ome.zarr", "IMG.N5"])
def test_folders_of_other_plugins_stay_napari_s(docked, files, said, name):
    from napari_octcube._reader import get_reader

    viewer, dock, left_to_napari = docked
    (files / name).mkdir()
    drop(canvas_of(viewer), [files / name])
    assert left_to_napari == [[str(files / name)]]
    drop(dock, [files / name])
    assert said() == [f"{name} is no OCT exam"]
    assert dock.session.opening == ""
    assert get_reader(str(files / name)) is None


def test_a_drop_of_very_many_files_does_not_stop_the_viewer(docked, files, monkeypatch):
    viewer, dock, _ = docked
    looked_at, opened = [], []

    def slow(path):
        looked_at.append(path)
        time.sleep(0.01)  # on a network drive
        return path.suffix != ".txt"

    monkeypatch.setattr(exam_drops, "may_be_exam", slow)
    monkeypatch.setattr(dock.opener, "open_paths", opened.extend)
    paths = [files / "notes.txt", *(files / f"IM{n}" for n in range(500))]
    drop(canvas_of(viewer), paths)
    assert len(looked_at) < 10
    assert opened == paths[1:]


def test_a_closed_dock_takes_nothing(docked, qtbot, files):
    viewer, dock, left_to_napari = docked
    viewer.window.remove_dock_widget(dock)
    drop(canvas_of(viewer), [files / "eye.npy"])
    assert left_to_napari == [[str(files / "eye.npy")]]
