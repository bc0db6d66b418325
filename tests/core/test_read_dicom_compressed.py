"""Compressed DICOM frames that are cut, split, missing or lie about their size."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from dicom_files import VOXELS, compressed, refuse, save
from pydicom import uid
from pydicom.encaps import encapsulate, generate_frames

from octcube_core.readers import read_exam
from octcube_core.readers.dicom_codestream import claimed_size
from tests.fuzz.memory import peak_bytes

MB = 1024**2
COMPRESSED = [uid.RLELossless, uid.JPEG2000Lossless, uid.JPEGLSLossless]


@pytest.mark.parametrize("syntax", COMPRESSED)
@pytest.mark.parametrize(
    "elements",
    [
        {"Rows": 60000, "Columns": 60000, "NumberOfFrames": 3},
        {"Rows": 8000, "Columns": 8000},
        {"NumberOfFrames": 100000},
        {"Rows": 41},
    ],
    ids=str,
)
def test_compressed_frames_that_claim_more(tmp_path, syntax, elements):
    before = peak_bytes()
    refuse(save(compressed(syntax, **elements), tmp_path / "scan.dcm"))
    assert peak_bytes() - before < 700 * MB


def huge_jpeg_2000(frame):
    start = frame.index(b"\xff\x4f\xff\x51") + 8
    return frame[:start] + struct.pack(">2L", 60000, 60000) + frame[start + 8 :]


def huge_jpeg_ls(frame):
    start = frame.index(b"\xff\xf7") + 5
    return frame[:start] + struct.pack(">2H", 60000, 60000) + frame[start + 4 :]


@pytest.mark.parametrize(
    ("syntax", "enlarge"),
    [(uid.JPEG2000Lossless, huge_jpeg_2000), (uid.JPEGLSLossless, huge_jpeg_ls)],
)
def test_codestream_that_claims_more_than_the_header(tmp_path, syntax, enlarge):
    dataset = compressed(syntax)
    frames = [enlarge(frame) for frame in generate_frames(dataset.PixelData, number_of_frames=4)]
    dataset.PixelData = encapsulate(frames)
    before = peak_bytes()
    refuse(save(dataset, tmp_path / "scan.dcm"), "holds others")
    assert peak_bytes() - before < 100 * MB


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_frame_without_its_end(tmp_path, syntax):
    dataset = compressed(syntax)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=4))
    frames[2] = frames[2][: len(frames[2]) // 2]
    dataset.PixelData = encapsulate(frames)
    refuse(save(dataset, tmp_path / "scan.dcm"), "incomplete frame")


@pytest.mark.parametrize("offsets", [(0, 0, 0, 0), (0, 8, 16, 24), (9, 8, 7, 6), (2**31,) * 4])
def test_offset_table_that_lies_changes_nothing(tmp_path, offsets):
    dataset = compressed(uid.RLELossless)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=4))
    plain = encapsulate(frames, has_bot=False)
    dataset.PixelData = b"\xfe\xff\x00\xe0" + struct.pack("<5L", 16, *offsets) + plain[8:]
    exam = read_exam(save(dataset, tmp_path / "scan.dcm"))
    np.testing.assert_array_equal(exam.volume.voxels, VOXELS)


def test_frames_of_several_fragments(tmp_path):
    dataset = compressed(uid.JPEG2000Lossless)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=4))
    dataset.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=True)
    path = save(dataset, tmp_path / "scan.dcm")
    np.testing.assert_array_equal(read_exam(path).volume.voxels, VOXELS)
    content = path.read_bytes()
    table = content.index(b"\xfe\xff\x00\xe0\x10\x00\x00\x00") + 8
    for lie in ((0, 4, 8, 12), (0, 0, 0, 0), (8, 0, 0, 0)):
        path.write_bytes(content[:table] + struct.pack("<4L", *lie) + content[table + 16 :])
        refuse(path, "states 4 frames")


@pytest.mark.parametrize("syntax", [uid.JPEG2000Lossless, uid.JPEGLSLossless])
def test_fragments_without_an_offset_table(tmp_path, syntax):
    dataset = compressed(syntax)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=4))
    dataset.PixelData = encapsulate(frames, fragments_per_frame=3, has_bot=False)
    path = save(dataset, tmp_path / "scan.dcm")
    np.testing.assert_array_equal(read_exam(path).volume.voxels, VOXELS)
    dataset.PixelData = encapsulate(frames[:3], fragments_per_frame=3, has_bot=False)
    refuse(save(dataset, path), "states 4 frames")
    run_length = compressed(uid.RLELossless)
    frames = list(generate_frames(run_length.PixelData, number_of_frames=4))
    run_length.PixelData = encapsulate(frames, fragments_per_frame=2, has_bot=False)
    refuse(save(run_length, path), "states 4 frames")  # nothing marks where these start


def test_missing_fragment(tmp_path):
    dataset = compressed(uid.RLELossless)
    frames = list(generate_frames(dataset.PixelData, number_of_frames=4))
    dataset.PixelData = encapsulate(frames[:3])
    refuse(save(dataset, tmp_path / "scan.dcm"), "states 4 frames .* but holds 3")


def test_bytes_of_jpeg_2000_inside_other_data_mean_nothing():
    frame_header = b"\xff\xf7" + struct.pack(">HBHHB", 11, 8, 40, 48, 1) + b"\x01\x11\x00"
    data = b"\xff\xd8" + frame_header + b"\xff\xda\x00\x08" + b"\xff\x4f\xff\x51" + bytes(60)
    assert claimed_size(data, uid.JPEGLSLossless) == (40, 48, 1)
