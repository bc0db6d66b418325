"""Put a synthetic eye together: anatomy, diseases, scan, fundus images and the truth about them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, Exam, Laterality, OCTVolume, ScanPattern
from octcube_core.phantom.along import render_along
from octcube_core.phantom.diseases import DISEASE_MODELS
from octcube_core.phantom.fundus import SIZE, fundus_images
from octcube_core.phantom.lesions import Lesions
from octcube_core.phantom.render import Device, render
from octcube_core.phantom.retina import DEPTH_UM, healthy_retina
from octcube_core.phantom.scan import plan_scan
from octcube_core.phantom.vessels import FIELD_MM

DISEASES = tuple(DISEASE_MODELS)
PREVALENCE = 0.25
FINE = 384  # A-scans along each side of the grid that other patterns sample: the pitch of the drawn vessels


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
    scan_pattern: ScanPattern = "raster",
    rotation_deg: float = 0.0,
) -> SyntheticExam:
    """Make a synthetic eye: a macular scan within 6 x 6 mm, an IR and an FAF image of 9 x 9 mm, and lesion masks.

    Parameters
    ----------
    seed : int or sequence of int
        The same seed and arguments give the same eye, voxel for voxel.
    diseases : iterable of str, optional
        Abbreviations from ``DISEASES``; by default drawn at random, each with probability 0.25.
    laterality : 'OD' or 'OS', optional
        Drawn at random by default.
    shape : (bscans, depth, width)
        A circle and a line have one B-scan, whatever is asked for.
    scan_pattern : 'raster', 'radial', 'circle' or 'line'
        A raster of one B-scan is still a raster. Every pattern but the unturned raster shows the eye that the same
        seed gives in the default raster, at rest.
    rotation_deg : float
        Turns the pattern clockwise on the fundus image: 90 gives B-scans from top to bottom.

    Raises
    ------
    InputError
        For an unknown disease or scan pattern, or a shape too small to hold a retina.
    """
    if min(shape) < 1 or shape[1] < 64 or shape[2] < 16:
        raise InputError(f"A synthetic eye needs at least 1 x 64 x 16 voxels, not {shape}.")
    scan = plan_scan(scan_pattern, shape[0], shape[2], rotation_deg)
    rng = np.random.default_rng(seed)
    # A stream each, so that the same seed with another disease is the same eye on the same device.
    anatomy, pathology, device, noise, camera = rng.spawn(5)
    drawn, side = sample_diseases(rng), "OD" if rng.random() < 0.5 else "OS"
    present = drawn if diseases is None else _checked(diseases)
    eye: Laterality = laterality or ("OD" if side == "OD" else "OS")
    # Unturned rasters draw the eye on their own A-scans; the others sample it from a fine grid.
    on_grid = scan_pattern == "raster" and rotation_deg == 0
    grid = (shape[0], shape[2]) if on_grid else (FINE, FINE)
    retina = healthy_retina(anatomy, grid, eye, still=not on_grid)
    lesions = Lesions()
    streams = dict(zip(DISEASES, pathology.spawn(len(DISEASES)), strict=True))
    # The hyaloid lies in front of whatever the others have made of the retina.
    for name in sorted(present, key=lambda name: name == "PVD"):
        DISEASE_MODELS[name](retina, lesions, streams[name])
    style = Device.sample(device)
    if on_grid:
        voxels, masks = render(retina, lesions, style, shape[1], noise)
    else:
        voxels, masks = render_along(scan, retina, lesions, style, shape[1], noise)
    ir, faf = fundus_images(retina, lesions, present, camera)
    pitch = FIELD_MM / SIZE
    return SyntheticExam(
        volume=OCTVolume(
            voxels, (scan.between_bscans_mm, DEPTH_UM / 1000 / shape[1], scan.along_bscan_mm)
        ),
        enface=(EnFaceImage(ir, "IR", (pitch, pitch)), EnFaceImage(faf, "FAF", (pitch, pitch))),
        locations=scan.on_fundus(SIZE),
        laterality=eye,
        scan_pattern=scan_pattern,
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
