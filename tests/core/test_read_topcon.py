"""Topcon .fda and .fds: voxels, geometry, pictures, identity, and one clear error for anything broken."""

from __future__ import annotations

import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam
from octcube_core.readers import detect_format, read_exam, topcon_images

from . import topcon_files as files


@pytest.fixture
def voxels() -> NDArray[np.uint8]:
    """5 B-scans of 40 x 30, each voxel of its own."""
    return np.random.default_rng(3).integers(0, 256, (5, 40, 30), dtype=np.uint8)


def _error(path: Path) -> str:
    with pytest.raises(ExamReadError) as caught:
        read_exam(path)
    message = str(caught.value)
    assert path.name in message
    assert message.endswith(".")
    assert "\n" not in message
    assert "Traceback" not in message
    return message


def _said(exam: Exam) -> str:
    return " ".join((*exam.warnings, exam.device or "", repr(exam)))


def test_real_fda_is_upright_and_has_its_facts(real_data: Path) -> None:
    exam = read_exam(real_data / "topcon/fda_minimized.fda")
    assert exam.format == "Topcon"
    assert exam.volume.shape == (1, 650, 512)
    assert exam.laterality == "OS"
    assert exam.scan_pattern == "raster"
    assert exam.device == "Topcon 3DOCT-1000MK2"
    assert exam.volume.spacing_mm == (None, pytest.approx(0.0035), pytest.approx(6 / 512))
    (fundus,) = exam.enface
    assert (fundus.modality, fundus.shape) == ("CFP", (3, 2))
    # Vitreous is dark and lies above; the choroid below the retina scatters more.
    profile = exam.volume.voxels[0].mean(axis=1)
    brightest = int(profile.argmax())
    assert 200 < brightest < 400
    assert profile[100:180].mean() < 0.6 * profile[400:480].mean()
    assert exam.locations is None  # its fundus image was cut down to 3 x 2
    assert any("outside its fundus image" in warning for warning in exam.warnings)


def test_real_fds_has_its_facts(real_data: Path) -> None:
    exam = read_exam(real_data / "topcon/fds_minimized.fds")
    assert exam.volume.shape == (4, 3, 2)
    assert exam.volume.voxels.dtype == np.uint16
    assert exam.volume.voxels[0, 0].tolist() == [0x47F1, 0x49A9]  # as in the file, byte by byte
    assert exam.laterality == "OS"
    # 6 mm over two A-scans is no scan.
    assert exam.volume.spacing_mm == (None, pytest.approx(0.0035), None)
    assert any("does not state" in warning for warning in exam.warnings)


def test_fda_voxels_and_geometry(tmp_path: Path, voxels: NDArray[np.uint8]) -> None:
    rgb = np.random.default_rng(4).integers(0, 256, (100, 120, 3), dtype=np.uint8)
    path = files.write_fda(
        tmp_path / "a.fda",
        voxels,
        files.fundus_jpeg(rgb),
        files.infrared_jpeg(rgb[..., 0], rgb[..., 1]),
        files.registration((20, 10, 80, 60), (1, 2, 3, 4)),
    )
    assert detect_format(path) == "Topcon"
    exam = read_exam(path)
    np.testing.assert_array_equal(exam.volume.voxels, voxels)
    assert exam.volume.spacing_mm == pytest.approx((4.5 / 5, 0.0026, 6.0 / 30))
    assert exam.laterality == "OD"
    assert exam.device == "Topcon 3DOCT-2000"
    assert [image.modality for image in exam.enface] == ["CFP", "IR"]
    np.testing.assert_array_equal(exam.enface[0].pixels, rgb)
    np.testing.assert_array_equal(exam.enface[1].pixels, rgb[..., 1])  # the last of the two
    assert exam.locations is not None
    assert exam.locations.image == 0
    lines = np.stack(exam.locations.polylines)
    np.testing.assert_allclose(lines[:, 0, 0], [15, 25, 35, 45, 55])  # superior first
    np.testing.assert_allclose(lines[:, 0, 0], lines[:, 1, 0])
    np.testing.assert_allclose(lines[:, :, 1], [[21, 79]] * 5)
    assert exam.warnings == ()


