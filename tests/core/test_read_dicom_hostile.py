"""DICOM files that lie: one sentence, little memory, no hang, never a wrong volume."""

from __future__ import annotations

import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from dicom_files import VOXELS, infrared, opt, refuse, save, scan_on
from pydicom import uid
from pydicom.dataset import Dataset

from octcube_core.errors import ExamReadError
from octcube_core.readers import read_exam
from tests.fuzz.memory import peak_bytes

MB = 1024**2


def peak_mb():
    return peak_bytes() / MB


@pytest.mark.parametrize(
    "elements",
    [
        {"Rows": 0},
        {"Columns": 0},
        {"NumberOfFrames": 0},
        {"NumberOfFrames": -3},
        {"NumberOfFrames": 2**31 - 1},
        {"Rows": 65535, "Columns": 65535},
        {"Columns": 47},
        {"Rows": 39},
        {"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0},
        {"BitsAllocated": 64, "BitsStored": 64, "HighBit": 63},
        {"BitsAllocated": 16},
        {"BitsStored": 0},
        {"BitsStored": 12, "HighBit": 11},
        {"SamplesPerPixel": 3},
        {"SamplesPerPixel": 0},
        {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"},
        {"PhotometricInterpretation": "RGB"},
    ],
    ids=str,
)
def test_impossible_layouts(tmp_path, elements):
    refuse(save(opt(**elements), tmp_path / "scan.dcm"))


def deflated(dataset, path):
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    return save(dataset, path)


def test_deflated_file(tmp_path):
    localizer = infrared()
    deflated(localizer, tmp_path / "ir.dcm")
    lines = [(10.5 + 8 * i, 12.5, 10.5 + 8 * i, 59.5) for i in range(4)]
    exam = read_exam(deflated(scan_on(localizer, lines, VOXELS), tmp_path / "scan.dcm"))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.modalities == ("OCT", "IR")


def test_deflated_bomb(tmp_path):
    path = deflated(opt(), tmp_path / "bomb.dcm")
    content = path.read_bytes()
    (length,) = struct.unpack_from("<L", content, 140)
    start = 144 + length
    head = zlib.decompressobj(-15).decompress(content[start:])
    packer = zlib.compressobj(1, wbits=-15)
    parts = [content[:start], packer.compress(head[: -VOXELS.nbytes - 4] + b"\xff\xff\xff\x7f")]
    parts += [packer.compress(bytes(64 * MB)) for _ in range(6)]
    path.write_bytes(b"".join([*parts, packer.flush()]))
    assert path.stat().st_size < 4 * MB
    code = (
        "import sys\n"
        "from octcube_core.readers import read_exam\n"
        "try: read_exam(sys.argv[1])\n"
        "except Exception as error: print(error)\n"
        "from tests.fuzz.memory import peak_bytes\n"
        "print(peak_bytes() >> 20)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=30
    )
    told, peak = result.stdout.strip().splitlines()
    assert "bomb.dcm inflates to more than 256 MB" in told
    assert int(peak) < 900


def test_deflated_and_cut_off(tmp_path):
    path = deflated(opt(), tmp_path / "scan.dcm")
    path.write_bytes(path.read_bytes()[:-100])
    refuse(path, "truncated")


@pytest.mark.parametrize("tag", [0x00400555, 0x52009229])
def test_sequences_nested_without_end(tmp_path, tag):
    path = save(opt(SharedFunctionalGroupsSequence=None), tmp_path / "scan.dcm")
    content = path.read_bytes()
    group, element = tag >> 16, tag & 0xFFFF
    opening = struct.pack("<HH2sHL", group, element, b"SQ", 0, 0xFFFFFFFF)
    inner = struct.pack("<HH2sHL", 0x0022, 0x0031, b"SQ", 0, 0xFFFFFFFF)
    item_start = struct.pack("<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF)
    item_end = struct.pack("<HHL", 0xFFFE, 0xE00D, 0)
    end = struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)
    bomb = opening + item_start + (inner + item_start) * 5000 + (item_end + end) * 5001
    start = content.index(struct.pack("<HH", 0x7FE0, 0x0010))
    path.write_bytes(content[:start] + bomb + content[start:])
    refuse(path)


@pytest.mark.parametrize("length", [0xFFFFFFF0, 0x7FFFFFFF, 0x00100000])
def test_lengths_that_lie(tmp_path, length):
    path = save(opt(), tmp_path / "scan.dcm")
    content = path.read_bytes()
    for tag in (0x7FE00010, 0x52009229):
        start = content.index(struct.pack("<HH", tag >> 16, tag & 0xFFFF)) + 8
        path.write_bytes(content[:start] + struct.pack("<L", length) + content[start + 4 :])
        refuse(path)


def test_pixels_of_undefined_length_without_frames(tmp_path):
    path = save(opt(), tmp_path / "scan.dcm")
    content = path.read_bytes()
    start = content.index(struct.pack("<HH", 0x7FE0, 0x0010)) + 8
    path.write_bytes(content[:start] + b"\xff\xff\xff\xff" + content[start + 4 :])
    refuse(path)


def test_float_pixels(tmp_path):
    values = VOXELS.astype(np.float32) / 255
    dataset = opt(values.view(np.uint32), BitsAllocated=32, BitsStored=None, HighBit=None)
    del dataset.PixelData
    dataset.FloatPixelData = values.tobytes()
    exam = read_exam(save(dataset, tmp_path / "scan.dcm"))
    assert exam.volume.voxels.dtype == np.float32
    np.testing.assert_array_equal(exam.volume.voxels, values)
    dataset.FloatPixelData = np.full_like(values, np.nan).tobytes()
    refuse(save(dataset, tmp_path / "scan.dcm"))


def test_32_bit_integers(tmp_path):
    dataset = opt(VOXELS.astype(np.uint32) * 100)
    exam = read_exam(save(dataset, tmp_path / "scan.dcm"))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS.astype(np.uint16) * 100)


def test_values_above_the_high_bit(tmp_path):
    dataset = opt(VOXELS.astype(np.uint16) << 8, BitsStored=8, HighBit=15)
    exam = read_exam(save(dataset, tmp_path / "scan.dcm"))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)
    assert exam.volume.black_white == (0, 255)


