import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from PIL import Image

from octcube_core.exam import Exam
from octcube_core.readers.formats import FORMATS


@pytest.fixture
def bscan_folder(tmp_path):
    folder = tmp_path / "eye"
    folder.mkdir()
    for z in range(4):
        pixels = np.full((32, 48), 20 * z, np.uint8)
        Image.fromarray(pixels).save(folder / f"oct_{z:03d}.png")
    return folder


def read(path):
    from napari_octcube._reader import get_reader

    return get_reader(str(path))(str(path))


def test_folder_becomes_an_oct_layer(bscan_folder):
    ((voxels, options, kind),) = read(bscan_folder)
    assert kind == "image"
    assert voxels.shape == (4, 32, 48)
    assert isinstance(options["metadata"]["octcube_exam"], Exam)


def test_napari_opens_it_through_the_manifest(bscan_folder, plugin, make_napari_viewer):
    viewer = make_napari_viewer()
    (layer,) = viewer.open(bscan_folder, plugin="napari-octcube")
    assert layer.name == "eye"
    assert layer.axis_labels == ("B-scan", "depth", "width")


@pytest.mark.parametrize(
    "name",
    [
        *("a.dcm", "a.DCM", "a.tif", "a.ome.tiff", "a.npy", "IM-0001-0001", "1.2.840.10008.7"),
        *("a.vol", "a.VOL", "a.E2E", "a.e2e", "a.fda", "a.fds", "a.xml", "a.mat", "a.nii.gz"),
        *(
            "P1_Macular Cube 200x200_OD.img",
            "DICOMDIR",
            "I1",
            "scan.001",
            "a-long-name-without-suffix",
        ),
    ],
)
def test_manifest_offers_the_reader(name, plugin, npe2pm, tmp_path):
    path = tmp_path / name
    path.touch()
    readers = {reader.command for reader in npe2pm.iter_compatible_readers(str(path))}
    assert readers == {"napari-octcube.read"}


def test_every_format_is_claimed_but_pictures(plugin, npe2pm, tmp_path):
    unclaimed = set()
    for suffix in {suffix for found in FORMATS for suffix in found.suffixes}:
        path = tmp_path / f"exam{suffix}"
        path.touch()
        if not list(npe2pm.iter_compatible_readers(str(path))):
            unclaimed.add(suffix)
    assert unclaimed == {".png", ".jpg", ".jpeg", ".bmp"}  # napari.yaml says why


@pytest.mark.parametrize(
    "name", ["notes.txt", "photo.png", "table.csv", "map.geojson", "a.tar.zst"]
)
def test_manifest_leaves_other_files_alone(name, plugin, npe2pm, tmp_path):
    path = tmp_path / name
    path.touch()
    assert not list(npe2pm.iter_compatible_readers(str(path)))


def test_bad_file_is_a_message_and_no_traceback(tmp_path):
    path = tmp_path / "broken.tif"
    path.write_bytes(b"this is no TIFF")
    before = len(notification_manager.records)
    assert read(path) == [(None,)]
    (notification,) = notification_manager.records[before:]
    assert "broken.tif" in notification.message
    assert "\n" not in notification.message
    assert not hasattr(notification, "exception")


def test_a_file_without_suffix_that_is_no_exam_brings_no_dock(
    plugin, make_napari_viewer, qtbot, tmp_path
):
    from napari_octcube._widgets.dock import OCTCubeDock

    viewer = make_napari_viewer()
    path = tmp_path / "Makefile"
    path.write_text("all:")
    before = len(notification_manager.records)
    from_the_event_loop(qtbot, lambda: viewer.open(path, plugin="napari-octcube"))
    (said,) = notification_manager.records[before:]
    assert said.message.startswith("Makefile is of a format that is not supported")
    assert not viewer.window._qt_window.findChildren(OCTCubeDock)


def test_several_paths_are_not_one_exam():
    from napari_octcube._reader import get_reader

    assert get_reader(["a.dcm", "b.dcm"]) is None


def from_the_event_loop(qtbot, function):
    """Call a function as a menu or a drop does."""
    from qtpy.QtCore import QTimer

    results = []
    QTimer.singleShot(0, lambda: results.append(function()))
    qtbot.waitUntil(lambda: bool(results))
    return results[0]


def test_a_person_s_file_is_read_by_the_dock(bscan_folder, plugin, open_dock, qtbot):
    viewer, dock = open_dock()
    opened = from_the_event_loop(qtbot, lambda: viewer.open(bscan_folder, plugin="napari-octcube"))
    assert opened == []  # not yet
    qtbot.waitUntil(lambda: dock.session.exam is not None)
    assert [layer.name for layer in viewer.layers] == ["eye"]
    assert dock.session.error == ""


def test_without_a_dock_one_appears(
    bscan_folder, plugin, make_napari_viewer, fake_worker, monkeypatch, qtbot
):
    from napari_octcube._widgets.dock import OCTCubeDock

    monkeypatch.setattr(OCTCubeDock.__init__, "__defaults__", (fake_worker,))
    viewer = make_napari_viewer()
    from_the_event_loop(qtbot, lambda: viewer.open(bscan_folder, plugin="napari-octcube"))
    qtbot.waitUntil(lambda: len(viewer.layers) == 1)
    (dock,) = viewer.window._qt_window.findChildren(OCTCubeDock)
    assert dock.session.exam is not None
    dock.client.close()


def test_several_files_of_one_drop_become_one_list(plugin, open_dock, qtbot, tmp_path):
    viewer, dock = open_dock()
    paths = [tmp_path / name for name in ("right.npy", "left.npy")]
    for path in paths:
        np.save(path, np.zeros((3, 32, 32), np.uint8))
    from_the_event_loop(qtbot, lambda: viewer.open(paths, plugin="napari-octcube"))
    qtbot.waitUntil(lambda: dock.chooser is not None and dock.chooser.table.total == 2)
    assert len(viewer.layers) == 0
    dock.chooser.reject()
