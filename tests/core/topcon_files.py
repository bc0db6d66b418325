"""Writes .fda and .fds files with what a test wants in them."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
from numpy.typing import NDArray

NAME, SURNAME, PATIENT_ID = "Zebedee", "Quagga", "PID-993311"
BORN, SCANNED = (1943, 11, 27), (2024, 2, 29)


def jpeg2000(image: NDArray[np.generic]) -> bytes:
    """A lossless JPEG 2000 codestream."""
    return bytes(imagecodecs.jpeg2k_encode(image, codecformat="j2k", reversible=True))


def chunk(name: str, payload: bytes) -> bytes:
    return struct.pack("<B", len(name)) + name.encode() + struct.pack("<I", len(payload)) + payload


def sized(*images: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(image)) + image for image in images)


def scan_jpeg(
    images: Sequence[bytes], height: int, width: int, mode: int = 2, frames: int = 0
) -> bytes:
    """@IMG_JPEG; ``frames`` is the number announced, by default the true one."""
    header = struct.pack("<B8xIII", mode, width, height, frames or len(images))
    return chunk("@IMG_JPEG", header + b"\x02\x0a\0\0" + sized(*images))


def scan_raw(voxels: NDArray[np.uint16], mode: int = 2, frames: int = 0, size: int = 0) -> bytes:
    """@IMG_SCAN_03; ``frames`` and ``size`` are those announced, by default the true ones."""
    bscans, height, width = voxels.shape
    header = struct.pack("<BIIII", mode, width, height, 16, frames or bscans)
    data = voxels.astype("<u2").tobytes()
    return chunk("@IMG_SCAN_03", header + struct.pack("<BI", 0, size or len(data)) + data)


def parameters(x_mm: float = 6.0, y_mm: float = 4.5, z_um: float = 2.6, fixation: int = 2) -> bytes:
    payload = struct.pack("<3xB8xddd25x", fixation, x_mm, y_mm, z_um)
    return chunk("@PARAM_SCAN_04", payload)


def who(eye: int = 0) -> bytes:
    """Device, patient and capture."""
    hardware = b"3DOCT-2000".ljust(16, b"\0") + b"SERIAL-5550123".ljust(84, b"\0")
    texts = b"".join(text.encode().ljust(32, b"\0") for text in (PATIENT_ID, NAME, SURNAME))
    patient = texts + struct.pack("<9xHHH504x", *BORN)
    capture = struct.pack("<BB104xHHHHHH", eye, 2, *SCANNED, 10, 11, 12)
    return (
        chunk("@HW_INFO_03", hardware)
        + chunk("@PATIENT_INFO_02", patient)
        + chunk("@CAPTURE_INFO_02", capture)
    )


def fundus_jpeg(rgb: NDArray[np.uint8]) -> bytes:
    """@IMG_FUNDUS, which stores blue first."""
    header = struct.pack("<IIII", rgb.shape[1], rgb.shape[0], 24, 1) + b"\x02\x0a\0\0"
    return chunk("@IMG_FUNDUS", header + sized(jpeg2000(np.ascontiguousarray(rgb[..., ::-1]))))


def infrared_jpeg(*images: NDArray[np.uint8]) -> bytes:
    """@IMG_TRC_02 of an .fda."""
    height, width = images[0].shape
    header = struct.pack("<IIIIB", width, height, 8, len(images), 1)
    return chunk("@IMG_TRC_02", header + sized(*map(jpeg2000, images)))


def raw_picture(name: str, *images: NDArray[np.uint8]) -> bytes:
    """@IMG_OBS or @IMG_TRC_02 of an .fds: uncompressed RGB images, blue first."""
    height, width, _ = images[0].shape
    data = b"".join(np.ascontiguousarray(image[..., ::-1]).tobytes() for image in images)
    header = struct.pack("<IIIIBI", width, height, 24, len(images), 0, len(data))
    return chunk(name, header + data)


def registration(fundus: Sequence[int], infrared: Sequence[int] = (0, 0, 0, 0)) -> bytes:
    """@REGIST_INFO: boxes (left, top, right, bottom)."""
    payload = struct.pack("<9x4I32x4I48x", *fundus, *infrared)
    return chunk("@REGIST_INFO", payload)


def write(path: Path, *chunks: bytes, end: bytes = b"\0") -> Path:
    """A file of these chunks, its kind told by the suffix."""
    kind = path.suffix[1:].upper().encode()
    path.write_bytes(b"FOCT" + kind + struct.pack("<II", 1, 1001) + b"".join(chunks) + end)
    return path


def write_fda(
    path: Path, voxels: NDArray[np.generic], *more: bytes, mode: int = 2, eye: int = 0
) -> Path:
    """An .fda of these B-scans, with a patient, a device and scan parameters."""
    scan = scan_jpeg([jpeg2000(bscan) for bscan in voxels], *voxels.shape[1:], mode=mode)
    return write(path, who(eye), scan, parameters(), *more)
