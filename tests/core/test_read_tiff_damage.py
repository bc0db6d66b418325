"""TIFF files that are cut, damaged or compressed in odd ways."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from octcube_core.errors import ExamReadError
from octcube_core.readers import read_exam

VOXELS = np.random.default_rng(3).integers(0, 256, (6, 20, 30), dtype=np.uint8)


@pytest.fixture
def write(tmp_path):
    def write(values=VOXELS, name="stack.tif", **options):
        tifffile.imwrite(tmp_path / name, values, **options)
        return tmp_path / name

    return write


def test_jpeg_cut_short_is_no_grey_bscan(write):
    path = write(compression="jpeg", metadata=None, photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[3]
        end = page.dataoffsets[0] + page.databytecounts[0]
    content = bytearray(path.read_bytes())
    content[end - 100 : end] = bytes(100)
    path.write_bytes(content)
    with pytest.raises(ExamReadError, match="has no end"):
        read_exam(path)


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "jpeg", "packbits"])
def test_cut_and_damaged_files(write, compression, capfd):
    path = write(compression=compression, metadata=None, photometric="minisblack")
    content, expected = path.read_bytes(), read_exam(path).volume.voxels
    rng = np.random.default_rng(2)
    refused = 0
    for index in range(30):
        damaged = bytearray(content)
        if index % 2:
            damaged = damaged[: int(rng.integers(len(content)))]
        else:
            for position in rng.integers(0, len(content), 4):
                damaged[position] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            voxels = read_exam(path).volume.voxels
        except ExamReadError as error:
            assert str(error).endswith(".")  # noqa: PT017
            refused += 1
        else:
            if len(damaged) < len(content):
                np.testing.assert_array_equal(voxels, expected)
    assert refused >= 12
    assert capfd.readouterr().err == ""


def test_jpeg_2000_pages(write):
    path = write(compression="jpeg2000", metadata=None, photometric="minisblack")
    np.testing.assert_array_equal(read_exam(path).volume.voxels, VOXELS)
    content = path.read_bytes()
    at = content.index(b"\xff\x4f\xff\x51") + 8
    path.write_bytes(content[:at] + b"\0\1\0\0" * 2 + content[at + 8 :])
    with pytest.raises(ExamReadError, match="far more than it shows"):
        read_exam(path)


def test_other_compressions_are_named(write):
    path = write(compression="png", metadata=None, photometric="minisblack")
    with pytest.raises(ExamReadError, match="no OCT export uses"):
        read_exam(path)


@pytest.mark.parametrize("target", ["second page", "header", "samples", "beyond"])
def test_links_that_lead_nowhere_do_not_hang(write, target):
    path = write(metadata=None, photometric="minisblack")
    with tifffile.TiffFile(path) as tiff:
        last = tiff.pages[-1]
        next_pointer = last.offset + 2 + 12 * len(last.tags)
        leads_to = {
            "second page": tiff.pages[1].offset,
            "header": 2,
            "samples": tiff.pages[0].dataoffsets[0],
            "beyond": 10**9,
        }[target]
    content = bytearray(path.read_bytes())
    content[next_pointer : next_pointer + 4] = leads_to.to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ExamReadError, match=r"stack\.tif"):
        read_exam(path)