def test_box_of_the_infrared_image_is_used_when_it_is_the_only_one(
    tmp_path: Path, voxels: NDArray[np.uint8]
) -> None:
    infrared = np.full((50, 60), 9, np.uint8)
    path = files.write_fda(
        tmp_path / "a.fda",
        voxels,
        files.infrared_jpeg(infrared),
        files.registration((200, 100, 800, 600), (10, 5, 40, 30)),
    )
    exam = read_exam(path)
    assert exam.modalities == ("OCT", "IR")
    assert exam.locations is not None
    np.testing.assert_allclose(
        [line[0, 0] for line in exam.locations.polylines], [7.5, 12.5, 17.5, 22.5, 27.5]
    )


def test_fds_voxels_and_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    voxels = rng.integers(9000, 20000, (6, 20, 30), dtype=np.uint16)
    colour = rng.integers(1, 256, (8, 9, 3), dtype=np.uint8)
    grey = np.repeat(rng.integers(1, 256, (4, 5, 1), dtype=np.uint8), 3, axis=2)
    path = files.write(
        tmp_path / "a.fds",
        files.who(1),
        files.scan_raw(voxels),
        files.parameters(y_mm=3.0),
        files.raw_picture("@IMG_TRC_02", np.zeros_like(grey), grey),
        files.raw_picture("@IMG_OBS", colour),
    )
    exam = read_exam(path)
    np.testing.assert_array_equal(exam.volume.voxels, voxels)
    assert exam.volume.black_white == (voxels.min(), voxels.max())
    assert exam.laterality == "OS"
    assert exam.volume.spacing_mm == pytest.approx((0.5, 0.0026, 0.2))
    assert [image.modality for image in exam.enface] == ["CFP", "IR"]
    np.testing.assert_array_equal(exam.enface[0].pixels, colour)
    np.testing.assert_array_equal(exam.enface[1].pixels, grey[..., 0])


@pytest.mark.parametrize(
    ("mode", "pattern", "lateral"),
    [
        (0, "line", 0.2),
        (1, "circle", None),
        (3, "radial", 0.2),
        (7, "raster", 0.2),
        (77, None, None),
    ],
)
def test_only_full_rasters_have_a_distance_between_bscans(
    tmp_path: Path, voxels: NDArray[np.uint8], mode: int, pattern: str | None, lateral: float | None
) -> None:
    fundus = np.full((100, 120), 50, np.uint8)
    path = files.write_fda(
        tmp_path / "a.fda",
        voxels,
        files.infrared_jpeg(fundus),
        files.registration((0, 0, 0, 0), (20, 10, 80, 60)),
        mode=mode,
    )
    exam = read_exam(path)
    assert exam.scan_pattern == pattern
    assert exam.volume.spacing_mm == (
        None,
        pytest.approx(0.0026),
        lateral and pytest.approx(lateral),
    )
    assert exam.locations is None
    warned = any("distance between B-scans" in warning for warning in exam.warnings)
    assert warned == (pattern in ("raster", None))  # the other scans have none


@pytest.mark.parametrize(
    ("x_mm", "y_mm", "z_um"),
    [(0.0, 0.0, 0.0), (-6.0, 6e9, 400.0), (float("nan"), float("inf"), float("nan"))],
)
def test_sizes_that_no_scan_has_are_unknown(
    tmp_path: Path, voxels: NDArray[np.uint8], x_mm: float, y_mm: float, z_um: float
) -> None:
    scan = files.scan_jpeg([files.jpeg2000(bscan) for bscan in voxels], 40, 30)
    path = files.write(tmp_path / "a.fda", scan, files.parameters(x_mm, y_mm, z_um))
    exam = read_exam(path)
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.laterality is None
    assert exam.device is None
    assert exam.warnings == ("The file states no voxel spacing; sizes are shown in pixels.",)


