"""What is written is opened again: an export that does not come back as the exam was is said."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import OCTCubeError
from octcube_core.exam import EnFaceImage, Exam, Spacing

_MOST_BYTES = 2 * 1024**3  # a compressed volume is decoded as a whole
TOO_LARGE = "The export was not opened again for a check, as it is larger than 2 GB."
_SPACINGS = ("distance between B-scans", "axial spacing", "lateral spacing")
_LEVELS = 65535
_SAME_MM, _SAME_PIXELS = 1e-6, 0.01


def differences(exam: Exam, written: Path, name: str, scaled: bool = False) -> tuple[str, ...]:
    """Open an export and compare it with the exam, but for the patient and the order of the en-face images.

    Parameters
    ----------
    exam : Exam
        What was written.
    written : Path
        The file or folder to open.
    name : str
        What the user calls it.
    scaled : bool
        Whether floating point numbers were scaled to 16 bits.

    Returns
    -------
    tuple of str
        A sentence with all that differs and what the reader says of it; empty if nothing does.
    """
    from octcube_core.readers import read_exam

    if exam.volume.voxels.nbytes > _MOST_BYTES:
        return (TOO_LARGE,)
    try:
        read = read_exam(written)
    except OCTCubeError as error:
        return (f"The export cannot be opened again: {str(error).replace(written.name, name)}",)
    found = list(_differences(exam, read, scaled))
    if not found:
        return ()
    reasons = [told for told in dict.fromkeys(read.warnings) if told not in exam.warnings]
    return (
        f"When the export is opened, it differs from the exam in {'; '.join(found)}.",
        *(f"When the export is opened: {reason}" for reason in reasons),
    )


def _differences(exam: Exam, read: Exam, scaled: bool) -> Iterator[str]:
    volume, other = exam.volume, read.volume
    if volume.shape != other.shape:
        yield f"the volume's shape ({volume.shape}, read as {other.shape})"
    elif not _same_values(volume.voxels, other.voxels, volume.black_white, scaled):
        yield "the volume's intensities"
    elif not np.allclose(volume.black_white, other.black_white, rtol=1e-4, atol=1e-6):
        yield "what is shown as black and white"
    yield from _spacing(_SPACINGS, volume.spacing_mm, other.spacing_mm)
    yield from _images(exam, read, scaled)
    if not _same_places(exam, read):
        yield f"the places of the B-scans{' (read as unknown)' if read.locations is None else ''}"
    for what, here, there in (
        ("the eye", exam.laterality, read.laterality),
        ("the scan pattern", exam.scan_pattern, read.scan_pattern),
        ("the device", exam.device or None, read.device or None),
    ):
        if here != there:
            yield f"{what} ({here or 'unknown'}, read as {there or 'unknown'})"


def _images(exam: Exam, read: Exam, scaled: bool) -> Iterator[str]:
    rest = list(read.enface)
    for image in exam.enface:
        alike = [other for other in rest if other.modality == image.modality]
        same = [other for other in alike if _same_pixels(image, other, scaled)]
        if not alike:
            yield f"the {image.modality} image, which is missing"
            continue
        other = (same or alike)[0]
        rest = [kept for kept in rest if kept is not other]
        if not same:
            yield f"the pixels of the {image.modality} image"
        names = [f"{side} spacing of the {image.modality} image" for side in ("row", "column")]
        yield from _spacing(names, image.spacing_mm, other.spacing_mm)
    for other in rest:
        yield f"another {other.modality} image"


def _spacing(
    names: tuple[str, ...] | list[str], here: tuple[Spacing, ...], there: tuple[Spacing, ...]
) -> Iterator[str]:
    for name, one, other in zip(names, here, there, strict=True):
        unknown = one is None or other is None
        if one is not other if unknown else abs(float(one or 0) - float(other or 0)) > _SAME_MM:
            yield f"the {name} ({_mm(one)}, read as {_mm(other)})"


def _mm(spacing: Spacing) -> str:
    return "unknown" if spacing is None else f"{spacing:.4g} mm"


def _same_pixels(image: EnFaceImage, other: EnFaceImage, scaled: bool) -> bool:
    same_shape = image.pixels.shape == other.pixels.shape
    return same_shape and _same_values(image.pixels, other.pixels, None, scaled)


def _same_values(
    here: NDArray[Any],
    there: NDArray[Any],
    black_white: tuple[float, float] | None,
    scaled: bool,
) -> bool:
    """Compare an image at a time, which bounds the memory."""
    if not (scaled and here.dtype.kind == "f"):
        return all(np.array_equal(one, other) for one, other in zip(here, there, strict=True))
    low, high = float(here.min()), float(here.max())
    if black_white is not None:
        low, high = min(low, black_white[0]), max(high, black_white[1])
    step = (high - low) / _LEVELS
    return all(
        np.allclose(one, other, rtol=1e-6, atol=step)
        for one, other in zip(here, there, strict=True)
    )


def _same_places(exam: Exam, read: Exam) -> bool:
    here, there = exam.locations, read.locations
    if here is None or there is None:
        return here is there
    if exam.enface[here.image].modality != read.enface[there.image].modality:
        return False
    if len(here.polylines) != len(there.polylines):
        return False
    return all(
        _same_line(line, other) for line, other in zip(here.polylines, there.polylines, strict=True)
    )


def _same_line(line: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    if len(line) != len(other):  # thinned: the ends tell
        line, other = line[[0, -1]], other[[0, -1]]
    return bool(np.abs(line - other).max() <= _SAME_PIXELS)
