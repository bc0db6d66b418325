"""Small files that claim to be, or would decode to, far more than the memory: refused at little cost.

Run in a process of its own, whose memory is the measure.
"""

from __future__ import annotations

import gzip
import json
import struct
import subprocess
import sys
import time
import zipfile
import zlib
from functools import cache
from io import BytesIO

import numpy as np
import pytest
import tifffile
from PIL import Image

from octcube_core.errors import ExamReadError
from octcube_core.readers import read_exam
from tests.fuzz.memory import peak_bytes

GIB = 1024**3
SIDE = 1290  # cubed, two GiB
MIB = bytes(1024**2)
MIBS = 1200


@cache
def packed():
    """A zlib stream of more zeros than may be held."""
    packer = zlib.compressobj(1)
    return b"".join([packer.compress(MIB) for _ in range(MIBS)] + [packer.flush()])


def gzipped():
    """The same as a gzip stream."""
    checksum = 0
    for _ in range(MIBS):
        checksum = zlib.crc32(MIB, checksum)
    return gzip.compress(b"")[:10] + packed()[2:-4] + struct.pack("<II", checksum, MIBS * 1024**2)


def matlab(path):
    body = b"".join(
        struct.pack("<II", kind, len(part)) + part + b"\0" * (-len(part) % 8)
        for kind, part in [(6, struct.pack("<II", 9, 0)), (5, struct.pack("<3i", *[SIDE] * 3))]
    )
    body += struct.pack("<II6sxx", 1, 6, b"images") + struct.pack("<II", 2, SIDE**3)
    head = struct.pack("<II", 14, SIDE**3 + len(body)) + body
    content = zlib.compress(head + MIB)
    path.write_bytes(
        b"MATLAB".ljust(124) + b"\0\1IM" + struct.pack("<II", 15, len(content)) + content
    )


def matlab_struct(path):
    """A struct one of whose fields claims two GiB."""
    part = struct.pack("<II", 6, 8) + struct.pack("<II", 2, 0)
    part += struct.pack("<II", 5, 8) + struct.pack("<2i", 1, 1) + struct.pack("<II", 1, 0)
    part += struct.pack("<HHi", 5, 4, 32) + struct.pack("<II", 1, 32) + b"ScaleX".ljust(32, b"\0")
    part += struct.pack("<II", 14, 2**31)
    content = zlib.compress(struct.pack("<II", 14, 2**31) + part) + packed()[:1000]
    path.write_bytes(
        b"MATLAB".ljust(124) + b"\0\1IM" + struct.pack("<II", 15, len(content)) + content
    )


def matlab_73(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        made = file.create_dataset("images", (64, 64, 64), "u1", chunks=(64, 64, 64), compression=9)
        made.id.write_direct_chunk((0, 0, 0), packed())


def npz(path):
    head = BytesIO()
    shape = {"descr": "|u1", "fortran_order": False, "shape": (2048, 1024, 1024)}
    np.lib.format.write_array_header_1_0(head, shape)
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file,
        file.open("volume.npy", "w") as member,
    ):
        member.write(head.getvalue() + MIB)


def nifti(path):
    nibabel = pytest.importorskip("nibabel")
    header = nibabel.Nifti1Header()
    header.set_data_shape((SIDE, SIDE, SIDE))
    header.set_data_dtype(np.uint8)
    header["vox_offset"] = 352
    head = gzip.compress(header.binaryblock + bytes(4))
    path.write_bytes(head + gzipped())


def nifti_with_more_behind(path):
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(np.ones((9, 9, 9), np.uint8), None), path)
    path.write_bytes(path.read_bytes() + gzipped())


def metaimage(path):
    header = f"NDims = 3\nDimSize = {SIDE} {SIDE} {SIDE}\nElementType = MET_UCHAR\n"
    header += "CompressedData = True\nElementDataFile = LOCAL\n"
    path.write_bytes(header.encode() + packed())


def npy(path):
    np.save(path, np.zeros(8, np.uint8))
    path.write_bytes(path.read_bytes().replace(b"(8,), ", b"(99999999, 99999, 9), ")[:128] + MIB)


