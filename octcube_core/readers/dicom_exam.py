"""Put an exam together from the frames of a DICOM file, what it states, and the files of its fundus images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import ExamReadError
from octcube_core.exam import BScanLocations, EnFaceImage, Exam, Modality, OCTVolume
from octcube_core.readers.dicom_enface import read_photograph
from octcube_core.readers.dicom_file import DicomFile, read_file
from octcube_core.readers.dicom_geometry import checked_geometry
from octcube_core.readers.dicom_location import (
    OFF_THE_IMAGE,
    SOME_MISSING,
    FramePlace,
    en_face_stack,
    frame_places,
    is_transverse,
    lie_on,
    lines_on_image,
    named_images,
)
from octcube_core.readers.dicom_measures import (
    ScanGeometry,
    plausible_geometry,
    stated_geometry,
)
from octcube_core.readers.dicom_neighbours import Pairing
from octcube_core.readers.dicom_pixels import Frames
from octcube_core.readers.dicom_private import (
    private_spacing,
    private_value_range,
    restore_floats,
)
from octcube_core.readers.dicom_values import has_private
from octcube_core.readers.failures import COLOURED_BSCANS, spacing_warnings
from octcube_core.readers.intensity import display_intensities, luminance
from octcube_core.readers.plausible import FUNDUS_MM, plausible_mm

UNREADABLE_FUNDUS = "A fundus image of the exam is damaged or of an unknown kind; it is left out."
FUNDUS_IMPLAUSIBLE = "A fundus image states a pixel spacing that none can have; it is left unknown."

_MAY_BE_OCT = frozenset({"", "OPT", "OCT", "OP", "OT", "SC", "XC"})


@dataclass(frozen=True, eq=False)
class _EnFace:
    """En-face images with the SOP Instance UIDs of their files."""

    images: tuple[EnFaceImage, ...]
    instances: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Placed:
    """En-face images and geometry after they have been compared with each other."""

    images: tuple[EnFaceImage, ...]
    locations: BScanLocations | None
    geometry: ScanGeometry
    warnings: tuple[str, ...]


def build_exam(
    file: DicomFile, frames: Frames, pairing: Pairing, modalities: Mapping[Path, Modality]
) -> Exam:
    """Make an exam.

    Parameters
    ----------
    file : DicomFile
        Header and functional groups.
    frames : Frames
        All its frames.
    pairing : Pairing
        Files of its fundus images.
    modalities : mapping of Path to str
        Overrides what a fundus image says of itself.
    """
    count = len(frames.values)
    check_groups(file, count)
    voxels, value_range, coloured = _intensities(file, frames)
    geometry = stated_geometry(file, count)
    places, incomplete = frame_places(file, count)
    if is_transverse(places):
        voxels, geometry = _as_bscans(voxels, geometry, places)
    shape = (voxels.shape[0], voxels.shape[1], voxels.shape[2])
    geometry = plausible_geometry(geometry, shape)
    enface = _photographs(pairing.files, named_images(file), modalities)
    placed = _place(places, enface, geometry, shape)
    geometry = placed.geometry
    own = has_private(file.head)
    private = private_spacing(file.head, 3) if own else (None, None, None)
    z, y, x = (known or other for known, other in zip(geometry.spacing_mm, private, strict=True))
    volume = OCTVolume(display_intensities(voxels), (z, y, x), value_range)
    laterality, eye_notes = file.laterality()
    notes = (
        *_kind_notes(file),
        *_spacing_notes(volume, geometry),
        *geometry.warnings,
        *eye_notes,
        *pairing.warnings,
        *placed.warnings,
        *((SOME_MISSING,) if incomplete else ()),
        *((COLOURED_BSCANS,) if coloured else ()),
    )
    return Exam(
        volume,
        enface=placed.images,
        locations=placed.locations,
        laterality=laterality,
        scan_pattern=geometry.scan_pattern,
        device=file.device,
        source=file.path,
        format="DICOM",
        warnings=tuple(dict.fromkeys(notes)),
        patient=file.patient(),
    )


def _intensities(
    file: DicomFile, frames: Frames
) -> tuple[NDArray[Any], tuple[float, float] | None, bool]:
    """Voxels, what is black and white, and whether they were coloured."""
    values, coloured = frames.values, False
    if values.ndim == 4:
        values, coloured = luminance(values)
    if not has_private(file.head):
        return values, frames.value_range, coloured
    voxels = restore_floats(file.head, values)
    value_range = frames.value_range if voxels is values else None
    return voxels, private_value_range(file.head) or value_range, coloured


def _place(
    places: Mapping[str, Sequence[FramePlace]],
    enface: _EnFace,
    geometry: ScanGeometry,
    shape: tuple[int, int, int],
) -> _Placed:
    """Lay the B-scans on their image, and compare its size with theirs."""
    images, notes = list(enface.images), list(enface.warnings)
    localizer = _localizer(enface, places)
    # Even where the image is missing, its lines tell the pattern and how far apart they are.
    named = enface.instances[localizer] if localizer is not None else next(iter(places), None)
    lines = None if named is None else lines_on_image(places[named], shape, is_transverse(places))
    if lines and localizer is not None and not lie_on(lines, images[localizer].shape):
        notes.append(OFF_THE_IMAGE)
        lines = None
    fundus_spacing = images[localizer].spacing_mm if localizer is not None else (None, None)
    geometry = checked_geometry(geometry, shape, lines, fundus_spacing)
    locations = None
    if localizer is not None:
        if not geometry.fundus_spacing_holds:
            images[localizer] = replace(images[localizer], spacing_mm=(None, None))
        locations = BScanLocations(tuple(lines), localizer) if lines else None
    return _Placed(tuple(images), locations, geometry, tuple(notes))


def check_groups(file: DicomFile, frames: int) -> None:
    """Refuse a file whose Per-frame Functional Groups are not as many as its frames.

    Raises
    ------
    ExamReadError
        If they are not.
    """
    groups = len(file.frame_groups)
    if groups not in (0, frames):
        raise ExamReadError(
            f"{file.path.name} describes {groups} frames but states {frames}; it is damaged: export it again."
        )


def _kind_notes(file: DicomFile) -> tuple[str, ...]:
    """Warn of an image that is of another organ or device; secondary captures and the like may be OCT."""
    modality = file.text("Modality")
    if modality in _MAY_BE_OCT or not (modality.isalnum() and modality.isascii()):
        return ()
    return (f"The file says that it is no OCT: its modality is {modality[:16]}.",)


def _spacing_notes(volume: OCTVolume, geometry: ScanGeometry) -> tuple[str, ...]:
    """Warn of unknown spacings, but of the distance between B-scans only where there is one."""
    unexplained = [
        1.0 if axis in geometry.told else value for axis, value in enumerate(volume.spacing_mm)
    ]
    return spacing_warnings(unexplained, volume.shape[0], geometry.scan_pattern)


def _as_bscans(
    planes: NDArray[Any], geometry: ScanGeometry, places: Mapping[str, Sequence[FramePlace]]
) -> tuple[NDArray[Any], ScanGeometry]:
    """Turn a stack of en-face planes (depth, row, column) into B-scans (row, depth, column)."""
    stack = en_face_stack(places)
    step, row, column = geometry.spacing_mm
    ordered = planes[::-1] if stack.deepest_first else planes
    voxels = np.ascontiguousarray(ordered.transpose(1, 0, 2))
    return voxels, replace(
        geometry,
        spacing_mm=(row, stack.axial_mm if stack.axial_mm is not None else step, column),
        warnings=(*geometry.warnings, *stack.warnings),
        scan_pattern="raster" if voxels.shape[0] > 1 else None,
        pitch_doubt=None,
        thickness_mm=None,
    )


def _photographs(
    files: Sequence[DicomFile],
    placed_on: Sequence[str],
    modalities: Mapping[Path, Modality],
) -> _EnFace:
    images: list[EnFaceImage] = []
    instances: list[str] = []
    notes: list[str] = []
    for file in files:
        try:
            whole = file if file.pixels is not None else read_file(file.path)
            found = read_photograph(whole, modalities.get(file.path), file.instance in placed_on)
        except (ExamReadError, ValueError, OSError, MemoryError):
            notes.append(UNREADABLE_FUNDUS)
            continue
        except Exception:  # a decoder's own errors
            notes.append(UNREADABLE_FUNDUS)
            continue
        image, implausible = _plausible_image(found.image)
        images.append(image)
        notes.extend(implausible)
        instances.append(file.instance)
        notes.extend(found.warnings)
    return _EnFace(tuple(images), tuple(instances), tuple(notes))


def _plausible_image(image: EnFaceImage) -> tuple[EnFaceImage, tuple[str, ...]]:
    stated = [value for value in image.spacing_mm if value is not None]
    if all(plausible_mm(value, *FUNDUS_MM) is not None for value in stated):
        return image, ()
    return replace(image, spacing_mm=(None, None)), (FUNDUS_IMPLAUSIBLE,)


def _localizer(enface: _EnFace, places: Mapping[str, Sequence[FramePlace]]) -> int | None:
    """Index of the image to place B-scans on: an infrared one if there is, else the first."""
    placed = [index for index, instance in enumerate(enface.instances) if instance in places]
    infrared = [index for index in placed if enface.images[index].modality == "IR"]
    return next(iter([*infrared, *placed]), None)
