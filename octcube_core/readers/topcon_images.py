"""The B-scans and the pictures of the fundus in a Topcon file."""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import EnFaceImage
from octcube_core.readers.failures import MEMORY_MAP_BYTES, check_volume_bytes
from octcube_core.readers.topcon_chunks import (
    PICTURE,
    SCAN_JPEG,
    SCAN_RAW_02,
    SCAN_RAW_03,
    Chunks,
)
from octcube_core.readers.topcon_jpeg2000 import (
    CodestreamError,
    ImageHeader,
    check_codestream,
    codestream,
    decode,
    starts_image,
)

_RAW_SCANS = (("@IMG_SCAN_03", SCAN_RAW_03), ("@IMG_SCAN_02", SCAN_RAW_02))
_MAX_SIDE = 1 << 16
_BSCAN_PIXELS = 4096 * 4096
_MAX_BSCANS = 8192
_PICTURE_SAMPLES = 64 * 1024**2  # of 24 megapixels there are cameras
_PLAIN_SAMPLES = 4 * 1024**2  # a blank picture of so many may compress to nothing
_PICTURE_COMPRESSION = 200
_SAMPLED_BSCANS = 8


def read_bscans(chunks: Chunks) -> tuple[NDArray[Any], int, int]:
    """B-scans as stored, which is with the vitreous on top and, in a raster, from superior to inferior.

    Returns
    -------
    voxels : array, shape (bscan, depth, width)
        uint8 or uint16; raw ones above 512 MB stay in the file.
    bits : int
        Significant bits of a voxel.
    mode : int
        Topcon's number of the scan pattern.
    """
    if "@IMG_JPEG" in chunks.places:
        return _compressed_bscans(chunks)
    for name, layout in _RAW_SCANS:
        if name in chunks.places:
            return _raw_bscans(chunks, name, layout)
    raise chunks.damaged("it holds no B-scans")


def _check_size(chunks: Chunks, what: str, *sizes: int) -> None:
    if any(not 0 < size <= _MAX_SIDE for size in sizes):
        claim = " x ".join(map(str, sizes))
        raise chunks.damaged(f"it claims {what} of {claim}")