def tiff(path, rows=46340, columns=46340, content=None, compression=8):
    """One page of a single strip, whatever it holds."""
    content = packed() if content is None else content
    tags = [
        *((256, 4, columns), (257, 4, rows), (258, 3, 8), (259, 3, compression), (262, 3, 1)),
        *((273, 4, 8), (277, 3, 1), (278, 4, rows), (279, 4, len(content))),
    ]
    directory = struct.pack("<H", len(tags))
    for tag, kind, value in tags:
        directory += struct.pack("<HHII", tag, kind, 1, value)
    end = 8 + len(content) + len(content) % 2
    head = b"II*\0" + struct.pack("<I", end)
    path.write_bytes((head + content).ljust(end, b"\0") + directory + bytes(4))


def tiff_strip(path):
    tiff(path, 40, 50)


def tiff_jpeg(path):
    out = BytesIO()
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(out, "JPEG")
    content = bytearray(out.getvalue())
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    tiff(path, 40, 50, bytes(content), 7)


def ome_tiff(path, times=1, file=""):
    """Two pages whose XML claims more pages, or that they lie in another file."""
    inside = f'<UUID FileName="{file}">urn:uuid:1</UUID>' if file else ""
    xml = (
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels '
        'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="9" SizeY="9" SizeZ="2" SizeC="1" '
        f'SizeT="{times}"><TiffData IFD="0" PlaneCount="2">{inside}</TiffData></Pixels></Image></OME>'
    )
    tifffile.imwrite(
        path,
        np.zeros((2, 9, 9), np.uint8),
        description=xml.encode(),
        metadata=None,
        photometric="minisblack",
    )


def ome(path):
    ome_tiff(path, 999_999_999)


def ome_elsewhere(path):
    ome_tiff(path, file="/etc/passwd")


def png(path):
    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    head = struct.pack(">IIBBBBB", 9400, 9400, 16, 0, 0, 0, 0)
    content = chunk(b"IHDR", head) + chunk(b"IDAT", packed()[:200_000]) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)


def png_folder(path):
    path.mkdir()
    for index in range(8):
        png(path / f"{index}.png")


def meta_folder(path):
    path.mkdir()
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(path / "0.png")
    (path / "meta.json").write_text(json.dumps({"device": "x" * (40 * 1024**2)}))


BOMBS = {
    "m.mat": matlab,
    "s.mat": matlab_struct,
    "h.mat": matlab_73,
    "a.npz": npz,
    "n.nii.gz": nifti,
    "more.nii.gz": nifti_with_more_behind,
    "m.mha": metaimage,
    "a.npy": npy,
    "page.tif": tiff,
    "strip.tif": tiff_strip,
    "jpeg.tif": tiff_jpeg,
    "o.ome.tif": ome,
    "elsewhere.ome.tif": ome_elsewhere,
    "p.png": png,
    "pngs": png_folder,
    "meta": meta_folder,
}


def refuse_all(folder):
    for name in BOMBS:
        started = time.perf_counter()
        try:
            exam = read_exam(f"{folder}/{name}")
        except ExamReadError as error:
            told = str(error)
        else:
            told = f"READ {exam.volume.shape}"
        seconds = time.perf_counter() - started
        peak = peak_bytes()
        print(json.dumps([name, told, seconds, peak]))  # noqa: T201


def test_bombs_are_refused_in_time_and_memory(tmp_path):
    for name, write in BOMBS.items():
        write(tmp_path / name)
    run = subprocess.run(
        [sys.executable, __file__, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    results = [json.loads(line) for line in run.stdout.splitlines()]
    assert [name for name, *_ in results] == list(BOMBS)
    for name, told, seconds, peak in results:
        assert not told.startswith("READ"), name
        assert name in told or "meta.json" in told, told
        assert "\n" not in told
        assert seconds < 10, name
        assert peak < GIB, name
    assert run.stderr == ""


if __name__ == "__main__":
    refuse_all(sys.argv[1])
