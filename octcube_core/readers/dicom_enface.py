"""Fundus photographs and en-face OCT images in DICOM files.

The modality comes from the values of Image Type (PS3.3 C.8.17.2.1.4), the words of the file's descriptions, and its
codes (dye, filters, channel; PS3.16 CID 4200 to 4206), in this order. Where none tells, colour means a colour
photograph. A grey image in red, green, blue or red-free light, which has no name here, is shown as a photograph; one
of a scanning laser ophthalmoscope, or one on which B-scans are placed, is taken for infrared; any other for a photo:
each with a warning. Imager Pixel Spacing is measured at the detector, not on the retina, and is not used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from octcube_core.exam import EnFaceImage, Modality, Spacing
from octcube_core.readers.dicom_elements import PIXEL_MEASURES, PIXEL_SPACING, items, numbers
from octcube_core.readers.dicom_file import EN_FACE_OCT, DicomFile
from octcube_core.readers.dicom_pixels import frame_layout, read_frames
from octcube_core.readers.dicom_private import private_spacing, restore_floats
from octcube_core.readers.dicom_values import has_private, stated_items, stated_numbers, stated_text
from octcube_core.readers.intensity import luminance

_SLO = "392001008"
_IMAGE_TYPES: dict[str, Modality] = {  # the third and fourth value
    **{"IR": "IR", "NIR": "IR", "INFRARED": "IR"},
    **{"AF": "FAF", "FAF": "FAF", "BAF": "FAF", "GAF": "FAF", "AUTOFLUORESCENCE": "FAF"},
    **{"COLOR": "CFP", "COLOUR": "CFP", "CFP": "CFP"},
    **{"FA": "FA", "ICG": "ICGA", "ICGA": "ICGA", "OCT": "OCT"},
}
_CODES: dict[str, Modality] = {  # of SNOMED CT, and the same in older files
    **dict.fromkeys(("350086004", "35321007", "C-B02CC", "C-B1031"), "FA"),  # fluorescein
    **dict.fromkeys(("7292004", "C-B0156"), "ICGA"),  # indocyanine green
    **dict.fromkeys(("445169002", "A-010DC"), "IR"),  # infrared optical filter
    **dict.fromkeys(("414497003", "R-102BE", "R-102C1"), "IR"),  # infrared
    **dict.fromkeys(("414298005", "R-102C0"), "CFP"),  # full spectrum
    **dict.fromkeys((str(number) for number in range(128257, 128279)), "OCT"),  # en-face maps
}
_BLUE, _GREEN, _RED = ("445084008", "A-010DA"), ("445465004", "A-010E2"), ("445279009", "A-010DF")
_EXCITERS = {*_BLUE, *_GREEN, "422915004", "A-010D8"}  # the last is blue-green
_BARRIERS = {*_GREEN, *_RED, "445340000", "A-010E0"}  # the last is yellow-green
_ONE_COLOUR_CODES = {
    *(*_BLUE, *_GREEN, *_RED),
    *("405739002", "G-A132"),  # red free
    *("371246006", "G-A11E", "405738005", "G-A12F", "371240000", "G-A11A"),  # green, blue, red
}
_WORDS: tuple[tuple[str, Modality], ...] = (  # the first that fits
    (r"\ben[ -]?face\b|reflectance map|vasculature flow|\boct projection", "OCT"),
    (r"auto[ -]?fluo|\b[bgs]?w?faf\b|\bir?af\b|\b[bg]af\b", "FAF"),
    (r"indocyanine|\bicga?\b", "ICGA"),
    (r"fluorescein|fluoro?angio|\bffa\b|\bfag?\b", "FA"),
    (r"infra[ -]?red|\bn?ir\b", "IR"),
    (r"colou?r\b|\bcfp\b", "CFP"),
)
_ONE_COLOUR_WORDS = r"\bred[ -]?free|\bred\b|\bblue\b|\bgreen\b"
_PUNCTUATION = re.compile(r"[_^\\]+")
_VISIBLE_NM, _INFRARED_NM = (380.0, 700.0), (700.0, 1400.0)
_CODE_SEQUENCES = (
    "LightPathFilterTypeStackCodeSequence",
    "ImagePathFilterTypeStackCodeSequence",
    "ChannelDescriptionCodeSequence",
    "IlluminationTypeCodeSequence",
    "OphthalmicImageTypeCodeSequence",
    "AcquisitionDeviceTypeCodeSequence",
)
_DESCRIPTIONS = (
    "ImageType",
    "SeriesDescription",
    "ProtocolName",
    "ContentDescription",
    "AcquisitionProtocolDescription",
    "OphthalmicImageTypeDescription",
    "ImageComments",
)
_AGENTS = ("ContrastBolusAgentSequence", "ContrastBolusAgentCodeSequence")
_TAKEN_FOR_INFRARED = (
    "A grey fundus image does not state its kind; it is taken for infrared reflectance."
)
_TAKEN_FOR_PHOTOGRAPH = (
    "A grey fundus image does not state its kind; it is shown as a fundus photograph."
)
ONE_COLOUR = "A grey fundus image was taken in light of one colour, such as red-free; it is shown as a photograph."
_SEVERAL = "A fundus image file holds several frames; the first is shown."


@dataclass(frozen=True, eq=False)
class Photograph:
    """An en-face image and what to warn of."""

    image: EnFaceImage
    warnings: tuple[str, ...]


def photograph_modality(file: DicomFile, localizer: bool = False) -> tuple[Modality, str | None]:
    """Kind of an en-face image, and what to warn of if the file does not state it.

    Parameters
    ----------
    localizer : bool
        Whether B-scans are placed on it.
    """
    if file.sop_class == EN_FACE_OCT:
        return "OCT", None
    image_type = [value.strip().upper() for value in file.text("ImageType").split("\\")[2:]]
    if typed := next((_IMAGE_TYPES[v] for v in image_type if v in _IMAGE_TYPES), None):
        return typed, None
    codes = [item for keyword in _CODE_SEQUENCES for item in stated_items(file.head, keyword)]
    for channel in stated_items(file.head, "ChannelSequence"):
        codes += stated_items(channel, "ChannelIdentificationCodeSequence")
    agents = [item for keyword in _AGENTS for item in stated_items(file.head, keyword)]
    descriptions = " | ".join(file.text(keyword) for keyword in _DESCRIPTIONS)
    words = [
        _PUNCTUATION.sub(" ", text.lower())
        for text in (_meanings(agents), descriptions, _meanings(codes))
    ]
    for text in words:
        for pattern, modality in _WORDS:
            if re.search(pattern, text):
                return modality, None
    values = _values(codes)
    if coded := next((_CODES[v] for v in (*_values(agents), *values) if v in _CODES), None):
        return coded, None
    if _is_autofluorescence(file):
        return "FAF", None
    if (
        file.text("SamplesPerPixel") == "3"
        or file.text("PhotometricInterpretation") == "PALETTE COLOR"
    ):
        return "CFP", None
    wavelength = next(iter(stated_numbers(file.head, "IlluminationWaveLength", 1)), 0.0)
    if _INFRARED_NM[0] <= wavelength <= _INFRARED_NM[1]:
        return "IR", None
    if (
        any(re.search(_ONE_COLOUR_WORDS, text) for text in words)
        or any(re.fullmatch("RED-?FREE", value) for value in image_type)
        or _ONE_COLOUR_CODES.intersection(values)
        or _VISIBLE_NM[0] <= wavelength <= _VISIBLE_NM[1]
    ):
        return "CFP", ONE_COLOUR
    if localizer or _SLO in values:
        return "IR", _TAKEN_FOR_INFRARED
    return "CFP", _TAKEN_FOR_PHOTOGRAPH


def _is_autofluorescence(file: DicomFile) -> bool:
    """Whether, without a dye, light of another colour than was shone in is looked at."""
    light, image = (
        set(_values(stated_items(file.head, f"{path}PathFilterTypeStackCodeSequence")))
        for path in ("Light", "Image")
    )
    return bool(light & _EXCITERS and image & _BARRIERS and not light & image)


def _meanings(codes: Sequence[Dataset]) -> str:
    return " | ".join(stated_text(item, "CodeMeaning") for item in codes)


def _values(codes: Sequence[Dataset]) -> list[str]:
    return [stated_text(item, "CodeValue") for item in codes]


def read_photograph(
    file: DicomFile, modality: Modality | None = None, localizer: bool = False
) -> Photograph:
    """Decode an en-face image.

    Parameters
    ----------
    modality : str, optional
        Overrides what the file says.
    localizer : bool
        Whether B-scans are placed on it.

    Raises
    ------
    ExamReadError
        If it is damaged or holds no image.
    """
    layout = frame_layout(file)
    frames = read_frames(file, layout)
    pixels = frames.values[0]
    if has_private(file.head):
        pixels = restore_floats(file.head, frames.values[:1])[0]
    notes: tuple[str, ...] = (_SEVERAL,) if layout.frames > 1 else ()
    if frames.value_range is not None and pixels.dtype.kind in "ui":
        white = int(frames.value_range[1])
        # A 12-bit image in 16 bits would show almost black.
        if pixels.dtype.itemsize > 1 and white < 65535:
            pixels = np.rint(pixels * (65535.0 / white))
            pixels = pixels.astype(np.uint16)
        elif pixels.dtype not in (np.uint8, np.uint16):
            pixels = pixels.astype(np.uint16)
    if pixels.ndim == 3:
        grey, coloured = luminance(pixels)
        pixels = pixels if coloured else grey
    if modality is None:
        modality, guess = photograph_modality(file, localizer)
        notes += (guess,) if guess else ()
    return Photograph(EnFaceImage(np.array(pixels), modality, _spacing(file)), notes)


def _spacing(file: DicomFile) -> tuple[Spacing, Spacing]:
    stated = stated_numbers(file.head, "PixelSpacing", 2)
    for group in (file.shared, *file.frame_groups[:1]):
        for item in items(group, PIXEL_MEASURES):
            stated = stated or numbers(item, PIXEL_SPACING)
    if len(stated) == 2 and all(np.isfinite(stated)) and min(stated) > 0:
        return stated[0], stated[1]
    rows, columns = private_spacing(file.head, 2)
    return rows, columns
