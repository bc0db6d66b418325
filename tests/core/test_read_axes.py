from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile

from octcube_core.errors import ExamReadError, InputError
from octcube_core.readers import read_exam
from octcube_core.readers.axes import stated_spacing, volume_spacing, volume_view
from octcube_core.readers.plausible import plausible_spacing

VOXELS = np.random.default_rng(5).integers(0, 256, (3, 8, 10), dtype=np.uint8)
FILE = Path("scan.npy")
ORDERS = ["zyx", "zxy", "yzx", "yxz", "xzy", "xyz"]


@pytest.mark.parametrize("axes", ORDERS)
def test_any_order_becomes_bscan_depth_width_without_a_copy(axes):
    stored = VOXELS.transpose(["zyx".index(axis) for axis in axes])
    view = volume_view(FILE, stored, axes)
    np.testing.assert_array_equal(view, VOXELS)
    assert np.shares_memory(view, stored)


@pytest.mark.parametrize("axes", ORDERS)
def test_spacings_follow_their_axes(axes):
    of = {"z": 0.122, "y": 0.00387, "x": 0.0058}
    assert volume_spacing([of[axis] for axis in axes], axes) == (0.122, 0.00387, 0.0058)


def test_two_axes_are_one_bscan():
    assert volume_view(FILE, VOXELS[0], None).shape == (1, 8, 10)
    assert volume_view(FILE, VOXELS[0], "xyz").shape == (1, 10, 8)
    assert volume_view(FILE, VOXELS[0], "yxz").shape == (1, 8, 10)
    assert volume_spacing((0.1, 0.2), "zxy") == (None, 0.2, 0.1)


def test_other_numbers_of_axes_are_refused():
    with pytest.raises(ExamReadError, match=r"scan\.npy holds an array of shape \(4,\)"):
        volume_view(FILE, np.zeros(4), None)


def test_ones_are_what_libraries_write_for_unknown():
    assert stated_spacing((1.0, 1.0, 1.0)) == (None, None, None)
    assert stated_spacing((1.0, 0.004, 1.0)) == (1.0, 0.004, 1.0)


@pytest.mark.parametrize(
    "stated", [(0.12, 3.87, 5.8), (122.0, 0.0039, 0.006), (1e-5, 1e-6, 1e-6), (None, 0.004, 11.0)]
)
def test_what_no_oct_has_is_unknown_and_said(stated):
    spacing, (told,) = plausible_spacing(stated)
    assert spacing == (None, None, None)
    assert "which no OCT has" in told


def test_plausible_spacings_are_kept():
    for stated in ((0.122, 0.00387, 0.0058), (None, 0.002, None), (None, None, None)):
        assert plausible_spacing(stated) == (stated, ())


def save_npy(path, values):
    np.save(path, values)


def save_npz(path, values):
    np.savez(path, values)


def save_tiff(path, values):
    tifffile.imwrite(path, values, metadata=None, photometric="minisblack")


@pytest.mark.parametrize(
    ("name", "save"), [("s.npy", save_npy), ("s.npz", save_npz), ("s.tif", save_tiff)]
)
def test_option_of_files_that_do_not_state_their_axes(tmp_path, name, save):
    save(tmp_path / name, np.ascontiguousarray(VOXELS.transpose(1, 2, 0)))
    assert read_exam(tmp_path / name).volume.shape == (8, 10, 3)
    exam = read_exam(tmp_path / name, axes="YXZ")
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)


def test_spacing_of_a_tiff_follows_the_option(tmp_path):
    tifffile.imwrite(
        tmp_path / "s.tif",
        np.ascontiguousarray(VOXELS.transpose(1, 0, 2)),
        imagej=True,
        resolution=(1 / 5.8, 1 / 122),
        metadata={"axes": "ZYX", "spacing": 3.87, "unit": "um"},
    )
    exam = read_exam(tmp_path / "s.tif", axes="yzx")
    np.testing.assert_allclose(exam.volume.spacing_mm, (0.122, 0.00387, 0.0058), rtol=1e-5)


@pytest.mark.parametrize("axes", ["zy", "zzx", "zyxt", "abc"])
def test_axes_that_are_none(tmp_path, axes):
    np.save(tmp_path / "s.npy", VOXELS)
    with pytest.raises(InputError, match=f"axes '{axes}' are not understood"):
        read_exam(tmp_path / "s.npy", axes=axes)
