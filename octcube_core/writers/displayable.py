"""Values of an exam as the types that every format takes."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, Exam, OCTVolume
from octcube_core.readers.intensity import display_intensities


def displayable(exam: Exam) -> Exam:
    """Bring all values of an exam to uint8, uint16 or float32.

    Raises
    ------
    InputError
        If some are not numbers.
    """
    volume = OCTVolume(
        _checked(exam.volume.voxels, "volume"), exam.volume.spacing_mm, exam.volume.value_range
    )
    enface = tuple(
        EnFaceImage(
            _checked(image.pixels, f"{image.modality} image"), image.modality, image.spacing_mm
        )
        for image in exam.enface
    )
    return dataclasses.replace(exam, volume=volume, enface=enface)


def _checked(values: NDArray[Any], what: str) -> NDArray[Any]:
    values = display_intensities(values)
    floating = values.dtype.kind == "f"
    if floating and not all(np.isfinite(part).all() for part in values):
        raise InputError(f"The {what} holds values that are not numbers, which cannot be written.")
    return values
