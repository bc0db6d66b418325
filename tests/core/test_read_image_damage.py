"""Pictures that lack data, or have far too much of it."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from octcube_core.errors import ExamReadError
from octcube_core.readers import read_exam


@pytest.mark.parametrize("damage", ["half", "taller"])
def test_jpeg_without_all_its_data_is_no_grey_bscan(tmp_path, damage):
    path = tmp_path / "bscan.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (200, 300), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    assert read_exam(path).volume.shape == (1, 200, 300)
    content = path.read_bytes()
    if damage == "half":
        content = content[: len(content) // 2] + b"\xff\xd9"
    else:
        at = content.index(b"\xff\xc0") + 5
        content = content[:at] + (800).to_bytes(2, "big") + content[at + 2 :]
    path.write_bytes(content)
    with pytest.raises(ExamReadError, match=r"a part of its JPEG data is missing"):
        read_exam(path)


def test_png_with_far_more_data_than_pixels_is_refused_at_once(tmp_path):
    path = tmp_path / "bomb.png"
    packed = zlib.compress(bytes(300 * 1024**2), 1)
    header = struct.pack(">IIBBBBB", 100, 100, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", packed), (b"IEND", b""))
    parts = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    ]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
    with pytest.raises(ExamReadError, match=r"bomb\.png cannot be read as an image"):
        read_exam(path)


def test_truncated_compressed_tiff_says_so_and_prints_nothing(tmp_path, capfd):
    path = tmp_path / "B1.tif"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64), dtype=np.uint8)
    tifffile.imwrite(path, noise, compression="lzw", rowsperstrip=16)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) - 900])
    Image.fromarray(noise).save(tmp_path / "B2.tif")
    with pytest.raises(ExamReadError, match=r"B1\.tif"):
        read_exam(tmp_path)
    assert capfd.readouterr().err == ""
