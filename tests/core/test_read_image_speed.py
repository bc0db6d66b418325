"""B-scans are decoded by libpng straight into the volume: what Pillow gives, and errors where a byte is wrong."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from octcube_core.errors import ExamReadError
from octcube_core.readers import image, read_exam

RNG = np.random.default_rng(12)
BSCAN = np.clip(RNG.gamma(2, 20, (60, 80)), 0, 255).astype(np.uint8)


def chunk(kind, content):
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


@pytest.mark.parametrize(
    "mode", ["L", "I;16", "1", "P", "RGB", "RGBA", "LA", "interlaced", "transparent", "gamma"]
)
def test_every_kind_of_png_is_what_pillow_says(tmp_path, mode):
    path = tmp_path / "b.png"
    grey = Image.fromarray(BSCAN)
    if mode == "I;16":
        grey = Image.fromarray(BSCAN.astype(np.uint16) * 251)
    elif mode in ("1", "P", "RGB", "RGBA", "LA"):
        grey = grey.convert(mode)
    grey.save(path, **({"transparency": 7} if mode == "transparent" else {}))
    if mode == "gamma":  # is about the display, and changes no sample
        content = path.read_bytes()
        extra = chunk(b"gAMA", struct.pack(">I", 10000)) + chunk(b"sBIT", b"\5")
        path.write_bytes(content[:33] + extra + content[33:])
    if mode == "interlaced":
        rows = BSCAN[:1, :1]
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 1))
        data = chunk(b"IDAT", zlib.compress(b"\0" + rows.tobytes()))
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + data + chunk(b"IEND", b""))
    header = image.read_header(path, path.read_bytes())
    assert header.plain_png == (mode in ("L", "I;16", "gamma"))
    expected = np.asarray(Image.open(path).convert("I" if mode == "I;16" else "L"))
    voxels = read_exam(path).volume.voxels[0]
    np.testing.assert_allclose(voxels, expected, atol=1 if mode in ("P", "RGB", "RGBA") else 0)


def test_animations_are_pointed_out(tmp_path):
    frames = [Image.fromarray(BSCAN), Image.fromarray(255 - BSCAN)]
    frames[0].save(tmp_path / "b.png", save_all=True, append_images=frames[1:])
    with pytest.raises(ExamReadError, match="stack of several images"):
        read_exam(tmp_path / "b.png")


@pytest.mark.parametrize("bits", [8, 16])
def test_a_wrong_or_missing_byte_is_never_shown(tmp_path, bits, capfd):
    path = tmp_path / "b.png"
    Image.fromarray(BSCAN.astype(f"u{bits // 8}")).save(path)
    content = path.read_bytes()
    refused = 0
    for index in range(150):
        damaged = bytearray(content)
        if index % 2:
            damaged = damaged[: int(RNG.integers(len(content)))]
        else:
            damaged[RNG.integers(len(content))] ^= 1 << RNG.integers(8)
        path.write_bytes(damaged)
        try:
            voxels = read_exam(path).volume.voxels
        except ExamReadError as error:
            assert str(error).endswith(".")  # noqa: PT017
            refused += 1
        else:  # the end of the file carries no pixels
            np.testing.assert_array_equal(voxels[0], BSCAN)
    assert refused > 130
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("rows", [0, 1, 59, 61])
def test_rows_must_be_as_many_as_stated(tmp_path, rows):
    data = b"".join(b"\0" + row.tobytes() for row in np.resize(BSCAN, (rows, 80)))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 80, 60, 8, 0, 0, 0, 0))
    content += chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    (tmp_path / "b.png").write_bytes(content)
    if rows > 60:  # more than stated: libpng and Pillow pass over the rest
        assert read_exam(tmp_path / "b.png").volume.shape == (1, 60, 80)
    else:
        with pytest.raises(ExamReadError, match=r"b\.png"):
            read_exam(tmp_path / "b.png")


def test_every_bscan_is_read_once(tmp_path, monkeypatch):
    for index in range(5):
        Image.fromarray(BSCAN + np.uint8(index)).save(tmp_path / f"{index}.png")
    decoded = []
    genuine = image.read_pixels
    monkeypatch.setattr(image, "read_pixels", lambda *a: decoded.append(a) or genuine(*a))
    voxels = read_exam(tmp_path).volume.voxels
    np.testing.assert_array_equal(voxels, [BSCAN + np.uint8(index) for index in range(5)])
    assert decoded == []  # Pillow, the slower way, is not asked
