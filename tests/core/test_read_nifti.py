from __future__ import annotations

import gzip
import struct
import sys

import numpy as np
import pytest

from octcube_core.errors import ExamReadError
from octcube_core.readers import mapped, read_exam
from octcube_core.readers.failures import NO_SPACING

nibabel = pytest.importorskip("nibabel")

VOXELS = np.random.default_rng(6).integers(0, 65536, (4, 20, 30), dtype=np.uint16)
SPACING = (0.047, 0.002, 0.0117)


@pytest.fixture
def write(tmp_path):
    def write(name="o.nii", kind=nibabel.Nifti1Image, unit="mm", factor=1.0, **fields):
        image = kind(VOXELS.T, None)  # x, y, z
        image.header.set_zooms([value * factor for value in SPACING[::-1]])
        image.header.set_xyzt_units(unit)
        for key, value in fields.items():
            image.header[key] = value
        nibabel.save(image, tmp_path / name)
        return tmp_path / name

    return write


def refuse(path):
    with pytest.raises(ExamReadError) as caught:
        read_exam(path)
    text = str(caught.value)
    assert path.name in text
    assert text.endswith(".")
    return text


@pytest.mark.parametrize("name", ["o.nii", "o.nii.gz"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize(("unit", "factor"), [("mm", 1.0), ("micron", 1e3), ("meter", 1e-3)])
def test_voxels_and_spacing(write, name, kind, unit, factor):
    exam = read_exam(write(name, kind, unit, factor))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    np.testing.assert_allclose(exam.volume.spacing_mm, SPACING, rtol=1e-6)
    assert (exam.format, exam.warnings) == ("NIfTI", ())


def test_spacing_without_a_unit_is_unknown(write):
    exam = read_exam(write(unit="unknown"))
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.warnings == (NO_SPACING,)


def test_ones_are_unknown(tmp_path):
    nibabel.save(nibabel.Nifti1Image(VOXELS.T, np.eye(4)), tmp_path / "o.nii")
    assert read_exam(tmp_path / "o.nii").volume.spacing_mm == (None, None, None)


def test_agrees_with_nibabel_on_scaled_values(tmp_path):
    image = nibabel.Nifti1Image(VOXELS.T, None)
    image.header.set_slope_inter(0.5, -3.0)
    nibabel.save(image, tmp_path / "o.nii")
    with (tmp_path / "o.nii").open("r+b") as file:  # nibabel recomputes the slope when it saves
        file.seek(112)
        file.write(struct.pack("<2f", 0.5, -3.0))
    expected = nibabel.load(tmp_path / "o.nii").get_fdata().T
    exam = read_exam(tmp_path / "o.nii")
    assert exam.volume.voxels.dtype == np.float32
    np.testing.assert_allclose(exam.volume.voxels, expected)


def test_axes_option_takes_the_spacing_along(write):
    exam = read_exam(write(), axes="yzx")
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS.transpose(1, 0, 2))
    np.testing.assert_allclose(exam.volume.spacing_mm, (0.002, 0.047, 0.0117), rtol=1e-6)


def test_one_bscan_and_a_fourth_axis_of_one(tmp_path):
    nibabel.save(nibabel.Nifti1Image(VOXELS[0].T, None), tmp_path / "two.nii")
    assert read_exam(tmp_path / "two.nii").volume.shape == (1, 20, 30)
    nibabel.save(nibabel.Nifti1Image(VOXELS.T[..., None], None), tmp_path / "four.nii")
    assert read_exam(tmp_path / "four.nii").volume.shape == (4, 20, 30)
    several = np.stack([VOXELS.T, VOXELS.T], -1)
    nibabel.save(nibabel.Nifti1Image(several, None), tmp_path / "several.nii")
    assert "30 x 20 x 4 x 2" in refuse(tmp_path / "several.nii")


@pytest.mark.parametrize("dims", [(3, 30, 20, 5), (3, 30, 20, 3), (3, 32767, 32767, 32767), (0,)])
@pytest.mark.parametrize("name", ["o.nii", "o.nii.gz"])
def test_sizes_must_fit_the_bytes(write, tmp_path, dims, name):
    path = write(name)
    content = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
    content = bytearray(content)
    content[40 : 40 + 2 * len(dims)] = struct.pack(f"<{len(dims)}h", *dims)
    path.write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    refuse(path)


def test_wrong_checksum(write):
    path = write("o.nii.gz")
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    refuse(path)


def test_header_without_its_image(tmp_path):
    nibabel.save(nibabel.Nifti1Pair(VOXELS.T, None), tmp_path / "pair.hdr")
    (tmp_path / "pair.hdr").rename(tmp_path / "pair.nii")
    assert "another file" in refuse(tmp_path / "pair.nii")


def test_missing_library_names_the_extra(write, monkeypatch):
    path = write()
    monkeypatch.setitem(sys.modules, "nibabel", None)
    assert "napari-octcube[formats]" in refuse(path)


def test_large_volumes_stay_on_disk(write, monkeypatch):
    path = write()
    monkeypatch.setattr(mapped, "MEMORY_MAP_BYTES", 100)
    voxels = read_exam(path).volume.voxels
    assert isinstance(voxels, np.memmap)
    np.testing.assert_array_equal(voxels, VOXELS)


@pytest.mark.parametrize("name", ["o.nii", "o.nii.gz"])
def test_damaged_files_give_one_sentence_or_a_volume(write, name, capfd):
    path = write(name)
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    refused = 0
    for index in range(80):
        damaged = bytearray(content)
        if index % 2:
            damaged = damaged[: int(rng.integers(len(content)))]
        for position in rng.integers(0, 352, 4):
            if position < len(damaged):
                damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            read_exam(path)
        except ExamReadError as error:
            assert str(error).endswith(".")  # noqa: PT017
            refused += 1
    assert refused > 40
    assert capfd.readouterr().err == ""
