"""Put a synthetic eye together: anatomy, diseases, scan, fundus images and the truth about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, Exam, Laterality, OCTVolume, ScanPattern
from octcube_core.phantom.acuity import foveal_thickness_um, read_letters
from octcube_core.phantom.alignment import Alignment
from octcube_core.phantom.along import render_along
from octcube_core.phantom.anatomy import Anatomy
from octcube_core.phantom.atrophy import Atrophy
from octcube_core.phantom.camera import Camera
from octcube_core.phantom.device import style_of
from octcube_core.phantom.diseases import DISEASE_MODELS, drusen
from octcube_core.phantom.fundus import fundus_images
from octcube_core.phantom.lesions import Lesions
from octcube_core.phantom.render import render
from octcube_core.phantom.retina import Retina, healthy_retina
from octcube_core.phantom.scan import plan_scan
from octcube_core.phantom.severity import Before

DISEASES = tuple(DISEASE_MODELS)
PREVALENCE = 0.25
BENCHMARK_DIFFICULTY = 1.0  # fixed: every published figure is measured at it
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
    systemic : dict of condition to whether the patient has it; empty where nothing is known
    ga_area_mm2 : area of geographic atrophy, 0 without one
    ga_growth : mm2 a year by which it grows after this visit, or None without one
    bcva : best-corrected visual acuity in ETDRS letters
    visit : number of the patient's visit, from 1
    years : since the first visit
    """

    diseases: tuple[str, ...]
    masks: dict[str, NDArray[np.bool_]]
    fovea_mm: tuple[float, float]
    systemic: Mapping[str, bool] = field(default_factory=dict)
    ga_area_mm2: float = 0.0
    ga_growth: float | None = None
    bcva: float | None = None
    visit: int = 1
    years: float = 0.0

    @property
    def labels(self) -> NDArray[np.float32]:
        """1 for each disease that is present, in the order of ``DISEASES``."""
        return np.array([name in self.diseases for name in DISEASES], np.float32)


@dataclass(frozen=True, eq=False, kw_only=True)
class SyntheticExam(Exam):
    """An exam that knows its truth."""

    truth: GroundTruth


@dataclass(frozen=True, eq=False)
class Eye:
    """An eye as it is whenever it is looked at.

    Attributes
    ----------
    anatomy, laterality : what it was born with
    tissue, pathology : streams of what its measures and its diseases leave open
    severities : each disease it has, and how strong its marks are
    atrophy : geographic atrophy, which then is what its AMD is
    """

    anatomy: Anatomy
    laterality: Laterality
    tissue: np.random.Generator
    pathology: np.random.Generator
    severities: Mapping[str, float]
    atrophy: Atrophy | None = None


@dataclass(frozen=True)
class Setting:
    """How an exam is made; the parameters of ``make_exam``."""

    shape: tuple[int, int, int] | None = None
    scan_pattern: ScanPattern = "raster"
    rotation_deg: float = 0.0
    style: str = "spectralis"
    difficulty: float = BENCHMARK_DIFFICULTY
    misalignment: float = 0.0
    modalities: tuple[str, ...] = ("OCT", "IR", "FAF")


def sample_diseases(rng: np.random.Generator) -> tuple[str, ...]:
    """Each disease independently with probability 0.25."""
    return tuple(name for name in DISEASES if rng.random() < PREVALENCE)


