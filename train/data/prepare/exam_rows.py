"""One exam -> the arrays of a row of the store, and what the manifest says of it."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.checkpoints.card import Architecture
from octcube_core.cross_device import applies, harmonise
from octcube_core.errors import OCTCubeError
from octcube_core.exam import EnFaceImage, Exam, OCTVolume, Patient, ScanPattern
from octcube_core.identity import patient_hash, shifted_day
from octcube_core.preprocess import resize_volume
from octcube_core.preprocess_image import MEAN, STANDARD_DEVIATION, prepare_image
from octcube_core.readers.intensity import luminance
from train.data.prepare.identity import without_identity
from train.data.prepare.sources import Listed

COLOUR = "CFP"
_OURS = "octcube_core", "train"


@dataclass(frozen=True)
class Recipe:
    """How exams become rows.

    Attributes
    ----------
    size : (frames, height, width) of the stored volumes
    image_size : (rows, columns) of the stored en-face images
    modalities : en-face modalities to store, where an exam has them
    cross_device : 'auto' prepares volumes of other devices than Heidelberg's, 'on' all, 'off' none
    scan_patterns : that are taken; a scan of unknown pattern always is
    """

    size: tuple[int, int, int]
    image_size: tuple[int, int]
    modalities: tuple[str, ...]
    cross_device: str
    scan_patterns: tuple[str, ...]

    def image_shape(self, modality: str) -> tuple[int, ...]:
        """Shape of a stored image: colour photographs are RGB, all others grey."""
        return (*self.image_size, 3) if modality == COLOUR else self.image_size


@dataclass(frozen=True)
class Row:
    """What is stored of one exam.

    Attributes
    ----------
    volume : uint8 array, shape (frames, height, width)
    images : for each modality that the exam has, uint8 of the recipe's shape
    facts : plain values for the journal and the manifest; no identity
    """

    volume: NDArray[np.uint8]
    images: Mapping[str, NDArray[np.uint8]]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """An exam that cannot be used.

    Attributes
    ----------
    shown : its path, without what tells who the patient is
    reason : in one sentence
    unexpected : where nobody foresaw that, so that it may be an error of this program: which exception, and the line
        of ours that it came through; empty else
    """

    shown: str
    reason: str
    unexpected: str = ""


def prepare_row(listed: Listed, recipe: Recipe, salt: str) -> Row | Refusal:
    """Read an exam and make its row; whatever is wrong with it is a `Refusal`."""
    patient, unexpected = Patient(), ""
    try:
        exam = listed.entry.read()
        patient = exam.patient
        if (pattern := _pattern(exam)) is None or pattern in recipe.scan_patterns:
            return _row(listed, exam, recipe, salt)
        reason = (
            f"It is a {pattern} scan, and only these are wanted: {', '.join(recipe.scan_patterns)}; allow it by "
            "--scan-patterns."
        )
    except OCTCubeError as error:
        reason = str(error)
    except Exception as error:  # a bad exam never stops the others
        reason = f"It cannot be prepared ({type(error).__name__}); export or copy it again."
        unexpected = _whence(error)
    shown, reason = (
        without_identity(text, patient, listed.folder_patient, salt)
        for text in (listed.shown, reason)
    )
    return Refusal(shown, reason, unexpected)


def _whence(error: Exception) -> str:
    """Type and place of an exception; not its message, which may hold anything that is in the file."""
    frames = [
        (frame.f_globals["__name__"], line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    # The last line of ours; this module's at least.
    module, line = [place for place in frames if place[0].split(".")[0] in _OURS][-1]
    return f"{type(error).__name__} in {module}, line {line}"


def _pattern(exam: Exam) -> ScanPattern | None:
    """The scan pattern; a single B-scan is a line, whatever it was cut from, or a circle."""
    single = exam.volume.shape[0] == 1 and exam.scan_pattern != "circle"
    return "line" if single else exam.scan_pattern


def _row(listed: Listed, exam: Exam, recipe: Recipe, salt: str) -> Row:
    harmonised = applies(recipe.cross_device, exam.device)
    volume = harmonise(exam.volume)[0] if harmonised else exam.volume
    found = ((name, exam.image(name)) for name in recipe.modalities)  # type: ignore[arg-type]
    images = {name: _image(image, recipe, name) for name, image in found if image is not None}
    identifier = exam.patient.id or listed.patient
    facts = {
        "patient": patient_hash(identifier, salt),
        "named": bool(exam.patient.id or listed.identity),
        "loose": listed.loose and not exam.patient.id,
        "day": shifted_day(exam.patient.exam_date, identifier, salt),
        "laterality": exam.laterality or listed.laterality,
        "device": exam.device,
        "modalities": ["OCT", *images],
        "spacing": list(exam.volume.spacing_mm),
        "cross_device": harmonised,
        "content": _digest(exam.volume),
        "shown": without_identity(listed.shown, exam.patient, listed.folder_patient, salt),
    }
    return Row(_eight_bits(resize_volume(volume, recipe.size).numpy()), images, facts)


def _image(image: EnFaceImage, recipe: Recipe, modality: str) -> NDArray[np.uint8]:
    """The image as the viewer gives it to a model of this size, before it is normalised."""
    planar = Architecture(
        1, 1, 1, (3, 1, 1), (1, *recipe.image_size), 1, final_residual=True, planar=True
    )
    tensor, _ = prepare_image(image, planar)
    unit = tensor[0].numpy().transpose(1, 2, 0) * STANDARD_DEVIATION + MEAN
    rgb = _eight_bits(unit)
    return rgb if modality == COLOUR else luminance(rgb)[0]


def _eight_bits(unit: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(np.clip(unit, 0, 1) * 255).astype(np.uint8)


def _digest(volume: OCTVolume) -> str:
    """Hash of the voxels as they were read, by which the same scan is known in another file."""
    digest = hashlib.sha256(f"{volume.voxels.shape} {volume.voxels.dtype}".encode())
    for bscan in volume.voxels:
        digest.update(np.ascontiguousarray(bscan).data)
    return digest.hexdigest()
