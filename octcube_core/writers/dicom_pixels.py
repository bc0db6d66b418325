"""Pixels of an exam -> Pixel Data: 8, 12 or 16 bits, plain or compressed without loss.

Ophthalmic images hold no floating point numbers. Such values are scaled to 16 bits over the range that they and the
exam's black and white span; slope and intercept are stored (Real World Value Mapping, and see
`octcube_core.readers.dicom_private`), so that values come back to within half a step of 1/65535 of that range.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.pixels.encoders.base import get_encoder
from pydicom.pixels.utils import as_pixel_options
from pydicom.sequence import Sequence
from pydicom.sr.coding import Code

from octcube_core.errors import InputError
from octcube_core.writers.dicom_header import code_sequence

_FULL = 65535
# Sides in pixels that the encoders take: JPEG 2000 halves an image five times, JPEG-LS may grow beyond its buffer.
_SMALLEST = {uid.JPEG2000Lossless: 32, uid.JPEGLSLossless: 32}
_PIXEL_DATA_LIMIT = 2**32 - 2  # bytes that the length of an uncompressed element can say
_SYNTAX = {
    "explicit": uid.ExplicitVRLittleEndian,
    "implicit": uid.ImplicitVRLittleEndian,
    "jpeg2000": uid.JPEG2000Lossless,
    "jpegls": uid.JPEGLSLossless,
    "rle": uid.RLELossless,
}
COMPRESSED = tuple(name for name, syntax in _SYNTAX.items() if syntax.is_compressed)
_NO_UNITS = Code("1", "UCUM", "no units")


@dataclass(frozen=True, eq=False)
class StoredPixels:
    """Values as they are stored.

    Attributes
    ----------
    values : array of uint8 or uint16
    bits : 8, 12 or 16
        The only numbers that Ophthalmic Tomography knows.
    value_range : tuple of 2 float or None
        Black and white, on the scale of the exam, where they are not 0 and the largest number of these bits.
    scale : tuple of 2 float or None
        (slope, intercept) from stored values to those of the exam, where these were floating point numbers.
    """

    values: NDArray[Any]
    bits: int
    value_range: tuple[float, float] | None
    scale: tuple[float, float] | None

    @staticmethod
    def of(values: NDArray[Any], value_range: tuple[float, float] | None) -> StoredPixels:
        """Store uint8, uint16 or float32 values; without a range, that of the type is meant."""
        if values.dtype.kind == "f":
            return _scaled(values, value_range)
        bits = values.dtype.itemsize * 8
        if bits == 16 and value_range and value_range[1] <= 4095 and values.max() <= 4095:
            bits = 12
        usual = (0.0, float(2**bits - 1))
        return StoredPixels(
            values, bits, None if value_range in (None, usual) else value_range, None
        )


def _scaled(values: NDArray[Any], value_range: tuple[float, float] | None) -> StoredPixels:
    low, high = float(values.min()), float(values.max())
    if value_range is not None:
        low, high = min(low, value_range[0]), max(high, value_range[1])
    slope = (high - low) / _FULL or 1.0
    stored = np.empty(values.shape, np.uint16)
    for index in range(len(values)):  # one image at a time bounds the memory
        stored[index] = np.clip(np.rint((values[index].astype(float) - low) / slope), 0, _FULL)
    return StoredPixels(stored, 16, value_range, (slope, low))


def add_pixels(dataset: FileDataset, pixels: StoredPixels) -> None:
    """Add the Image Pixel module; values of shape (frames, rows, columns[, 3])."""
    values = pixels.values
    colour = values.ndim == 4
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = values.shape[:3]
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
        del dataset.PresentationLUTShape
    dataset.BitsAllocated = values.dtype.itemsize * 8
    dataset.BitsStored = pixels.bits
    dataset.HighBit = pixels.bits - 1
    dataset.PixelRepresentation = 0


def value_mapping(scale: tuple[float, float]) -> Sequence:
    """Real World Value Mapping: what the stored values mean, for any program."""
    item = Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept = scale
    item.add_new("RealWorldValueFirstValueMapped", "US", 0)
    item.add_new("RealWorldValueLastValueMapped", "US", _FULL)
    item.LUTLabel = "FLOAT"
    item.LUTExplanation = "Intensity before scaling to 16 bits"
    item.MeasurementUnitsCodeSequence = code_sequence(_NO_UNITS)
    return Sequence([item])


def save(dataset: FileDataset, values: NDArray[Any], path: Path, transfer_syntax: str) -> None:
    """Add Pixel Data and write the file; frames too small for the encoders stay uncompressed.

    Raises
    ------
    InputError
        If the volume is too large to be stored uncompressed.
    """
    syntax = _SYNTAX[transfer_syntax]
    if min(dataset.Rows, dataset.Columns) < _SMALLEST.get(syntax, 0):
        syntax = uid.ExplicitVRLittleEndian
    dataset.file_meta.TransferSyntaxUID = syntax
    values = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    if syntax.is_compressed:
        if syntax == uid.JPEG2000Lossless and dataset.SamplesPerPixel == 3:
            dataset.PhotometricInterpretation = "YBR_RCT"  # reversible; decoders undo it
        _add_frames(dataset, _encoded(dataset, values, syntax))
    elif values.nbytes > _PIXEL_DATA_LIMIT:
        raise InputError(
            "The volume is larger than the 4 GB that an uncompressed DICOM file can hold; choose a transfer syntax "
            "that compresses, such as jpegls."
        )
    else:
        dataset.PixelData = values.tobytes() + b"\0" * (values.nbytes % 2)
        byte_wise = values.itemsize == 1 and not syntax.is_implicit_VR
        dataset["PixelData"].VR = "OB" if byte_wise else "OW"
    dataset.save_as(path, enforce_file_format=True)


def _encoded(dataset: FileDataset, values: NDArray[Any], syntax: uid.UID) -> list[bytes]:
    """The frames, compressed by another thread: an interrupt in the midst of OpenJPEG's encoder ends the process."""
    frames = get_encoder(syntax).iter_encode(
        values if len(values) > 1 else values[0], **as_pixel_options(dataset)
    )
    with ThreadPoolExecutor(1) as thread:  # at the end it waits for the frame at work
        return list(iter(lambda: thread.submit(next, frames, None).result(), None))


def _add_frames(dataset: FileDataset, frames: list[bytes]) -> None:
    if sum(len(frame) + 8 for frame in frames) > _PIXEL_DATA_LIMIT:  # what a basic offset can say
        extended = encapsulate_extended(frames)
        dataset.PixelData, dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = (
            extended
        )
    else:
        dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].is_undefined_length = True
    dataset["PixelData"].VR = "OB"