def make_exam(
    seed: int | Sequence[int],
    *,
    diseases: Iterable[str] | None = None,
    laterality: Laterality | None = None,
    shape: tuple[int, int, int] | None = None,
    scan_pattern: ScanPattern = "raster",
    rotation_deg: float = 0.0,
    style: str = "spectralis",
    difficulty: float = BENCHMARK_DIFFICULTY,
    misalignment: float = 0.0,
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
    shape : (bscans, depth, width), optional
        The style's usual one by default, (60, 256, 256) for the first. A circle and a line have one B-scan.
    scan_pattern : 'raster', 'radial', 'circle' or 'line'
        A raster of one B-scan is still a raster. Every pattern but the unturned raster shows the eye that the same
        seed gives in the default raster, at rest.
    rotation_deg : float
        Turns the pattern clockwise on the fundus image: 90 gives B-scans from top to bottom.
    style : 'spectralis', 'cirrus' or 'maestro2'
        Whose scans the volume looks like.
    difficulty : float
        Above 1 lesions are fainter and noise is stronger, below 1 the reverse.
    misalignment : float
        0: the fundus images show exactly 9 x 9 mm around the scan. 1: as cameras do it, FAF is turned by up to 4
        degrees, shifted and has its own field; IR a little, which the B-scans' places on it follow.

    Raises
    ------
    InputError
        For an unknown disease, style or scan pattern, or a shape too small to hold a retina.
    """
    rng = np.random.default_rng(seed)
    # A stream each, so that the same seed with another disease is the same eye on the same device.
    measures, tissue, pathology, visit = rng.spawn(4)
    drawn, side = sample_diseases(rng), "OD" if rng.random() < 0.5 else "OS"
    present = drawn if diseases is None else _checked(diseases)
    eye = Eye(
        Anatomy.sample(measures),
        laterality or ("OD" if side == "OD" else "OS"),
        tissue,
        pathology,
        dict.fromkeys(present, 1.0),
    )
    setting = Setting(shape, scan_pattern, rotation_deg, style, difficulty, misalignment)
    return examine(eye, visit, setting)


def examine(
    eye: Eye,
    visit: np.random.Generator,
    setting: Setting,
    *,
    number: int = 1,
    years: float = 0.0,
    systemic: Mapping[str, bool] | None = None,
) -> SyntheticExam:
    """Look at an eye once: its diseases as they are, and an alignment, device and noise drawn from ``visit``.

    ``number``, ``years`` (since the first visit) and ``systemic`` go into the truth; an atrophy grows with the years.
    """
    style = style_of(setting.style)
    shape = setting.shape or style.shape
    if min(shape) < 1 or shape[1] < 64 or shape[2] < 16:
        raise InputError(f"A synthetic eye needs at least 1 x 64 x 16 voxels, not {shape}.")
    if not setting.difficulty > 0:
        raise InputError("The difficulty of synthetic eyes must be greater than 0.")
    position, device_stream, noise, camera_stream, reading = visit.spawn(5)
    scan = plan_scan(setting.scan_pattern, shape[0], shape[2], setting.rotation_deg)
    # Unturned rasters draw the eye on their own A-scans; the others sample it from a fine grid.
    on_grid = setting.scan_pattern == "raster" and setting.rotation_deg == 0
    grid = (shape[0], shape[2]) if on_grid else (FINE, FINE)
    alignment = Alignment.sample(position, style.depth_um, still=not on_grid)
    retina = healthy_retina(eye.anatomy, eye.tissue, alignment, grid, eye.laterality)
    healthy_um = foveal_thickness_um(retina)
    lesions = _afflict(retina, eye, setting.difficulty, years)
    device = style.sample(device_stream, setting.difficulty)
    if on_grid:
        voxels, masks = render(retina, lesions, device, shape[1], noise)
    else:
        voxels, masks = render_along(scan, retina, lesions, device, shape[1], noise)
    cameras = (
        Camera.infrared(camera_stream, setting.misalignment),
        Camera.autofluorescence(camera_stream, setting.misalignment),
    )
    ir, faf = (
        (pixels, (camera.pitch_mm, camera.pitch_mm))
        for pixels, camera in zip(
            fundus_images(retina, lesions, cameras, camera_stream), cameras, strict=True
        )
    )
    taken = EnFaceImage(ir[0], "IR", ir[1]), EnFaceImage(faf[0], "FAF", faf[1])
    spacing = scan.between_bscans_mm, style.depth_um / 1000 / shape[1], scan.along_bscan_mm
    truth = GroundTruth(
        tuple(name for name in DISEASES if name in eye.severities),
        masks,
        retina.fovea_mm,
        dict(systemic or {}),
        lesions.atrophy_mm2,
        lesions.atrophy_growth,
        read_letters(healthy_um, retina, float(reading.standard_normal())),
        number,
        years,
    )
    return SyntheticExam(
        volume=OCTVolume(voxels, spacing),
        enface=tuple(image for image in taken if image.modality in setting.modalities),
        locations=scan.on_fundus(cameras[0]) if "IR" in setting.modalities else None,
        laterality=eye.laterality,
        scan_pattern=setting.scan_pattern,
        device=style.name,
        format="synthetic",
        truth=truth,
    )


def _afflict(retina: Retina, eye: Eye, difficulty: float, years: float) -> Lesions:
    """Let the eye's diseases change the retina; the hyaloid lies in front of whatever the others have made of it."""
    lesions = Lesions(years)
    streams = dict(zip(DISEASES, eye.pathology.spawn(len(DISEASES)), strict=True))
    for name in sorted(eye.severities, key=lambda name: (name == "PVD", DISEASES.index(name))):
        before = Before.of(retina, lesions)
        if name == "AMD" and eye.atrophy is not None:
            drusen(retina, lesions, streams[name])
            eye.atrophy.add_to(retina, lesions)
        else:
            DISEASE_MODELS[name](retina, lesions, streams[name])
        before.scale(retina, lesions, eye.severities[name] / np.sqrt(difficulty))
    return lesions


def _checked(diseases: Iterable[str]) -> tuple[str, ...]:
    wanted = {diseases} if isinstance(diseases, str) else set(diseases)
    if unknown := wanted - set(DISEASES):
        raise InputError(
            f"Unknown disease {sorted(unknown)[0]!r}; known are {', '.join(DISEASES)}."
        )
    return tuple(name for name in DISEASES if name in wanted)