def test_big_endian(tmp_path):
    dataset = Dataset()
    dataset.update(opt(VOXELS.astype(np.uint16) * 256))
    dataset.file_meta = opt().file_meta
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRBigEndian
    dataset["PixelData"].VR = "OB"  # bytes as they are
    dataset.PixelData = (VOXELS.astype(np.uint16) * 256).astype(">u2").tobytes()
    path = tmp_path / "scan.dcm"
    dataset.save_as(path, little_endian=False, implicit_vr=False, enforce_file_format=True)
    exam = read_exam(path)
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS.astype(np.uint16) * 256)
    assert exam.volume.spacing_mm == (0.122, 0.00387, 0.0058)


def test_large_volume_is_mapped_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("octcube_core.readers.dicom_pixels.MEMORY_MAP_BYTES", VOXELS.nbytes - 1)
    for voxels in (VOXELS, VOXELS.astype(np.uint16) * 200):
        exam = read_exam(save(opt(voxels), tmp_path / "scan.dcm"))
        assert isinstance(exam.volume.voxels, np.memmap)
        np.testing.assert_array_equal(exam.volume.voxels, voxels)


def test_flipped_bytes_give_a_sentence_or_a_volume(tmp_path, capfd):
    localizer = infrared()
    save(localizer, tmp_path / "ir.dcm")
    lines = [(10.5 + 8 * i, 12.5, 10.5 + 8 * i, 59.5) for i in range(4)]
    path = save(scan_on(localizer, lines, VOXELS), tmp_path / "scan.dcm")
    content = path.read_bytes()
    rng = np.random.default_rng(1)
    opened = 0
    for _ in range(60):
        damaged = bytearray(content)
        for position in rng.integers(132, len(content) - VOXELS.nbytes, 3):
            damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            exam = read_exam(path)
        except ExamReadError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            opened += 1
            assert exam.volume.voxels.size == VOXELS.size
    assert 5 < opened < 60
    assert capfd.readouterr().err == ""
