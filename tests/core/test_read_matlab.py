from __future__ import annotations

import struct
import sys
import zlib

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from octcube_core.errors import ExamReadError
from octcube_core.readers import mapped, read_exam
from octcube_core.readers.failures import NO_SPACING

VOXELS = np.random.default_rng(2).integers(0, 256, (3, 20, 30), dtype=np.uint8)
IMAGES = VOXELS.transpose(1, 2, 0)  # MATLAB: depth, width, B-scan
DUKE = {"images": IMAGES.astype(float), "layerMaps": np.zeros((9, 30, 3)), "Age": 71.0}


@pytest.fixture
def write(tmp_path):
    def write(name="scan.mat", compressed=False, version="5", **variables):
        savemat(tmp_path / name, variables, do_compression=compressed, format=version)
        return tmp_path / name

    return write


def write_hdf5(path, fill):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        fill(file)
    with path.open("r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\0\2IM")
    return path


def refuse(path):
    with pytest.raises(ExamReadError) as caught:
        read_exam(path)
    text = str(caught.value)
    assert path.name in text
    assert text.endswith(".")
    return text


def test_real_circle(real_data):
    path = real_data / "mat" / "circle_496x768.mat"
    exam = read_exam(path)
    assert exam.volume.shape == (1, 496, 768)
    assert exam.volume.voxels.dtype == np.uint8
    assert exam.volume.spacing_mm == (
        None,
        pytest.approx(0.0038716697599738836),
        pytest.approx(0.014241395518183708),
    )
    assert (exam.laterality, exam.scan_pattern, exam.format) == ("OD", "circle", "MATLAB")
    assert exam.warnings == ()
    slo = exam.image("IR")
    np.testing.assert_array_equal(slo.pixels, loadmat(path)["SLO"])
    assert slo.spacing_mm == (pytest.approx(0.011332942172884941),) * 2
    # The retina is visible: reflectivity is shown as Heidelberg does, not on a linear scale.
    assert 20 < exam.volume.voxels.mean() < 120


def test_real_circle_lies_around_the_disc_from_temporal_over_superior(real_data):
    (line,) = read_exam(real_data / "mat" / "circle_496x768.mat").locations.polylines
    scale = 0.011332942172884941
    centre = np.array([3.802910407888703, 5.262956368060259]) / scale
    assert line.shape == (768, 2)
    np.testing.assert_allclose(
        np.hypot(*(line - centre).T), (5.262956368060259 - 3.524483038739709) / scale
    )
    steps = np.hypot(*np.diff(line, axis=0).T) * scale
    np.testing.assert_allclose(steps, 0.014241395518183708, rtol=2e-3)  # ScaleX
    quarter = line[192] - centre
    assert line[0, 1] < centre[1] - 100  # temporal of a right eye is left
    assert quarter[0] < -100  # then superior
    assert np.hypot(*(line[0] - line[-1])) < 2  # all around


def test_patient_of_the_real_file_is_nowhere_else(real_data):
    exam = read_exam(real_data / "mat" / "circle_496x768.mat")
    assert exam.patient.id == "spectralis_2763"
    assert exam.patient.exam_date == "2010-07-13"
    assert "2763" not in repr(exam)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_duke_volume_among_other_arrays(write, compressed, dtype):
    path = write(compressed=compressed, **(DUKE | {"images": IMAGES.astype(dtype)}))
    exam = read_exam(path)
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.warnings == (NO_SPACING,)
    assert exam.laterality is None


def test_the_one_array_of_three_axes(write):
    exam = read_exam(write(some_name=IMAGES, other=np.eye(30), text="left", cell=[[1, "x"]]))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)


def test_several_candidates_are_named(write):
    told = refuse(write(first=IMAGES, second=IMAGES))
    assert "(first, second)" in told
    assert "rename" in told


def test_axes_option(write):
    exam = read_exam(write(images=VOXELS), axes="zyx")
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)


def test_fundus_images_by_their_names(write):
    slo = np.random.default_rng(0).integers(0, 256, (40, 41), dtype=np.uint8)
    exam = read_exam(write(images=IMAGES, slo=slo))
    np.testing.assert_array_equal(exam.image("IR").pixels, slo)


@pytest.mark.parametrize("variables", [{}, {"text": "x"}, {"table": np.eye(3)}, {"z": 1j * IMAGES}])
def test_no_volume(write, variables):
    assert "holds no numeric array" in refuse(write(**variables))


