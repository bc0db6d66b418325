"""Put a synthetic eye together: anatomy, diseases, scan, fundus images and the truth about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import BScanLocations, EnFaceImage, Exam, Laterality, OCTVolume
from octcube_core.phantom.diseases import DISEASE_MODELS
from octcube_core.phantom.fundus import SIZE, fundus_images
from octcube_core.phantom.lesions import Lesions
from octcube_core.phantom.render import Device, render
from octcube_core.phantom.retina import DEPTH_UM, SCAN_MM, healthy_retina
from octcube_core.phantom.vessels import FIELD_MM

DISEASES = tuple(DISEASE_MODELS)
PREVALENCE = 0.25


@dataclass(frozen=True, eq=False)
class GroundTruth:
    """What is really in a synthetic eye.

    Attributes
    ----------
    diseases : tuple of str
    masks : dict of disease to bool array, shape (bscan, depth, width)
        The voxels of each disease's lesions.
    fovea_mm : (x, z) of the fovea from the centre of the scan
    """

    diseases: tuple[str, ...]
    masks: dict[str, NDArray[np.bool_]]
    fovea_mm: tuple[float, float]

    @property
    def labels(self) -> NDArray[np.float32]:
        """1 for each disease that is present, in the order of ``DISEASES``."""
        return np.array([name in self.diseases for name in DISEASES], np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class SyntheticExam(Exam):
    """An exam that knows its truth."""

    truth: GroundTruth


def sample_diseases(rng: np.random.Generator) -> tuple[str, ...]:
    """Each disease independently with probability 0.25."""
    return tuple(name for name in DISEASES if rng.random() < PREVALENCE)


def make_exam(
    seed: int | Sequence[int],
    *,
    diseases: Iterable[str] | None = None,
    laterality: Laterality | None = None,
    shape: tuple[int, int, int] = (60, 256, 256),
) -> SyntheticExam:
    """Make a synthetic eye: a macular raster of 6 x 6 mm, an IR and an FAF image of 9 x 9 mm, and lesion masks.

    Parameters
    ----------
    seed : int or sequence of int
        The same seed and arguments give the same eye, voxel for voxel.
    diseases : iterable of str, optional
        Abbreviations from ``DISEASES``; by default drawn at random, each with probability 0.25.
    laterality : 'OD' or 'OS', optional
        Drawn at random by default.
    shape : (bscans, depth, width)

    Raises
    ------
    InputError
        For an unknown disease or a shape too small to hold a retina.
    """
    if min(shape) < 1 or shape[1] < 64 or shape[2] < 16:
        raise InputError(f"A synthetic eye needs at least 1 x 64 x 16 voxels, not {shape}.")
    rng = np.random.default_rng(seed)
    # A stream each, so that the same seed with another disease is the same eye on the same device.
    anatomy, pathology, device, noise, camera = rng.spawn(5)
    drawn, side = sample_diseases(rng), "OD" if rng.random() < 0.5 else "OS"
    present = drawn if diseases is None else _checked(diseases)
    eye: Laterality = laterality or ("OD" if side == "OD" else "OS")
    retina = healthy_retina(anatomy, (shape[0], shape[2]), eye)
    lesions = Lesions()
    streams = dict(zip(DISEASES, pathology.spawn(len(DISEASES)), strict=True))
    # The hyaloid lies in front of whatever the others have made of the retina.
    for name in sorted(present, key=lambda name: name == "PVD"):
        DISEASE_MODELS[name](retina, lesions, streams[name])
    voxels, masks = render(retina, lesions, Device.sample(device), shape[1], noise)
    ir, faf = fundus_images(retina, lesions, masks, camera)
    pitch = FIELD_MM / SIZE
    return SyntheticExam(
        volume=OCTVolume(
            voxels, (SCAN_MM / shape[0], DEPTH_UM / 1000 / shape[1], SCAN_MM / shape[2])
        ),
        enface=(EnFaceImage(ir, "IR", (pitch, pitch)), EnFaceImage(faf, "FAF", (pitch, pitch))),
        locations=_raster_on_fundus(shape),
        laterality=eye,
        scan_pattern="raster",
        device="Synthetic eye",
        format="synthetic",
        truth=GroundTruth(present, masks, retina.fovea_mm),
    )


def _checked(diseases: Iterable[str]) -> tuple[str, ...]:
    wanted = {diseases} if isinstance(diseases, str) else set(diseases)
    if unknown := wanted - set(DISEASES):
        raise InputError(
            f"Unknown disease {sorted(unknown)[0]!r}; known are {', '.join(DISEASES)}."
        )
    return tuple(name for name in DISEASES if name in wanted)


def _raster_on_fundus(shape: tuple[int, int, int]) -> BScanLocations:
    """Horizontal lines, the superior one first; each from its first to its last A-scan."""

    def pixel(millimetres: float) -> float:
        return (millimetres + FIELD_MM / 2) / FIELD_MM * SIZE - 0.5

    half = SCAN_MM / 2
    first, last = half / shape[2] - half, half - half / shape[2]
    rows = [(b + 0.5) / shape[0] * SCAN_MM - half for b in range(shape[0])]
    lines = tuple(np.array([[pixel(z), pixel(first)], [pixel(z), pixel(last)]]) for z in rows)
    return BScanLocations(lines, image=0)
