"""Zeiss Cirrus .img: orientation, dimensions by name and size, nominal spacing, and what to do if unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from octcube_core.errors import ExamReadError
from octcube_core.readers import cirrus_img, detect_format, read_exam

STEM = "PID-993311_Macular Cube 512x128_2-29-2024_10-11-12_OD_sn1234_"
MACULAR, DISC = (128, 1024, 512), (200, 1024, 200)


def _write(path: Path, shape: tuple[int, int, int]) -> Path:
    """A cube that is dark but for its first and last voxel and a bright RPE near the top of what is stored."""
    stored = np.zeros(shape, np.uint8)
    stored[:, 300, :] = 200
    stored[0, 0, 0], stored[0, 0, 1] = 11, 12
    stored[-1, -1, -1] = 99
    stored.tofile(path)
    return path


def _error(path: Path, **options: tuple[int, int, int]) -> str:
    with pytest.raises(ExamReadError) as caught:
        read_exam(path, **options)
    message = str(caught.value)
    assert path.name in message
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_macular_cube_is_upright_with_its_eye_and_nominal_spacing(tmp_path: Path) -> None:
    path = _write(tmp_path / (STEM + "cube_z.img"), MACULAR)
    assert detect_format(path) == "Zeiss Cirrus"
    exam = read_exam(path)
    voxels = exam.volume.voxels
    assert exam.volume.shape == MACULAR
    assert voxels[0, -1, -1] == 11
    assert voxels[0, -1, -2] == 12
    assert voxels[-1, 0, 0] == 99  # B-scans keep their order
    assert (voxels[64, 1023 - 300] == 200).all()
    assert exam.laterality == "OD"
    assert exam.scan_pattern == "raster"
    assert exam.volume.spacing_mm == pytest.approx((6 / 127, 2 / 1023, 6 / 511))
    assert any("nominal" in warning for warning in exam.warnings)
    assert exam.patient.id == "PID-993311"
    assert exam.patient.exam_date == "2024-02-29"
    assert exam.enface == ()
    assert exam.locations is None
    told = " ".join((*exam.warnings, exam.device or ""))
    assert "993311" not in told
    assert "2024" not in told


def test_optic_disc_cube_of_a_left_eye(tmp_path: Path) -> None:
    name = "A_B_Optic Disc Cube 200x200_12-1-2016_1-2-3_OS_sn7_cube_raw.img"
    exam = read_exam(_write(tmp_path / name, DISC))
    assert exam.volume.shape == DISC
    assert exam.laterality == "OS"
    assert exam.patient.id == "A_B"
    assert exam.volume.spacing_mm == pytest.approx((6 / 199, 2 / 1023, 6 / 199))


def test_protocols_of_unknown_size_have_no_spacing(tmp_path: Path) -> None:
    name = "P1_Anterior Segment Cube 512x128_12-1-2016_1-2-3_OS_sn7_cube_z.img"
    exam = read_exam(_write(tmp_path / name, MACULAR))
    assert exam.volume.shape == MACULAR
    assert exam.volume.spacing_mm == (None, None, None)
    assert any("no voxel spacing" in warning for warning in exam.warnings)


@pytest.mark.parametrize("shape", [MACULAR, DISC])
def test_a_cube_without_a_telling_name_is_told_by_its_size(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    exam = read_exam(_write(tmp_path / "volume.img", shape))
    assert exam.volume.shape == shape
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.laterality is None
    assert any("by its size" in warning for warning in exam.warnings)


@pytest.mark.parametrize("bscans", [5, 21])
def test_line_rasters(tmp_path: Path, bscans: int) -> None:
    kind = "HD 5 Line Raster" if bscans == 5 else "HD 21 Line"
    name = f"P1_{kind}_9-22-2017_12-22-6_OD_sn13722_lineEnhanced.img"
    exam = read_exam(_write(tmp_path / name, (bscans, 1024, 1024)))
    assert exam.volume.shape == (bscans, 1024, 1024)
    assert exam.volume.spacing_mm == (None, None, None)


@pytest.mark.parametrize(
    "name",
    [
        "small.img",
        STEM.replace("Macular Cube 512x128", "Angio (6mmx6mm)") + "cube_z.img",
        STEM + "hidef_z.img",
    ],
)
def test_unknown_dimensions_ask_for_the_shape(tmp_path: Path, name: str) -> None:
    path = _write(tmp_path / name, (2, 512, 64))
    assert "--shape" in _error(path)
    exam = read_exam(path, shape=(2, 512, 64))
    assert exam.volume.shape == (2, 512, 64)
    assert exam.volume.voxels[0, -1].max() == 12
    assert exam.volume.spacing_mm == (None, None, None)
    assert "--shape" in _error(path, shape=(3, 512, 64))


def test_a_name_that_contradicts_the_size_is_an_error(tmp_path: Path) -> None:
    path = _write(tmp_path / (STEM + "cube_z.img"), DISC)
    message = _error(path)
    assert "512 x 128" in message
    assert "--shape" in message
    assert read_exam(path, shape=DISC).volume.shape == DISC
    assert read_exam(path, shape=DISC).volume.spacing_mm == (None, None, None)


def test_truncation_anywhere_is_one_error(tmp_path: Path) -> None:
    path = _write(tmp_path / (STEM + "cube_z.img"), MACULAR)
    for missing in (1, 512, 512 * 128, 512 * 128 * 100, 128 * 1024 * 512 - 1, 128 * 1024 * 512):
        with path.open("r+b") as file:
            file.truncate(128 * 1024 * 512 - missing)
        _error(path)


def test_fundus_image_beside_the_cube(tmp_path: Path) -> None:
    path = _write(tmp_path / (STEM + "cube_z.img"), MACULAR)
    slo = np.random.default_rng(1).integers(0, 256, (512, 664), dtype=np.uint8)
    beside = tmp_path / (STEM + "lslo.bin")
    slo.tofile(beside)
    (tmp_path / STEM.replace("sn1234", "sn1235").__add__("lslo.bin")).write_bytes(b"another exam's")
    exam = read_exam(path)
    assert exam.modalities == ("OCT", "IR")
    np.testing.assert_array_equal(exam.enface[0].pixels, slo)
    assert exam.locations is None
    beside.write_bytes(b"short")
    exam = read_exam(path)
    assert exam.enface == ()
    assert any("lslo.bin" in warning for warning in exam.warnings)


def test_large_cubes_stay_in_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cirrus_img, "MEMORY_MAP_BYTES", 100)
    exam = read_exam(_write(tmp_path / (STEM + "cube_z.img"), MACULAR))
    assert isinstance(exam.volume.voxels, np.memmap)
    assert exam.volume.voxels[0, -1, -1] == 11


def test_analyze_pairs_are_not_taken_for_cirrus(tmp_path: Path) -> None:
    path = _write(tmp_path / "brain.img", DISC)
    path.with_suffix(".hdr").write_bytes(b"\x5c\x01\0\0")
    assert "Analyze" in _error(path)
