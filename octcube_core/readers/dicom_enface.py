"""Fundus photographs and en-face OCT images in DICOM files.

The modality comes from the file's codes (light path filter, channel, device; PS3.16 CID 4202 to 4206) and the words of
its descriptions. Where neither tells, colour means a colour photograph; a grey image of a scanning laser
ophthalmoscope, or one on which B-scans are placed, is taken for infrared, and any other grey one for a photograph, each
with a warning. Imager Pixel Spacing is measured at the detector, not on the retina, so it is no spacing here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from octcube_core.exam import EnFaceImage, Modality, Spacing
from octcube_core.readers.dicom_elements import PIXEL_MEASURES, PIXEL_SPACING, items, numbers
from octcube_core.readers.dicom_file import EN_FACE_OCT, DicomFile
from octcube_core.readers.dicom_pixels import frame_layout, read_frames
from octcube_core.readers.dicom_private import private_spacing, restore_floats
from octcube_core.readers.dicom_values import has_private, stated_items, stated_numbers, stated_text
from octcube_core.readers.intensity import luminance

_SLO = "392001008"
_CODES: dict[str, Modality] = {  # of light path filters and channels
    "445169002": "IR",  # infrared optical filter
    "414497003": "IR",  # infrared
    "R-102BE": "IR",  # the same in older files
    "R-102C1": "IR",
}
_WORDS: tuple[tuple[str, Modality], ...] = (  # the first that fits
    (r"\ben[ -]?face\b|reflectance map|vasculature flow|\boct projection", "OCT"),
    (r"auto[ -]?fluo|\b[bgs]?w?faf\b|\bir?af\b|\b[bg]af\b", "FAF"),
    (r"indocyanine|\bicga?\b", "ICGA"),
    (r"fluorescein|fluoro?angio|\bffa\b|\bfag?\b", "FA"),
    (r"infra[ -]?red|\bn?ir\b", "IR"),
    (r"colou?r\b|\bcfp\b", "CFP"),
)
_VISIBLE = r"red[ -]?free|\bblue\b|\bgreen\b"  # reflectance that has no modality of its own here
_PUNCTUATION = re.compile(r"[_^\\]+")
_INFRARED_NM = (700.0, 1400.0)
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
_GUESSED: dict[str, str] = {
    "IR": "A grey fundus image does not state its kind; it is taken for infrared reflectance.",
    "CFP": "A grey fundus image does not state its kind; it is shown as a fundus photograph.",
}
_SEVERAL = "A fundus image file holds several frames; the first is shown."


@dataclass(frozen=True, eq=False)
class Photograph:
    """An en-face image and what to warn of."""

    image: EnFaceImage
    warnings: tuple[str, ...]


def photograph_modality(file: DicomFile, localizer: bool = False) -> tuple[Modality, bool]:
    """Kind of an en-face image, and whether it is only a guess.

    Parameters
    ----------
    localizer : bool
        Whether B-scans are placed on it.
    """
    if file.sop_class == EN_FACE_OCT:
        return "OCT", False
    codes = [item for keyword in _CODE_SEQUENCES for item in stated_items(file.head, keyword)]
    for channel in stated_items(file.head, "ChannelSequence"):
        codes += stated_items(channel, "ChannelIdentificationCodeSequence")
    meanings = " | ".join(stated_text(item, "CodeMeaning") for item in codes)
    described = " | ".join(file.text(keyword) for keyword in _DESCRIPTIONS)
    agents = " | ".join(
        stated_text(item, "CodeMeaning")
        for keyword in ("ContrastBolusAgentSequence", "ContrastBolusAgentCodeSequence")
        for item in stated_items(file.head, keyword)
    )
    told = [_PUNCTUATION.sub(" ", words.lower()) for words in (agents, described, meanings)]
    for words in told:
        for pattern, modality in _WORDS:
            if re.search(pattern, words):
                return modality, False
    values = {stated_text(item, "CodeValue") for item in codes}
    if coded := next((_CODES[value] for value in sorted(values) if value in _CODES), None):
        return coded, False
    if (
        file.text("SamplesPerPixel") == "3"
        or file.text("PhotometricInterpretation") == "PALETTE COLOR"
    ):
        return "CFP", False
    wavelength = stated_numbers(file.head, "IlluminationWaveLength", 1)
    if wavelength and _INFRARED_NM[0] <= wavelength[0] <= _INFRARED_NM[1]:
        return "IR", False
    visible = any(re.search(_VISIBLE, words) for words in told)
    return ("IR", True) if not visible and (localizer or _SLO in values) else ("CFP", True)


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
        modality, guessed = photograph_modality(file, localizer)
        notes += (_GUESSED[modality],) if guessed else ()
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