def test_matlab_4_is_one_bscan(write):
    exam = read_exam(write(version="4", bscan=VOXELS[0], age=60.0))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS[:1])


def heyex(pattern, **more):
    bscans = np.random.default_rng(1).random((20, 30, 3)) ** 8
    header = {
        **{"SizeX": 30, "SizeZ": 20, "NumBScans": 3, "ScaleX": 0.011, "ScaleZ": 0.0039},
        **{"Distance": 0.06, "ScanPattern": pattern, "ScanPosition": "OS  "},
        **{"SizeXSlo": 40, "SizeYSlo": 50, "ScaleXSlo": 0.01, "ScaleYSlo": 0.02},
    }
    places = {
        **{"StartX": [0.1, 0.1, 0.1], "StartY": [0.2, 0.26, 0.32]},
        **{"EndX": [0.43, 0.43, 0.43], "EndY": [0.2, 0.26, 0.32]},
    }
    return {
        "header": header | more,
        "BScanHeader": places,
        "slo": np.zeros((50, 40), np.uint8),
        "BScans": bscans,
    }


@pytest.mark.parametrize("compressed", [False, True])
def test_structs_of_heyex_import(write, compressed):
    exam = read_exam(write(compressed=compressed, **heyex(3)))
    assert exam.volume.shape == (3, 20, 30)
    assert exam.volume.spacing_mm == (0.06, 0.0039, 0.011)
    assert (exam.laterality, exam.scan_pattern) == ("OS", "raster")
    assert exam.image("IR").spacing_mm == (0.02, 0.01)
    assert exam.warnings == ()
    np.testing.assert_allclose(exam.locations.polylines[1], [[13, 10], [13, 43]])


@pytest.mark.parametrize("pattern", [1, 2, 5])
def test_only_rasters_have_a_distance_between_bscans(write, pattern):
    assert read_exam(write(**heyex(pattern))).volume.spacing_mm[0] is None


def test_distance_that_the_lines_contradict_is_unknown(write):
    exam = read_exam(write(**heyex(3, Distance=0.12)))
    assert exam.volume.spacing_mm == (None, 0.0039, 0.011)
    assert exam.scan_pattern == "raster"
    (told,) = exam.warnings
    assert "0.12 mm" in told
    assert "0.06 mm" in told


def test_distance_follows_from_the_lines_where_none_is_stated(write):
    exam = read_exam(write(**heyex(3, Distance=0.0)))
    assert exam.volume.spacing_mm == (pytest.approx(0.06), 0.0039, 0.011)


def test_radial_scan_whose_lines_lie_side_by_side(write):
    exam = read_exam(write(**heyex(5)))
    assert (exam.scan_pattern, exam.volume.spacing_mm[0]) == ("raster", None)
    assert "states a radial scan" in exam.warnings[0]


def test_header_of_another_volume_says_nothing(write):
    exam = read_exam(write(**heyex(3, SizeX=768)))
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.locations is None


def test_circle_of_another_size_than_its_pixels_is_doubted(write):
    exam = read_exam(write(**heyex(2)))
    assert exam.scan_pattern == "circle"
    assert "measure with care" in exam.warnings[-1]


def test_circle_of_an_unknown_eye_has_no_direction(write):
    exam = read_exam(write(**heyex(2, ScanPosition="")))
    assert exam.locations is None
    assert "does not state the eye" in exam.warnings[-1]


@pytest.mark.parametrize("scale", [0.0, -0.01, 3.9, np.nan])
def test_implausible_spacing_is_unknown(write, scale):
    exam = read_exam(write(**heyex(3, ScaleZ=scale)))
    assert exam.volume.spacing_mm == (0.06, None, 0.011)


def test_missing_bscan_variable(write):
    told = refuse(write(B0=VOXELS[0], B1=VOXELS[1], B3=VOXELS[2]))
    assert "lacks one of the B-scans" in told


def test_matlab_73(tmp_path):
    def fill(file):
        data = VOXELS.transpose(0, 2, 1)  # HDF5 lists MATLAB's axes in reverse
        file.create_dataset("images", data=data, chunks=(2, 7, 9), compression="gzip", shuffle=True)
        file.create_dataset("Age", data=np.ones((1, 1)))
        file.create_group("#refs#").create_dataset("a", data=data)

    exam = read_exam(write_hdf5(tmp_path / "scan.mat", fill))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.format == "MATLAB"


