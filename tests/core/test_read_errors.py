"""Whatever is wrong with a file, its reader gives one sentence, and never a wrong volume."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from octcube_core.errors import ExamReadError
from octcube_core.readers import detect_format, read_exam

VOXELS = np.random.default_rng(11).integers(0, 256, (4, 40, 48), dtype=np.uint8)


def dicom(**elements):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID = uid.OphthalmicTomographyImageStorage
    dataset.SOPInstanceUID = uid.generate_uid()
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = VOXELS.shape
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = VOXELS.tobytes()
    dataset["PixelData"].VR = "OB"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


def compressed(syntax):
    dataset = dicom()
    dataset.compress(syntax)
    return dataset


def save(dataset, path):
    dataset.save_as(path, enforce_file_format=True)
    return path


PAGES = {"metadata": None, "photometric": "minisblack"}  # else 4 pages pass for one of RGBA
WRITERS = {
    "volume.dcm": lambda path: save(dicom(), path),
    "rle.dcm": lambda path: save(compressed(uid.RLELossless), path),
    "jpeg2000.dcm": lambda path: save(compressed(uid.JPEG2000Lossless), path),
    "plain.tif": lambda path: tifffile.imwrite(path, VOXELS, **PAGES),
    "zip.tif": lambda path: tifffile.imwrite(path, VOXELS, **PAGES, compression="zlib"),
    "stack.ome.tif": lambda path: tifffile.imwrite(path, VOXELS, ome=True),
    "imagej.tif": lambda path: tifffile.imwrite(path, VOXELS, imagej=True),
    "volume.npy": lambda path: np.save(path, VOXELS),
    "bscan.png": lambda path: Image.fromarray(VOXELS[0]).save(path),
    "bscan.jpg": lambda path: Image.fromarray(VOXELS[0]).save(path),
    "bscan.bmp": lambda path: Image.fromarray(VOXELS[0]).save(path),
}


def one_sentence(error: ExamReadError) -> str:
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    assert "Error" not in text  # no class name of an exception
    return text


def refuse(path) -> str:
    with pytest.raises(ExamReadError) as caught:
        read_exam(path)
    return one_sentence(caught.value)


@pytest.mark.parametrize("name", WRITERS)
def test_truncation_never_gives_a_wrong_volume(tmp_path, name):
    whole = tmp_path / name
    WRITERS[name](whole)
    expected = read_exam(whole).volume.voxels
    content = whole.read_bytes()
    cut = tmp_path / f"cut_{name}"
    refused = 0
    for length in (*range(0, len(content), max(1, len(content) // 25)), len(content) - 40):
        cut.write_bytes(content[:length])
        try:
            voxels = read_exam(cut).volume.voxels
        except ExamReadError as error:
            assert cut.name in one_sentence(error)  # noqa: PT017
            refused += 1
        else:  # a few formats end with bytes that carry no voxels
            np.testing.assert_array_equal(voxels, expected)
            assert length > 0.9 * len(content)
    assert refused >= 24


@pytest.mark.parametrize("name", WRITERS)
def test_damaged_header_is_one_clear_error_or_a_volume(tmp_path, name, capfd):
    whole = tmp_path / name
    WRITERS[name](whole)
    content = bytearray(whole.read_bytes())
    rng = np.random.default_rng(len(content))
    for _ in range(40):
        damaged = content.copy()
        for position in rng.integers(0, min(len(content), 900), 6):
            damaged[position] = rng.integers(256)
        whole.write_bytes(damaged)
        try:
            read_exam(whole)
        except ExamReadError as error:
            one_sentence(error)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("stated", [3, 5])
def test_number_of_dicom_frames_must_match(tmp_path, stated):
    told = refuse(save(dicom(NumberOfFrames=stated), tmp_path / "scan.dcm"))
    assert f"states {stated} frames of 40 x 48 pixels but holds 4" in told


@pytest.mark.parametrize("stated", [3, 5])
@pytest.mark.parametrize("offset_table", [True, False])
def test_number_of_compressed_frames_must_match(tmp_path, stated, offset_table):
    dataset = compressed(uid.RLELossless)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=4))
    dataset.PixelData = encapsulate(frames, has_bot=offset_table)
    dataset.NumberOfFrames = stated
    assert f"states {stated} frames" in refuse(save(dataset, tmp_path / "scan.dcm"))


def test_fundus_photograph_is_pointed_out(tmp_path):
    dataset = dicom(SOPClassUID=uid.OphthalmicPhotography8BitImageStorage)
    assert "fundus image" in refuse(save(dataset, tmp_path / "scan.dcm"))


def test_dicom_without_images(tmp_path):
    dataset = dicom()
    del dataset.PixelData
    assert "holds no images" in refuse(save(dataset, tmp_path / "report.dcm"))


def test_undecodable_compression_is_named(tmp_path):
    dataset = dicom(PixelData=encapsulate([b"\0\0"] * 4))
    dataset.file_meta.TransferSyntaxUID = uid.MPEG2MPML
    dataset["PixelData"].is_undefined_length = True
    assert "compressed as MPEG2" in refuse(save(dataset, tmp_path / "film.dcm"))


@pytest.mark.parametrize("suffix", [".png", ".tif", ".dcm", ".npy", ".jpg", ".doc", ""])
def test_renamed_text_file(tmp_path, suffix):
    path = tmp_path / f"notes{suffix}"
    path.write_text("These are not the voxels you are looking for.\n" * 20)
    claims = suffix not in (".doc", "")
    problem = f"no {suffix} file inside" if claims else "of a format that is not supported"
    assert f"notes{suffix} is {problem}" in refuse(path)
    assert detect_format(path) is None


def test_renamed_text_file_among_the_bscans(tmp_path):
    Image.fromarray(VOXELS[0]).save(tmp_path / "oct_0.png")
    (tmp_path / "oct_1.png").write_text("no image")
    assert "oct_1.png cannot be read as an image" in refuse(tmp_path)


@pytest.mark.parametrize("name", ["bscan.png", "bscan.jpg"])
def test_truncated_bscan_in_a_folder_is_named(tmp_path, name):
    WRITERS[name](tmp_path / f"1_{name}")
    WRITERS[name](tmp_path / f"2_{name}")
    bad = tmp_path / f"2_{name}"
    bad.write_bytes(bad.read_bytes()[:-60])
    assert bad.name in refuse(tmp_path)


def test_missing_path(tmp_path):
    assert "does not exist" in refuse(tmp_path / "nowhere.dcm")
    assert detect_format(tmp_path / "nowhere.dcm") is None


def test_impossible_path():
    refuse("null\0byte.png")
    assert detect_format("null\0byte.png") is None


def test_empty_folder_and_folder_of_folders(tmp_path):
    assert "holds no B-scan images" in refuse(tmp_path)
    (tmp_path / "eye").mkdir()
    assert "holds no B-scan images" in refuse(tmp_path)


def test_folder_without_a_name(tmp_path, monkeypatch):
    (tmp_path / "left_eye").mkdir()
    monkeypatch.chdir(tmp_path / "left_eye")
    assert refuse(".").startswith("left_eye holds no B-scan images")


def test_folder_with_fundus_images_only(tmp_path):
    WRITERS["bscan.png"](tmp_path / "ir.png")
    assert "holds no B-scan images" in refuse(tmp_path)


def test_empty_file(tmp_path):
    path = tmp_path / "empty.dcm"
    path.touch()
    assert "empty.dcm is empty" in refuse(path)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipe_does_not_block(tmp_path):
    os.mkfifo(tmp_path / "pipe.dcm")
    assert "pipe.dcm" in refuse(tmp_path / "pipe.dcm")


@pytest.mark.parametrize("name", ["volume.dcm", "plain.tif", "volume.npy", "bscan.png"])
def test_no_permission(tmp_path, monkeypatch, name):
    path = tmp_path / name
    WRITERS[name](path)

    def forbidden(*args, **kwargs):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "open", forbidden)  # tests may run as root, whom chmod stops not
    assert f"{name} may not be read" in refuse(path)
    assert detect_format(path) is None


def test_no_permission_for_a_folder(tmp_path, monkeypatch):
    def forbidden(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "iterdir", forbidden)
    assert "may not be read" in refuse(tmp_path)


def test_real_container_cut_to_its_head(real_data):
    assert "truncated.E2E" in refuse(real_data / "heidelberg_e2e" / "truncated.E2E")


@pytest.mark.parametrize("name", WRITERS)
def test_content_decides_when_the_suffix_is_missing(tmp_path, name):
    WRITERS[name](tmp_path / name)
    (tmp_path / name).rename(tmp_path / "0001")
    assert read_exam(str(tmp_path / "0001")).source == tmp_path / "0001"
    assert detect_format(tmp_path / "0001") is not None


def test_library_loggers_are_left_as_they_were(tmp_path):
    WRITERS["plain.tif"](tmp_path / "plain.tif")
    before = list(logging.getLogger("tifffile").handlers)
    read_exam(tmp_path / "plain.tif")
    (tmp_path / "plain.tif").write_bytes((tmp_path / "plain.tif").read_bytes()[:50])
    refuse(tmp_path / "plain.tif")
    assert logging.getLogger("tifffile").handlers == before


def test_importing_the_readers_loads_nothing_heavy():
    heavy = "torch napari qtpy PyQt6 pydicom tifffile PIL"
    code = (
        "import sys, octcube_core.readers; "
        f"print([name for name in '{heavy}'.split() if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.strip() == "[]"