def _raw_bscans(chunks: Chunks, name: str, layout: Any) -> tuple[NDArray[Any], int, int]:
    header = chunks.fields(name, layout)
    payload = chunks.payload(name)
    assert payload is not None
    shape = (header.frames, header.height, header.width)
    _check_size(chunks, "B-scans", *shape)
    if header.bits not in (8, 16):
        raise chunks.damaged(f"its B-scans have {header.bits} bits a voxel, not 8 or 16")
    check_volume_bytes(chunks.path, shape, header.bits // 8)
    size = math.prod(shape) * (header.bits // 8)
    start = layout.sizeof()
    if header.size != size or payload.size - start < size:
        raise chunks.damaged(
            f"it announces {shape[0]} B-scans of {shape[1]} x {shape[2]} but holds another number of voxels"
        )
    stored = payload[start : start + size].view("<u2" if header.bits == 16 else np.uint8)
    voxels = stored.reshape(shape)
    if size <= MEMORY_MAP_BYTES:
        voxels = np.array(voxels, dtype=np.uint16 if header.bits == 16 else np.uint8)
    return voxels, header.bits, header.mode


def _sized_parts(chunks: Chunks, payload: NDArray[np.uint8], start: int, count: int) -> list[bytes]:
    """The frames of a chunk, each of which follows its size."""
    if count * 4 > payload.size - start:
        raise chunks.damaged(f"it announces {count} images in a part too short for them")
    parts = []
    for index in range(count):
        size = int.from_bytes(payload[start : start + 4].tobytes(), "little")
        start += 4
        if size == 0 or size > payload.size - start:
            raise chunks.damaged(f"image {index + 1} of {count} is missing or incomplete")
        parts.append(payload[start : start + size].tobytes())
        start += size
    if starts_image(payload[start + 4 : start + 16].tobytes()):
        raise chunks.damaged(f"it announces {count} images but holds more")
    return parts


def _checked(chunks: Chunks, what: str, image: bytes) -> tuple[bytes, ImageHeader]:
    try:
        stream = codestream(image)
        return stream, check_codestream(stream)
    except CodestreamError:
        raise chunks.damaged(f"{what} is no complete JPEG 2000 image") from None


def _compressed_bscans(chunks: Chunks) -> tuple[NDArray[Any], int, int]:
    header = chunks.fields("@IMG_JPEG", SCAN_JPEG)
    payload = chunks.payload("@IMG_JPEG")
    assert payload is not None
    shape = (header.frames, header.height, header.width)
    _check_size(chunks, "B-scans", *shape)
    if shape[0] > _MAX_BSCANS or shape[1] * shape[2] > _BSCAN_PIXELS:
        raise chunks.damaged(f"it claims {shape[0]} B-scans of {shape[1]} x {shape[2]}")
    check_volume_bytes(chunks.path, shape, 1, stored=payload.size)
    parts = _sized_parts(chunks, payload, SCAN_JPEG.sizeof(), header.frames)
    frames = [_checked(chunks, f"B-scan {i + 1}", part) for i, part in enumerate(parts)]
    for index, (_, frame) in enumerate(frames):
        if (frame.height, frame.width, frame.channels) != (*shape[1:], 1):
            raise chunks.damaged(
                f"B-scan {index + 1} has {frame.height} x {frame.width} pixels instead of {shape[1]} x {shape[2]}"
            )
    bits = {frame.bits for _, frame in frames}
    if len(bits) > 1:
        raise chunks.damaged("its B-scans differ in their bits")
    check_volume_bytes(chunks.path, shape, frames[0][1].dtype.itemsize, stored=payload.size)
    voxels = np.empty(shape, frames[0][1].dtype)

    def fill(index: int) -> None:
        try:
            voxels[index] = decode(*frames[index])
        except MemoryError:
            raise
        except Exception:  # whatever the library raises on a bad image
            raise chunks.damaged(f"B-scan {index + 1} cannot be decoded") from None

    # A decoder takes some ten times the memory of the image.
    workers = max(1, min(8, os.cpu_count() or 1, _BSCAN_PIXELS // (shape[1] * shape[2])))
    with ThreadPoolExecutor(workers) as pool:
        try:
            list(pool.map(fill, range(len(frames))))
        finally:
            pool.shutdown(cancel_futures=True)
    return voxels, bits.pop(), header.mode


def display_range(voxels: NDArray[Any], bits: int) -> tuple[float, float] | None:
    """Black and white, where the type's own range would show next to nothing.

    The raw B-scans of an .fds use a small part of 16 bits: the darkest and brightest values of some B-scans bound it.
    """
    if bits not in (8, 16):
        return 0.0, float(2**bits - 1)
    if bits == 8:
        return None
    some = voxels[:: -(-voxels.shape[0] // _SAMPLED_BSCANS)]
    low, high = float(some.min()), float(some.max())
    return (low, high) if high > low else None


def fundus_pictures(chunks: Chunks) -> tuple[tuple[tuple[str, EnFaceImage], ...], tuple[str, ...]]:
    """Pictures of the fundus, colour before infrared, each with the name of its chunk; and sentences about others.

    @IMG_FUNDUS (.fda) and @IMG_OBS (.fds) hold the photograph, blue first; @IMG_TRC_02 the infrared one, several times,
    of which the last is taken. A blank picture is left out, and so is one that cannot be read, with a sentence.
    """
    found, warnings = [], []
    for name, extra in (("@IMG_FUNDUS", 3), ("@IMG_OBS", 0), ("@IMG_TRC_02", 0)):
        try:
            pixels = _picture(chunks, name, extra)
        except ExamReadError:
            warnings.append(f"The picture {name[1:]} of the file cannot be read and is left out.")
            continue
        if pixels is None:
            continue
        grey = pixels.ndim == 2 or bool((pixels == pixels[..., :1]).all())
        if grey and pixels.ndim == 3:
            pixels = np.ascontiguousarray(pixels[..., 0])
        colour = name == "@IMG_FUNDUS" or not grey
        found.append((name, EnFaceImage(pixels, "CFP" if colour else "IR")))
    return tuple(found), tuple(warnings)


def _picture(chunks: Chunks, name: str, extra: int) -> NDArray[Any] | None:
    header = chunks.fields(name, PICTURE)
    payload = chunks.payload(name)
    if header is None or payload is None or header.frames == 0:
        return None
    _check_size(chunks, "a picture", header.height, header.width, header.frames)
    if header.bits not in (8, 24):
        raise chunks.damaged(f"its picture {name} has {header.bits} bits a pixel, not 8 or 24")
    channels = header.bits // 8
    shape = (header.height, header.width, channels)
    start = PICTURE.sizeof() + extra
    if math.prod(shape) > _PICTURE_SAMPLES:
        raise chunks.damaged(f"it claims a picture of {header.height} x {header.width}")
    if header.format == 0:  # all frames uncompressed in one block
        size = math.prod(shape)
        if payload.size - start - 4 < size * header.frames:
            raise chunks.damaged(f"its picture {name} is incomplete")
        last = start + 4 + size * (header.frames - 1)
        pixels = np.array(payload[last : last + size]).reshape(shape)
    else:
        parts = _sized_parts(chunks, payload, start, header.frames)
        stream, image = _checked(chunks, f"its picture {name}", parts[-1])
        if (
            (image.height, image.width) != shape[:2]
            or image.bits > 8
            or image.channels not in (1, 3)
        ):
            raise chunks.damaged(f"its picture {name} is not of the size that it announces")
        if math.prod(shape) > max(_PLAIN_SAMPLES, _PICTURE_COMPRESSION * len(stream)):
            raise chunks.damaged(f"its picture {name} claims more pixels than it can hold")
        try:
            pixels = decode(stream, image)
        except MemoryError:
            raise
        except Exception:  # whatever the library raises on a bad image
            raise chunks.damaged(f"its picture {name} cannot be decoded") from None
        pixels = pixels.reshape(*shape[:2], -1)
    if not pixels.any():
        return None
    return np.ascontiguousarray(pixels[..., ::-1] if pixels.shape[2] == 3 else pixels[..., 0])
