from __future__ import annotations

import numpy as np
import pytest

from octcube_core.errors import ExamReadError
from octcube_core.readers import numpy_file, read_exam


def save(path, values):
    np.save(path, values)
    return path


def test_volume_keeps_its_values_and_states_no_spacing(tmp_path):
    voxels = np.arange(60, dtype=np.uint16).reshape(3, 4, 5)
    exam = read_exam(save(tmp_path / "volume.npy", voxels))
    np.testing.assert_array_equal(exam.volume.voxels, voxels)
    assert exam.volume.voxels.dtype == np.uint16
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.scan_pattern is None
    assert exam.laterality is None
    assert exam.warnings == ("The file states no voxel spacing; sizes are shown in pixels.",)


def test_two_axes_are_one_bscan(tmp_path):
    exam = read_exam(save(tmp_path / "b.npy", np.ones((4, 5), np.uint8)))
    assert exam.volume.shape == (1, 4, 5)


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        (np.arange(8, dtype=np.int64), np.uint8),
        (np.arange(8, dtype=np.int32) + 300, np.uint16),
        (np.arange(8, dtype=">u2"), np.uint16),
        (np.arange(8, dtype=np.float64) / 8, np.float32),
        (np.arange(8, dtype=np.int16) - 3, np.float32),
        (np.arange(8) > 3, np.uint8),
    ],
)
def test_any_number_type_becomes_a_display_type(tmp_path, values, dtype):
    exam = read_exam(save(tmp_path / "v.npy", values.reshape(2, 2, 2)))
    assert exam.volume.voxels.dtype == dtype
    assert exam.volume.voxels.dtype.isnative
    expected = values * 255 if values.dtype == bool else values
    np.testing.assert_allclose(exam.volume.voxels.ravel(), expected)


def test_fortran_order_keeps_the_axes(tmp_path):
    voxels = np.asfortranarray(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    np.testing.assert_array_equal(read_exam(save(tmp_path / "f.npy", voxels)).volume.voxels, voxels)


@pytest.mark.parametrize("shape", [(0, 4, 5), (5,), (2, 3, 4, 5), ()])
def test_other_shapes_are_refused(tmp_path, shape):
    with pytest.raises(ExamReadError, match=r"v\.npy"):
        read_exam(save(tmp_path / "v.npy", np.ones(shape, np.uint8)))


def test_pickles_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    path = tmp_path / "objects.npy"
    np.save(path, np.array([Bomb()], dtype=object), allow_pickle=True)
    with pytest.raises(ExamReadError, match="NumPy array of numbers"):
        read_exam(path)
    assert not (tmp_path / "exploded").exists()


def test_large_files_stay_on_disk(tmp_path, monkeypatch):
    path = save(tmp_path / "v.npy", np.ones((3, 4, 5), np.uint8))
    assert not isinstance(read_exam(path).volume.voxels, np.memmap)
    monkeypatch.setattr(numpy_file, "MEMORY_MAP_BYTES", 10)
    assert isinstance(read_exam(path).volume.voxels, np.memmap)
