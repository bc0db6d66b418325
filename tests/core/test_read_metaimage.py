from __future__ import annotations

import zlib

import numpy as np
import pytest

from octcube_core.errors import ExamReadError
from octcube_core.readers import mapped, read_exam
from octcube_core.readers.failures import NO_SPACING

VOXELS = np.random.default_rng(4).integers(0, 65536, (4, 20, 30), dtype=np.uint16)
# As RETOUCH writes it: (width, depth, B-scans), the fastest first, in mm.
RETOUCH = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 0 0 0
CenterOfRotation = 0 0 0
AnatomicalOrientation = RAI
ElementSpacing = 0.0117188 0.00195312 0.046875
DimSize = 30 20 4
ElementType = MET_USHORT
ElementDataFile = oct.raw
"""


def write(folder, header=RETOUCH, name="oct.mhd", data=None, **changes):
    for old, new in changes.items():
        lines = [line for line in header.splitlines() if not line.startswith(f"{old} =")]
        added = [f"{old} = {new}"] if new is not None else []
        last = [line for line in lines if line.startswith("ElementDataFile")]
        rest = [line for line in lines if line not in last]
        header = "\n".join([*rest, *(added + last if old != "ElementDataFile" else added)]) + "\n"
    path = folder / name
    path.write_text(header)
    if data is None:
        (folder / "oct.raw").write_bytes(VOXELS.tobytes())
    elif data:
        with path.open("ab") as file:
            file.write(data)
    return path


def refuse(path):
    with pytest.raises(ExamReadError) as caught:
        read_exam(path)
    text = str(caught.value)
    assert path.name in text
    assert text.endswith(".")
    assert "\n" not in text
    return text


def test_retouch(tmp_path):
    exam = read_exam(write(tmp_path))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.volume.spacing_mm == (0.046875, 0.00195312, 0.0117188)
    assert (exam.format, exam.warnings) == ("MetaImage", ())
    assert exam.scan_pattern is None


@pytest.mark.parametrize("name", ["a.mhd", "a.mha"])
@pytest.mark.parametrize("compressed", [False, True])
def test_what_simpleitk_writes(tmp_path, name, compressed):
    itk = pytest.importorskip("SimpleITK")
    image = itk.GetImageFromArray(VOXELS)
    image.SetSpacing((0.0117, 0.002, 0.047))
    itk.WriteImage(image, str(tmp_path / name), compressed)
    exam = read_exam(tmp_path / name)
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    np.testing.assert_allclose(exam.volume.spacing_mm, (0.047, 0.002, 0.0117))
    read_back = itk.GetArrayFromImage(itk.ReadImage(str(tmp_path / name)))
    np.testing.assert_array_equal(read_back, exam.volume.voxels)


@pytest.mark.parametrize("stated", [None, "1 1 1"])
def test_spacing_that_is_not_stated_is_unknown(tmp_path, stated):
    exam = read_exam(write(tmp_path, ElementSpacing=stated))
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.warnings == (NO_SPACING,)


def test_micrometres_taken_for_millimetres_are_not_shown(tmp_path):
    exam = read_exam(write(tmp_path, ElementSpacing="11.7 1.95 46.9"))
    assert exam.volume.spacing_mm == (None, None, None)
    assert exam.warnings == (
        "The file states a voxel of 46.9 x 1.95 x 11.7 mm (B-scan, depth, width), which no OCT has; sizes are shown "
        "in pixels.",
    )


@pytest.mark.parametrize("stated", ["0 1 1", "-1 1 1", "nan 1 1", "1 1", "one two three"])
def test_impossible_spacing(tmp_path, stated):
    assert "ElementSpacing" in refuse(write(tmp_path, ElementSpacing=stated))


def test_axes_option_takes_the_spacing_along(tmp_path):
    exam = read_exam(write(tmp_path), axes="yzx")
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS.transpose(1, 0, 2))
    assert exam.volume.spacing_mm == (0.00195312, 0.046875, 0.0117188)


def test_big_endian(tmp_path):
    path = write(tmp_path, BinaryDataByteOrderMSB="True")
    np.testing.assert_array_equal(read_exam(path).volume.voxels, VOXELS.byteswap())


def test_one_bscan(tmp_path):
    path = write(tmp_path, NDims=2, DimSize="30 80", ElementSpacing="0.01 0.004")
    exam = read_exam(path)
    assert exam.volume.shape == (1, 80, 30)
    assert exam.volume.spacing_mm == (None, 0.004, 0.01)


def test_list_and_pattern_of_files(tmp_path):
    for index, bscan in enumerate(VOXELS, 1):
        (tmp_path / f"b{index:03d}.raw").write_bytes(bscan.tobytes())
    listed = "LIST\n" + "\n".join(f"b{index:03d}.raw" for index in range(1, 5))
    for stated in (listed, "b%03d.raw 1 4 1"):
        exam = read_exam(write(tmp_path, ElementDataFile=stated))
        np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    (tmp_path / "b003.raw").unlink()
    assert "b003.raw" in refuse(write(tmp_path, ElementDataFile="b%03d.raw 1 4 1"))
    (tmp_path / "b003.raw").write_bytes(b"")
    assert "truncated" in refuse(write(tmp_path, ElementDataFile="b%03d.raw 1 4 1"))
    short = "LIST\nb001.raw\nb002.raw\nb004.raw"
    assert "3 files for 4" in refuse(write(tmp_path, ElementDataFile=short))


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../oct.raw", "sub/../../oct.raw", "..\\oct.raw", "C:\\oct.raw"]
)
def test_files_elsewhere_are_never_opened(tmp_path, name):
    folder = tmp_path / "case"
    folder.mkdir()
    (tmp_path / "oct.raw").write_bytes(VOXELS.tobytes())
    assert "outside its folder" in refuse(write(folder, ElementDataFile=name))


def test_link_that_leads_elsewhere(tmp_path):
    folder = tmp_path / "case"
    folder.mkdir()
    path = write(folder)
    (folder / "oct.raw").rename(tmp_path / "moved.raw")
    (folder / "oct.raw").symlink_to(tmp_path / "moved.raw")
    assert "no file of its folder" in refuse(path)


def test_missing_data_file_is_named(tmp_path):
    path = write(tmp_path)
    (tmp_path / "oct.raw").unlink()
    assert "needs the file oct.raw" in refuse(path)


@pytest.mark.parametrize(("size", "word"), [(4799, "truncated"), (4802, "header states")])
def test_data_file_of_another_length(tmp_path, size, word):
    path = write(tmp_path)
    (tmp_path / "oct.raw").write_bytes((VOXELS.tobytes() * 2)[:size])
    assert word in refuse(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"DimSize": "30 20"},
        {"DimSize": "30 -20 4"},
        {"DimSize": "many"},
        {"DimSize": "99999999 99999999 99999"},
        {"NDims": "x"},
        {"NDims": "999999999"},
        {"ElementType": "MET_OTHER"},
        {"ElementNumberOfChannels": "3"},
        {"BinaryData": "False"},
        {"ElementDataFile": ""},
        {"ElementDataFile": "%999999d.raw 1 4 1"},
        {"ElementDataFile": "b%03d.raw 1 999999999 1"},
        {"CompressedData": "True"},
    ],
)
def test_headers_that_lie(tmp_path, changes):
    refuse(write(tmp_path, **changes))


def test_compressed_data_cut_short(tmp_path):
    packed = zlib.compress(VOXELS.tobytes())
    for data, whole in ((packed, True), (packed[:-9], False), (packed[:-2], False)):
        path = write(
            tmp_path, name="o.mha", data=data, CompressedData="True", ElementDataFile="LOCAL"
        )
        if whole:
            np.testing.assert_array_equal(read_exam(path).volume.voxels, VOXELS)
        else:
            refuse(path)


def test_large_volumes_stay_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "MEMORY_MAP_BYTES", 100)
    voxels = read_exam(write(tmp_path)).volume.voxels
    assert isinstance(voxels, np.memmap)
    np.testing.assert_array_equal(voxels, VOXELS)


def test_damaged_headers_give_one_sentence_or_a_volume(tmp_path):
    path = write(tmp_path)
    content = path.read_bytes()
    rng = np.random.default_rng(9)
    refused = 0
    for _ in range(100):
        damaged = bytearray(content)
        for position in rng.integers(0, len(content), 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            voxels = read_exam(path).volume.voxels
        except ExamReadError as error:
            assert str(error).endswith(".")  # noqa: PT017
            refused += 1
        else:
            assert voxels.nbytes in (VOXELS.nbytes, VOXELS.nbytes * 2)
    assert refused > 40