@pytest.mark.parametrize("chunks", [None, (1, 30, 20)])
def test_matlab_73_as_it_lies(tmp_path, chunks):
    def fill(file):
        file.create_dataset("x", data=VOXELS.transpose(0, 2, 1).astype(">u2"), chunks=chunks)

    exam = read_exam(write_hdf5(tmp_path / "scan.mat", fill))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)


def test_missing_chunks_are_no_black_bscans(tmp_path):
    def fill(file):
        images = file.create_dataset("images", (3, 30, 20), "u1", chunks=(1, 30, 20))
        images[:2] = 7

    refuse(write_hdf5(tmp_path / "scan.mat", fill))
    refuse(write_hdf5(tmp_path / "none.mat", lambda f: f.create_dataset("x", (9, 9, 9), "u1")))


def test_values_in_other_files_are_never_followed(tmp_path):
    h5py = pytest.importorskip("h5py")
    (tmp_path / "secret").write_bytes(bytes(9**3))

    def external(file):
        file.create_dataset("x", (9, 9, 9), "u1", external=[(str(tmp_path / "secret"), 0, 729)])

    assert "other files" in refuse(write_hdf5(tmp_path / "external.mat", external))
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = VOXELS

    def link(file):
        file["x"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")

    assert "no numeric array" in refuse(write_hdf5(tmp_path / "link.mat", link))


def test_matlab_73_without_h5py_names_the_extra(tmp_path, monkeypatch):
    path = write_hdf5(tmp_path / "scan.mat", lambda f: f.create_dataset("x", data=VOXELS))
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "napari-octcube[formats]" in refuse(path)


def test_large_uncompressed_volumes_stay_on_disk(write, monkeypatch):
    path = write(images=IMAGES)
    monkeypatch.setattr(mapped, "MEMORY_MAP_BYTES", 100)
    voxels = read_exam(path).volume.voxels
    assert isinstance(voxels, np.memmap)
    np.testing.assert_array_equal(voxels, VOXELS)


def mutated(content, seed):
    rng = np.random.default_rng(seed)
    damaged = bytearray(content)
    if seed % 3 == 0:
        return damaged[: int(rng.integers(len(content)))]
    for position in rng.integers(0, min(len(content), 700) if seed % 3 == 1 else len(content), 5):
        damaged[position] = rng.integers(256)
    return damaged


def files(write, tmp_path):
    def fill(file):
        data = VOXELS.transpose(0, 2, 1)
        file.create_dataset("images", data=data, chunks=(2, 7, 9), compression="gzip")

    return [
        write("plain.mat", **DUKE, **heyex(3)),
        write("zip.mat", compressed=True, **DUKE, **heyex(3)),
        write("four.mat", version="4", bscan=VOXELS[0]),
        write_hdf5(tmp_path / "seven.mat", fill),
    ]


def test_damaged_files_give_one_sentence_or_a_volume(write, tmp_path, capfd):
    refused = 0
    for path in files(write, tmp_path):
        content, expected = path.read_bytes(), read_exam(path).volume.voxels
        for seed in range(45):
            damaged = mutated(content, seed)
            path.write_bytes(damaged)
            try:
                voxels = read_exam(path).volume.voxels
            except ExamReadError as error:
                assert str(error).endswith(".")  # noqa: PT017
                assert "\n" not in str(error)  # noqa: PT017
                refused += 1
            else:
                if len(damaged) < len(content):
                    np.testing.assert_array_equal(voxels, expected)
    assert refused > 100
    assert capfd.readouterr().err == ""


def element(kind, content):
    return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def matrix(dims, stored, name=b"images"):
    """Bytes of a uint8 matrix of stated sizes, whatever it holds."""
    body = element(6, struct.pack("<II", 9, 0)) + element(5, struct.pack("<3i", *dims))
    body += element(1, name) + element(2, stored)
    return element(14, body)


@pytest.mark.parametrize("dims", [(5, 4, 4), (4, 4, 3), (2**20, 2**20, 9), (-4, -4, 4)])
@pytest.mark.parametrize("compressed", [False, True])
def test_sizes_must_fit_the_bytes(tmp_path, dims, compressed):
    content = matrix(dims, bytes(64))
    content = element(15, zlib.compress(content)) if compressed else content
    (tmp_path / "lies.mat").write_bytes(b"MATLAB 5.0".ljust(124) + b"\0\1IM" + content)
    refuse(tmp_path / "lies.mat")
