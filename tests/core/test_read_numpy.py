from __future__ import annotations

import numpy as np
import pytest

from octcube_core.errors import ExamReadError
from octcube_core.readers import mapped, read_exam


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
    monkeypatch.setattr(mapped, "MEMORY_MAP_BYTES", 10)
    assert isinstance(read_exam(path).volume.voxels, np.memmap)
    wide = save(tmp_path / "wide.npy", np.ones((3, 4, 5), np.uint16))
    assert read_exam(wide).volume.value_range == (0, 65535)  # no voxel is looked at


def test_more_than_one_array_in_a_file_is_refused(tmp_path):
    path = save(tmp_path / "v.npy", np.ones((3, 4, 5), np.uint8))
    with path.open("ab") as file:
        np.save(file, np.ones((3, 4, 5), np.uint8))
    with pytest.raises(ExamReadError, match="more bytes than its array"):
        read_exam(path)


VOXELS = np.random.default_rng(8).integers(0, 256, (3, 8, 10), dtype=np.uint8)
LINES = np.array([[[row, 0], [row, 9]] for row in (1, 2, 3)], float)


def archive(path, compressed=False, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["volume", "oct", "images", "arr_0", "anything"])
def test_volume_of_an_archive(tmp_path, name, compressed):
    path = archive(tmp_path / "e.npz", compressed, **{name: VOXELS, "notes": np.arange(4)})
    exam = read_exam(path)
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.format == "NumPy archive"
    assert any("notes" in warning for warning in exam.warnings)


def test_everything_that_an_archive_states(tmp_path):
    path = archive(
        tmp_path / "e.npz",
        volume=VOXELS,
        oct=VOXELS[:, 0],
        faf=VOXELS[1],
        ir=VOXELS[0],
        spacing_mm=[0.1, np.nan, 0.006],
        ir_spacing_mm=[0.01, 0.02],
        laterality="left",
        scan_pattern="raster",
        device="Maker Model",
        value_range=[10, 99],
        locations=LINES,
    )
    exam = read_exam(path)
    assert exam.volume.spacing_mm == (0.1, None, 0.006)
    assert exam.volume.value_range == (10, 99)
    assert exam.modalities == ("OCT", "IR", "FAF", "OCT")
    assert exam.image("IR").spacing_mm == (0.01, 0.02)
    assert exam.image("OCT").shape == (3, 10)
    assert (exam.laterality, exam.scan_pattern, exam.device) == ("OS", "raster", "Maker Model")
    assert exam.enface[exam.locations.image].modality == "IR"
    np.testing.assert_array_equal(exam.locations.polylines, LINES)
    assert len(exam.warnings) == 1
    assert "axial" in exam.warnings[0]


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"spacing_mm": [0.1, 0.004]}, "spacing_mm"),
        ({"laterality": "both"}, "laterality"),
        ({"value_range": [5, 5]}, "value_range"),
        ({"locations": LINES}, "does not hold"),
        ({"locations": LINES[:2], "ir": VOXELS[0]}, "3 B-scans but 2"),
        ({"ir": VOXELS[0, 0]}, "IR image"),
    ],
)
def test_wrong_facts_are_named(tmp_path, facts, named):
    with pytest.raises(ExamReadError, match=named):
        read_exam(archive(tmp_path / "e.npz", volume=VOXELS, **facts))


@pytest.mark.parametrize("stated", [[120, 3.9, 11], [0.12, 3.9, 0.011], [1, 1, 1]])
def test_spacing_that_no_scan_has_is_unknown(tmp_path, stated):
    exam = read_exam(archive(tmp_path / "e.npz", volume=VOXELS, spacing_mm=stated))
    assert exam.volume.spacing_mm == (None, None, None)
    (told,) = exam.warnings
    assert " x ".join(f"{value:.4g}" for value in stated) in told
    assert "no OCT has" in told


def test_spacing_that_no_fundus_image_has_is_unknown(tmp_path):
    facts = {"spacing_mm": [0.7, 0.004, 0.006], "ir_spacing_mm": [11.4, 0.011]}
    path = archive(
        tmp_path / "e.npz",
        volume=VOXELS,
        ir=VOXELS[0],
        oct=VOXELS[:, 0],
        oct_spacing_mm=[0.7, 0.006],
        **facts,
    )
    exam = read_exam(path)
    assert exam.image("IR").spacing_mm == (None, None)
    assert exam.image("OCT").spacing_mm == (0.7, 0.006)  # its rows are B-scans
    assert exam.volume.spacing_mm == (0.7, 0.004, 0.006)
    (told,) = exam.warnings
    assert "11.4 x 0.011 mm for the IR image" in told


@pytest.mark.parametrize(
    ("highest", "white"),
    [(1, 255), (255, 255), (256, 1023), (1023, 1023), (1024, 4095), (4095, 4095), (4096, 65535)],
)
@pytest.mark.parametrize("kind", ["npy", "npz"])
def test_samples_of_few_bits_in_sixteen_are_not_shown_black(tmp_path, kind, highest, white):
    voxels = np.full((2, 4, 5), highest, np.uint16)
    voxels[0] = 0
    path = tmp_path / f"e.{kind}"
    exam = read_exam(save(path, voxels) if kind == "npy" else archive(path, volume=voxels))
    assert exam.volume.value_range == (0, white)
    np.testing.assert_array_equal(exam.volume.voxels, voxels)


def test_stated_black_and_white_count(tmp_path):
    path = archive(tmp_path / "e.npz", volume=VOXELS.astype(np.uint16), value_range=[0, 65535])
    assert read_exam(path).volume.value_range == (0, 65535)


@pytest.mark.parametrize("arrays", [{}, {"a": VOXELS, "b": VOXELS}, {"a": VOXELS[0]}])
def test_archive_without_exactly_one_volume(tmp_path, arrays):
    with pytest.raises(ExamReadError, match="must hold one array of three axes"):
        read_exam(archive(tmp_path / "e.npz", **arrays))


def test_pickles_in_an_archive_are_never_loaded(tmp_path):
    path = tmp_path / "e.npz"
    np.savez(path, volume=VOXELS, device=np.array([{}], object))
    with pytest.raises(ExamReadError, match="never read"):
        read_exam(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_damaged_archives_are_refused(tmp_path, compressed):
    path = archive(tmp_path / "e.npz", compressed, volume=VOXELS, laterality="OD")
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for index in range(60):
        damaged = bytearray(content)
        if index % 2:
            damaged = damaged[: int(rng.integers(len(content)))]
        else:
            damaged[rng.integers(len(content))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            exam = read_exam(path)
        except ExamReadError as error:
            assert str(error).endswith(".")  # noqa: PT017
            refused += 1
        else:  # a checksum guards all but names and dates
            np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert refused > 45