def test_bscans_of_more_than_8_bits(tmp_path: Path) -> None:
    voxels = np.random.default_rng(6).integers(0, 65536, (3, 16, 24), dtype=np.uint16)
    exam = read_exam(files.write_fda(tmp_path / "a.fda", voxels))
    np.testing.assert_array_equal(exam.volume.voxels, voxels)


def test_the_other_decoder_gives_the_same(
    tmp_path: Path, voxels: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb = np.random.default_rng(4).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    path = files.write_fda(tmp_path / "a.fda", voxels, files.fundus_jpeg(rgb))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    exam = read_exam(path)
    np.testing.assert_array_equal(exam.volume.voxels, voxels)
    np.testing.assert_array_equal(exam.enface[0].pixels, rgb)


def test_a_scan_of_the_cornea_says_so(tmp_path: Path, voxels: NDArray[np.uint8]) -> None:
    scan = files.scan_raw(voxels.astype(np.uint16))
    exam = read_exam(files.write(tmp_path / "a.fds", scan, files.parameters(fixation=15)))
    assert any("front of the eye" in warning for warning in exam.warnings)


def test_large_claims_are_refused_at_once(tmp_path: Path) -> None:
    blank = files.jpeg2000(np.zeros((40, 30), np.uint8))
    _error(files.write(tmp_path / "a.fda", files.scan_jpeg([blank], 65535, 65535)))
    _error(files.write(tmp_path / "b.fda", files.scan_jpeg([blank] * 9000, 40, 30)))
    small = np.zeros((1, 4, 4), np.uint16)
    _error(files.write(tmp_path / "a.fds", files.scan_raw(small, frames=60000, size=2**31)))


def test_more_images_than_announced_are_an_error(tmp_path: Path, voxels: NDArray[np.uint8]) -> None:
    images = [files.jpeg2000(bscan) for bscan in voxels]
    path = files.write(tmp_path / "a.fda", files.scan_jpeg(images, 40, 30, frames=4))
    assert "holds more" in _error(path)


def test_identity_is_in_the_patient_alone(tmp_path: Path, voxels: NDArray[np.uint8]) -> None:
    path = files.write_fda(tmp_path / "a.fda", voxels)
    exam = read_exam(path)
    assert exam.patient.name == "Quagga^Zebedee"
    assert exam.patient.id == files.PATIENT_ID
    assert (exam.patient.birth_date, exam.patient.exam_date) == ("1943-11-27", "2024-02-29")
    said = _said(exam)
    path.write_bytes(path.read_bytes()[:-40])
    said += _error(path)
    for secret in ("Zebedee", "Quagga", "993311", "1943", "20240229", "2024-02-29", "5550123"):
        assert secret not in said


def test_large_raw_volumes_stay_in_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(topcon_images, "MEMORY_MAP_BYTES", 100)
    voxels = np.arange(6 * 20 * 30, dtype=np.uint16).reshape(6, 20, 30)
    exam = read_exam(files.write(tmp_path / "a.fds", files.scan_raw(voxels)))
    np.testing.assert_array_equal(exam.volume.voxels, voxels)
    base = exam.volume.voxels
    while base.base is not None and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_missing_frames_are_an_error(tmp_path: Path, voxels: NDArray[np.uint8]) -> None:
    images = [files.jpeg2000(bscan) for bscan in voxels]
    path = files.write(tmp_path / "a.fda", files.scan_jpeg(images, 40, 30, frames=6))
    assert "6 of 6 is missing" in _error(path)
    path = files.write(tmp_path / "b.fda", files.scan_jpeg(images, 40, 30, frames=2**31))
    _error(path)
    raw = voxels.astype(np.uint16)
    _error(files.write(tmp_path / "a.fds", files.scan_raw(raw, frames=6)))
    _error(files.write(tmp_path / "b.fds", files.scan_raw(raw, frames=6, size=6 * 40 * 30 * 2)))
    assert "no B-scans" in _error(files.write(tmp_path / "c.fda", files.who()))


def test_half_an_image_is_an_error(tmp_path: Path, voxels: NDArray[np.uint8]) -> None:
    # A decoder fills the rest with zeros without complaint.
    images = [files.jpeg2000(bscan) for bscan in voxels]
    images[2] = images[2][: len(images[2]) // 2]
    path = files.write(tmp_path / "a.fda", files.scan_jpeg(images, 40, 30))
    assert "B-scan 3" in _error(path)


def test_an_image_of_another_size_is_an_error(tmp_path: Path, voxels: NDArray[np.uint8]) -> None:
    images = [files.jpeg2000(bscan) for bscan in voxels]
    images[1] = files.jpeg2000(voxels[1, :, :20])
    path = files.write(tmp_path / "a.fda", files.scan_jpeg(images, 40, 30))
    message = _error(path)
    assert "B-scan 2" in message
    assert "40 x 20" in message


@pytest.mark.parametrize(
    ("offset", "code", "value"),
    [(8, ">II", (60000, 60000)), (24, ">II", (1, 1)), (40, ">H", (9000,)), (42, "B", (0x8F,))],
)
def test_monstrous_image_headers_are_refused(
    tmp_path: Path, voxels: NDArray[np.uint8], offset: int, code: str, value: tuple[int, ...]
) -> None:
    image = bytearray(files.jpeg2000(voxels[0]))
    struct.pack_into(code, image, offset, *value)
    side = (60000, 60000) if offset == 8 else (40, 30)
    path = files.write(tmp_path / "a.fda", files.scan_jpeg([bytes(image)], *side))
    _error(path)


def test_images_that_take_forever_are_refused(tmp_path: Path, voxels: NDArray[np.uint8]) -> None:
    image = bytearray(files.jpeg2000(np.tile(voxels[0], (20, 20))))
    coding = image.index(b"\xff\x52")
    struct.pack_into(">H", image, coding + 6, 65535)  # layers
    path = files.write(tmp_path / "a.fda", files.scan_jpeg([bytes(image)], 800, 600))
    assert "B-scan 1" in _error(path)


def test_a_broken_picture_is_left_out_with_a_word(
    tmp_path: Path, voxels: NDArray[np.uint8]
) -> None:
    header = struct.pack("<IIII", 12, 10, 24, 1) + b"\x02\x0a\0\0"
    broken = files.chunk("@IMG_FUNDUS", header + files.sized(b"no image at all"))
    exam = read_exam(files.write_fda(tmp_path / "a.fda", voxels, broken))
    assert exam.enface == ()
    assert any("IMG_FUNDUS" in warning for warning in exam.warnings)


def test_truncation_anywhere_is_one_error(tmp_path: Path, voxels: NDArray[np.uint8]) -> None:
    fda = files.write_fda(tmp_path / "a.fda", voxels, files.infrared_jpeg(voxels[0]))
    fds = files.write(tmp_path / "a.fds", files.who(), files.scan_raw(voxels.astype(np.uint16)))
    for path in (fda, fds):
        whole = path.read_bytes()
        read_exam(path)
        cuts = {
            *range(40),
            *np.random.default_rng(7).integers(40, len(whole), 60).tolist(),
            len(whole) - 1,
        }
        for cut in sorted(cuts):
            path.write_bytes(whole[:cut])
            _error(path)


def test_flipped_bytes_give_the_volume_or_one_error(
    tmp_path: Path, voxels: NDArray[np.uint8]
) -> None:
    path = files.write_fda(tmp_path / "a.fda", voxels, files.infrared_jpeg(voxels[0]))
    whole = path.read_bytes()
    rng = np.random.default_rng(8)
    messages = []
    for _ in range(150):
        mutated = bytearray(whole)
        for position in rng.integers(7, len(whole), 3):
            mutated[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(mutated)
        try:
            assert read_exam(path).volume.shape == voxels.shape
        except ExamReadError as error:
            messages.append(str(error))
    assert 0 < len(messages) < 150
    assert all(path.name in message for message in messages)
