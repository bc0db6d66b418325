import numpy as np
import pytest
from napari.utils.notifications import notification_manager
from PIL import Image

from octcube_core.exam import Exam


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
    "name", ["a.dcm", "a.DCM", "a.tif", "a.ome.tiff", "a.npy", "IM-0001-0001", "1.2.840.10008.7"]
)
def test_manifest_offers_the_reader(name, plugin, npe2pm, tmp_path):
    path = tmp_path / name
    path.touch()
    readers = {reader.command for reader in npe2pm.iter_compatible_readers(str(path))}
    assert readers == {"napari-octcube.read"}


@pytest.mark.parametrize("name", ["notes.txt", "photo.png", "table.csv"])
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


def test_several_paths_are_not_one_exam():
    from napari_octcube._reader import get_reader

    assert get_reader(["a.dcm", "b.dcm"]) is None
