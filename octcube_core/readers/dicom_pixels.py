"""The frames of a DICOM file as display intensities.

Uncompressed grey frames are taken straight from the file, or mapped if they are many; for anything else pydicom
decodes frames whose number and size have been checked before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut

from octcube_core.errors import ExamReadError
from octcube_core.readers.dicom_codestream import END_OF_IMAGE, JPEG_FAMILY, claimed_size
from octcube_core.readers.dicom_elements import PIXEL_DATA
from octcube_core.readers.dicom_file import DicomFile
from octcube_core.readers.dicom_fragments import frames_of_fragments, pixel_bytes
from octcube_core.readers.failures import MEMORY_MAP_BYTES, check_volume_bytes
from octcube_core.readers.quiet import quiet_warnings

_MOST_FRAMES = 100_000
_MOST_FRAME_SAMPLES = 64 * 1024**2  # the widest fundus images have 20 million pixels of 3 colours
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_PARTIAL_420", "YBR_ICT", "YBR_RCT")


@dataclass(frozen=True)
class Layout:
    """Size and type of the frames, as the header states them."""

    frames: int
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    high: int
    signed: bool
    interpretation: str

    @property
    def pixels(self) -> int:
        """Samples of a frame."""
        return self.rows * self.columns * self.samples

    @property
    def white(self) -> int:
        """Largest unsigned value of the stored bits."""
        return int(2**self.stored) - 1


@dataclass(frozen=True, eq=False)
class Frames:
    """Decoded frames.

    Attributes
    ----------
    values : array, shape (frames, rows, columns) or (frames, rows, columns, 3)
    value_range : tuple of 2 float or None
        Black and white.
    """

    values: NDArray[Any]
    value_range: tuple[float, float] | None


def frame_layout(file: DicomFile) -> Layout:
    """Size of the frames, checked for what a computer can hold.

    Raises
    ------
    ExamReadError
        If the file holds no images or states impossible ones.
    """
    name = file.path.name
    if file.pixels is None:
        raise ExamReadError(
            f"{name} holds no images: it is truncated or not an OCT file; export it again."
        )
    allocated = file.whole("BitsAllocated", 0)
    stored = file.whole("BitsStored", allocated)
    layout = Layout(
        frames=file.whole("NumberOfFrames", 1),
        rows=file.whole("Rows", 0),
        columns=file.whole("Columns", 0),
        samples=file.whole("SamplesPerPixel", 1),
        allocated=allocated,
        stored=stored,
        high=file.whole("HighBit", stored - 1),
        signed=file.whole("PixelRepresentation", 0) == 1,
        interpretation=file.text("PhotometricInterpretation") or "MONOCHROME2",
    )
    sane = (
        1 <= layout.frames <= _MOST_FRAMES
        and min(layout.rows, layout.columns) > 0
        and layout.pixels <= _MOST_FRAME_SAMPLES
        and layout.samples in (1, 3)
    )
    if not sane:
        raise ExamReadError(
            f"{name} states {layout.frames} frames of {layout.rows} x {layout.columns} pixels, which no OCT file "
            "holds; it is damaged: export it again."
        )
    if layout.interpretation not in (_COLOURS if layout.samples == 3 else _GREY):
        raise ExamReadError(
            f"{name} states no colour model that fits its {layout.samples} samples per pixel; it is damaged: export it "
            "again."
        )
    integers = file.pixels.tag == PIXEL_DATA[0]
    depths = (8, 16, 32) if integers else (32, 64)
    if allocated not in depths or not 1 <= stored <= allocated:
        raise ExamReadError(
            f"{name} stores its voxels in {stored} of {allocated} bits, which no OCT file does; export it again with 8 "
            "or 16 bits."
        )
    return layout


def read_frames(file: DicomFile, layout: Layout) -> Frames:
    """Decode all frames; none is ever missing.

    Raises
    ------
    ExamReadError
        If another number of frames is stored than stated, or they cannot be decoded.
    """
    assert file.pixels is not None  # checked by frame_layout
    stored = _stored_bytes(file)
    itemsize = layout.allocated // 8
    check_volume_bytes(
        file.path, (layout.frames, layout.rows, layout.columns, layout.samples), itemsize, stored
    )
    if file.pixels.length is None:
        values = _decompress(file, layout)
    else:
        values = _uncompressed(file, layout, file.pixels.length)
    return _display_range(values, layout)


def _stored_bytes(file: DicomFile) -> int:
    assert file.pixels is not None
    size = len(file.inflated) if file.inflated is not None else file.path.stat().st_size
    there = size - file.pixels.start
    if file.pixels.length is not None and file.pixels.length > there:
        raise ExamReadError(
            f"{file.path.name} is truncated: {file.pixels.length - there} bytes of its pixels are missing; export or "
            "copy it again."
        )
    return there if file.pixels.length is None else file.pixels.length


def _wrong_count(file: DicomFile, layout: Layout, holds: int) -> ExamReadError:
    return ExamReadError(
        f"{file.path.name} states {layout.frames} frames of {layout.rows} x {layout.columns} pixels but holds {holds}; "
        "it is truncated or damaged: export it again."
    )


def _uncompressed(file: DicomFile, layout: Layout, length: int) -> NDArray[Any]:
    assert file.pixels is not None
    if file.syntax.is_transfer_syntax and file.syntax.is_compressed:
        raise ExamReadError(
            f"{file.path.name} says that it is compressed but holds no compressed frames; export it again."
        )
    halved = layout.interpretation == "YBR_FULL_422"  # two pixels share their colour
    frame_bytes = layout.pixels * (layout.allocated // 8)
    frame_bytes = frame_bytes * 2 // 3 if halved else frame_bytes
    surplus = length - layout.frames * frame_bytes
    if not 0 <= surplus <= 1:  # values have an even length
        raise _wrong_count(file, layout, length // frame_bytes)
    if layout.samples == 1 and layout.interpretation != "PALETTE COLOR":
        return _plain(file, layout)
    with pixel_bytes(file) as data:
        return _decoded(file, layout, data.read(length))


def _plain(file: DicomFile, layout: Layout) -> NDArray[Any]:
    """Grey frames as they are stored: read, or mapped if they are many."""
    assert file.pixels is not None
    kind = "f" if file.pixels.tag != PIXEL_DATA[0] else "i" if layout.signed else "u"
    dtype = np.dtype(f"{file.encoding.order}{kind}{layout.allocated // 8}")
    shape = (layout.frames, layout.rows, layout.columns)
    count = layout.frames * layout.pixels
    if file.inflated is not None:
        return np.frombuffer(file.inflated, dtype, count, file.pixels.start).reshape(shape)
    if count * dtype.itemsize > MEMORY_MAP_BYTES:
        return np.memmap(file.path, dtype, "r", file.pixels.start, shape)
    return np.fromfile(file.path, dtype, count, offset=file.pixels.start).reshape(shape)


def _decompress(file: DicomFile, layout: Layout) -> NDArray[Any]:
    decoder_name = file.syntax.name if file.syntax.is_transfer_syntax else "an unknown compression"
    try:
        decodes = file.syntax.is_compressed and get_decoder(file.syntax).is_available
    except (NotImplementedError, ValueError):
        decodes = False
    if not decodes:
        raise ExamReadError(
            f"{file.path.name} is compressed as {decoder_name}, which cannot be decoded here; export it "
            "uncompressed, as JPEG 2000, JPEG-LS or RLE."
        )
    frames, stored = frames_of_fragments(file, layout.frames)
    if stored != layout.frames:
        raise _wrong_count(file, layout, stored)
    for frame in frames:
        if file.syntax in JPEG_FAMILY and not frame.rstrip(b"\0").endswith(END_OF_IMAGE):
            raise ExamReadError(
                f"{file.path.name} holds an incomplete frame; it is truncated or damaged: export it again."
            )
        claimed = claimed_size(frame, file.syntax)
        if claimed not in (None, (layout.rows, layout.columns, layout.samples)):
            raise ExamReadError(
                f"{file.path.name} states frames of {layout.rows} x {layout.columns} pixels but holds others; it is "
                "damaged: export it again."
            )
    return _decoded(file, layout, encapsulate(frames, has_bot=False))


def _decoded(file: DicomFile, layout: Layout, data: bytes) -> NDArray[Any]:
    """Frames by pydicom, colours as RGB."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    syntax = file.syntax
    if syntax == uid.DeflatedExplicitVRLittleEndian or not syntax.is_transfer_syntax:
        syntax = uid.ExplicitVRLittleEndian
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.Rows, dataset.Columns = layout.rows, layout.columns
    dataset.NumberOfFrames = layout.frames
    dataset.SamplesPerPixel = layout.samples
    dataset.BitsAllocated, dataset.BitsStored = layout.allocated, layout.stored
    dataset.HighBit = layout.high
    dataset.PixelRepresentation = int(layout.signed)
    dataset.PhotometricInterpretation = layout.interpretation
    if layout.samples > 1:
        dataset.PlanarConfiguration = file.whole("PlanarConfiguration", 0)
    dataset.PixelData = data
    dataset["PixelData"].VR = "OB" if layout.allocated == 8 or syntax.is_compressed else "OW"
    dataset["PixelData"].is_undefined_length = syntax.is_compressed
    dataset.set_original_encoding(file.encoding.implicit, file.encoding.little)
    shape = (layout.frames, layout.rows, layout.columns)
    values: NDArray[Any] | None = None
    with quiet_warnings():
        for index, (frame, _) in enumerate(get_decoder(syntax).iter_array(dataset)):
            if frame.shape[:2] != shape[1:] or index >= layout.frames:
                raise _wrong_count(file, layout, index)
            if layout.interpretation == "PALETTE COLOR":
                frame = apply_color_lut(frame, file.head)
            if values is None:
                values = np.empty((layout.frames, *frame.shape), frame.dtype)
            values[index] = frame
            decoded = index + 1
    if values is None or decoded != layout.frames:
        raise _wrong_count(file, layout, 0 if values is None else decoded)
    return values


def _display_range(values: NDArray[Any], layout: Layout) -> Frames:
    """Values from black to white, and what these are."""
    if values.dtype.kind not in "ui" or layout.interpretation == "PALETTE COLOR":
        return Frames(values, None)
    white = layout.white
    if layout.stored == 32 and not layout.signed:
        return Frames(values, None)  # no scan uses 32 bits
    if shift := layout.high + 1 - layout.stored:
        values = values >> max(shift, 0)
    if values.dtype.kind == "i":
        values = values.astype(np.int64) + (white + 1) // 2
    fills_its_type = values.dtype.kind == "u" and layout.stored == 8 * values.dtype.itemsize
    mapped = isinstance(values, np.memmap)
    if not (fills_its_type or mapped) and (values.min() < 0 or values.max() > white):
        values = np.clip(values, 0, white)  # overlays in the unused bits
    if layout.interpretation == "MONOCHROME1":
        values = white - values
    return Frames(values, (0.0, float(white)))
