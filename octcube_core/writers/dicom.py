"""An exam as DICOM files in one folder: oct.dcm (Ophthalmic Tomography) and ir.dcm, faf.dcm, ... (Photography).

All belong to one study and one frame of reference, each is a series of its own, and the volume refers to the en-face
images by UID. Series Number counts them in the order of the exam, the volume being 1.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from octcube_core.exam import Exam
from octcube_core.readers.quiet import quiet_warnings
from octcube_core.writers.dicom_enface import enface_dataset
from octcube_core.writers.dicom_header import Visit, as_date
from octcube_core.writers.dicom_oct import oct_dataset
from octcube_core.writers.dicom_pixels import COMPRESSED, StoredPixels, save
from octcube_core.writers.place import new_folder
from octcube_core.writers.read_back import differences

OCT_FILE = "oct.dcm"
SCALED = (
    "DICOM holds no floating point intensities: they are scaled to 16 bits, with slope and intercept in the file, and "
    "come back to within half a step."
)
EYE_UNKNOWN = "The exam does not say which eye it is and DICOM has no word for that: its files say B (both eyes)."
UNCOMPRESSED = "Images of less than 32 pixels along a side are stored uncompressed."
DATE_UNREADABLE = "A date of the patient is in no form that DICOM knows and was left out."


def write_dicom(
    exam: Exam, out: Path, keep_identity: bool, transfer_syntax: str
) -> tuple[str, ...]:
    """Write the files into ``out`` and return what they could not say.

    Raises
    ------
    InputError
        If ``out`` holds something or cannot be written, or the volume is too large for the transfer syntax.
    """
    visit = Visit.of(exam, keep_identity)
    scaled = False
    with new_folder(out) as folder, quiet_warnings():  # pydicom's quote values, so a patient's name
        names = _names(exam)
        enface = []
        for number, (image, name) in enumerate(zip(exam.enface, names, strict=True), 2):
            pixels = StoredPixels.of(image.pixels[np.newaxis], None)
            dataset = enface_dataset(visit, image, pixels, number)
            save(dataset, pixels.values, folder / f"{name}.dcm", transfer_syntax)
            enface.append(dataset)
            scaled |= pixels.scale is not None
        pixels = StoredPixels.of(exam.volume.voxels, exam.volume.black_white)
        volume = oct_dataset(visit, pixels, enface)
        save(volume, pixels.values, folder / OCT_FILE, transfer_syntax)
        scaled |= pixels.scale is not None
        differing = differences(exam, folder / OCT_FILE, OCT_FILE, scaled)
    asked = transfer_syntax in COMPRESSED
    plain = [d for d in (volume, *enface) if not d.file_meta.TransferSyntaxUID.is_compressed]
    dates = (exam.patient.birth_date, exam.patient.exam_date) if keep_identity else ()
    return (
        *((SCALED,) if scaled else ()),
        *((EYE_UNKNOWN,) if exam.laterality is None else ()),
        *((UNCOMPRESSED,) if asked and plain else ()),
        *((DATE_UNREADABLE,) if any(date and not as_date(date) for date in dates) else ()),
        *differing,
    )


def _names(exam: Exam) -> list[str]:
    """Names of the en-face files: ir, faf, ..., and ir_2 for a second infrared image."""
    names: list[str] = []
    for index, image in enumerate(exam.enface):
        name = "oct_enface" if image.modality == "OCT" else image.modality.lower()
        earlier = sum(other.modality == image.modality for other in exam.enface[:index])
        names.append(f"{name}_{earlier + 1}" if earlier else name)
    return names
