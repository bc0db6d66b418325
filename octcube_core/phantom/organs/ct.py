"""A piece of a lung as computed tomography shows it, with a nodule or without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from octcube_core.exam import OCTVolume
from octcube_core.phantom.organs.exam import OrganExam

SHAPE = (60, 160, 160)
SPACING_MM = (1.5, 0.7, 0.7)
WINDOW_HU = (-1250.0, 250.0)  # what is shown as black and as white: the lung window
LUNG_HU, TISSUE_HU, FAT_HU, BONE_HU = -850.0, 45.0, -90.0, 420.0
PREVALENCE = 0.5
MALIGNANT = 0.5

Volume = NDArray[np.float32]
Point = NDArray[np.float64]


def make_ct(seed: int | Sequence[int]) -> OrganExam:
    """Make a CT-like volume, 90 x 112 x 112 mm around one lung.

    Half of the volumes hold a nodule of 7 to 22 mm among vessels of the same brightness, half of those with the signs
    of malignancy: large, spiculated, part-solid; the others are smaller, smooth, and some are calcified.

    Parameters
    ----------
    seed : int or sequence of int

    Returns
    -------
    OrganExam
        Labels ``nodule`` (0 or 1), ``malignant`` and ``diameter_mm`` (NaN without a nodule); mask ``nodule``.
    """
    rng = np.random.default_rng(seed)
    body, tree, finding, noise = rng.spawn(4)
    present = rng.random() < PREVALENCE
    malignant = rng.random() < MALIGNANT
    hounsfield, lung = _chest(body)
    hilum = _vessels(hounsfield, lung, tree)
    masks = {}
    labels = {"nodule": float(present), "malignant": np.nan, "diameter_mm": np.nan}
    if present:
        nodule = _Nodule.sample(finding, malignant)
        masks["nodule"] = nodule.add_to(hounsfield, lung, hilum, finding)
        labels |= {"malignant": float(malignant), "diameter_mm": nodule.diameter_mm}
    blurred = ndimage.gaussian_filter(hounsfield, (0.5, 0.7, 0.7), truncate=3)
    grain = ndimage.gaussian_filter(noise.standard_normal(SHAPE, dtype=np.float32), (0, 0.8, 0.8))
    blurred += float(noise.uniform(50, 110)) * grain
    black, white = WINDOW_HU
    shown = np.clip((blurred - black) / (white - black), 0, 1)
    return OrganExam(
        volume=OCTVolume((255 * shown).astype(np.uint8), SPACING_MM),
        device="Synthetic CT",
        format="synthetic",
        labels=labels,
        masks=masks,
    )


def _axes() -> tuple[Point, Point, Point]:
    """Millimetres from the volume's centre along each axis, ready to be combined."""
    z, y, x = (
        np.asarray((np.arange(size) - (size - 1) / 2) * pitch, np.float64)
        for size, pitch in zip(SHAPE, SPACING_MM, strict=True)
    )
    return z[:, None, None], y[:, None], x


def _chest(rng: np.random.Generator) -> tuple[Volume, NDArray[np.bool_]]:
    """Lung within the chest wall, with ribs, a mediastinum on one side and air beyond the skin."""
    z, y, x = _axes()
    side = 1.0 if rng.random() < 0.5 else -1.0
    width, height = rng.uniform(44, 52), rng.uniform(50, 60)
    taper = 1 - 0.002 * (z + 30) * rng.uniform(0.4, 1.2)
    wall = np.hypot((x + 4 * side) / (width * taper), y / (height * taper))
    bulge = rng.uniform(8, 16) * np.exp(-(((y - rng.uniform(-5, 15)) / 22) ** 2))
    heart = x * side + bulge - 40 + 6 * np.sin(z / 30 + rng.uniform(0, 6))
    lung = (wall < 1) & (heart < 0)
    texture = ndimage.zoom(rng.standard_normal((15, 40, 40)).astype(np.float32), 4, order=1)
    hounsfield = (LUNG_HU + rng.normal(0, 25) + 35 * texture).astype(np.float32)
    wall = np.broadcast_to(wall, SHAPE)
    hounsfield[~lung] = TISSUE_HU
    hounsfield[(wall > 1.12) & ~lung] = FAT_HU
    angle = np.arctan2(y, x + 4 * side)
    phase, spacing = rng.uniform(0, 30), rng.uniform(20, 26)
    slanted = (z + 14 * np.sin(angle) + phase) % spacing
    ribs = (slanted < 9) & (wall > 1.03) & (wall < 1.14) & (heart < 0)
    hounsfield[ribs] = BONE_HU
    hounsfield[np.broadcast_to((wall > 1.3) & (heart < 0), SHAPE)] = -1000
    return hounsfield, lung


def _vessels(hounsfield: Volume, lung: NDArray[np.bool_], rng: np.random.Generator) -> Point:
    """Branching vessels from the hilum outwards; returns the hilum."""
    inside = np.argwhere(lung)
    x = inside[:, 2] - SHAPE[2] / 2
    medial = 1 if _touches_wall(lung) else -1
    hilum = np.array(
        [0.0, rng.uniform(-6, 10), medial * float(np.abs(x).max()) * SPACING_MM[2] * 0.7]
    )
    for _ in range(int(rng.integers(13, 18))):
        heading = np.array([rng.normal(0, 0.9), rng.normal(0, 0.8), -medial * rng.uniform(0.3, 1)])
        _grow(hounsfield, lung, hilum, heading, float(rng.uniform(2.2, 3.6)), 3, rng)
    return hilum


def _touches_wall(lung: NDArray[np.bool_]) -> bool:
    """Whether the mediastinum lies at the end of the last axis."""
    middle = lung[SHAPE[0] // 2].any(axis=0)
    return bool(middle[: SHAPE[2] // 2].sum() > middle[SHAPE[2] // 2 :].sum())


def _grow(
    hounsfield: Volume,
    lung: NDArray[np.bool_],
    start: Point,
    heading: Point,
    radius: float,
    generations: int,
    rng: np.random.Generator,
) -> None:
    at, heading = start.copy(), heading / np.linalg.norm(heading)
    for step in range(int(rng.integers(13, 24))):
        heading = heading + rng.normal(0, 0.1, 3)
        heading /= np.linalg.norm(heading)
        at = at + 1.6 * heading
        radius *= 0.985
        _add_ball(hounsfield, at, radius, TISSUE_HU - 10, lung)
        if generations and step > 4 and rng.random() < 0.16:
            turned = heading + rng.normal(0, 0.6, 3)
            _grow(hounsfield, lung, at, turned, 0.72 * radius, generations - 1, rng)


def _box(centre: Point, reach: float) -> tuple[tuple[slice, ...], list[Point]]:
    """The part of the volume within ``reach`` of a point, and distances from it along each axis."""
    slices, axes = [], []
    for middle, size, pitch in zip(centre, SHAPE, SPACING_MM, strict=True):
        at = middle / pitch + (size - 1) / 2
        low = int(np.clip(np.floor(at - reach / pitch), 0, size))
        high = int(np.clip(np.ceil(at + reach / pitch) + 1, 0, size))
        slices.append(slice(low, high))
        axes.append((np.arange(low, high) - at) * pitch)
    return tuple(slices), [axes[0][:, None, None], axes[1][:, None], axes[2]]


def _add_ball(
    hounsfield: Volume, centre: Point, radius: float, value: float, lung: NDArray[np.bool_]
) -> None:
    box, (z, y, x) = _box(centre, radius + 1)
    share = np.clip(radius - np.sqrt(z**2 + y**2 + x**2) + 0.5, 0, 1) * lung[box]
    hounsfield[box] = np.maximum(hounsfield[box], share * value + (1 - share) * LUNG_HU)


@dataclass(frozen=True)
class _Nodule:
    diameter_mm: float
    spicules: int
    lobulation: float
    solid: float  # share of its radius that is solid, the rest being ground glass
    calcified: bool

    @classmethod
    def sample(cls, rng: np.random.Generator, malignant: bool) -> _Nodule:
        if malignant:
            part_solid = rng.random() < 0.35
            return cls(
                float(rng.uniform(10, 22)),
                int(rng.integers(6, 13)),
                float(rng.uniform(0.1, 0.2)),
                float(rng.uniform(0.4, 0.7)) if part_solid else 1.0,
                False,
            )
        calcified = rng.random() < 0.4
        return cls(
            float(rng.uniform(7, 15)),
            int(rng.integers(0, 2)),
            float(rng.uniform(0.0, 0.06)),
            1.0,
            bool(calcified),
        )

    def add_to(
        self,
        hounsfield: Volume,
        lung: NDArray[np.bool_],
        hilum: Point,
        rng: np.random.Generator,
    ) -> NDArray[np.bool_]:
        """Put it somewhere in the lung away from the hilum; returns its voxels."""
        centre = self._place(lung, hilum, rng)
        radius = self.diameter_mm / 2
        box, (z, y, x) = _box(centre, 2.2 * radius)
        distance = np.sqrt(z**2 + y**2 + x**2) + 1e-3
        surface = np.full(distance.shape, radius)
        for frequency in (2.0, 3.0, 4.0):
            along = sum(
                weight * axis
                for weight, axis in zip(rng.standard_normal(3), (z, y, x), strict=True)
            )
            surface = surface + self.lobulation * radius * np.sin(
                frequency * along / distance + rng.uniform(0, 6)
            )
        inside = np.clip(surface - distance + 0.5, 0, 1)
        core = np.clip(self.solid * surface - distance + 0.5, 0, 1)
        value = -450 + (TISSUE_HU + 450) * core
        if self.calcified:
            value = np.where(distance < 0.5 * radius, BONE_HU, value)
        for _ in range(self.spicules):
            way = rng.standard_normal(3)
            way /= np.linalg.norm(way)
            along = z * way[0] + y * way[1] + x * way[2]
            aside = np.sqrt(np.maximum(distance**2 - along**2, 0))
            tip = radius * rng.uniform(1.4, 2.0)
            thick = 1.1 * (1 - along / tip)
            spicule = (along > 0) & (along < tip) & (aside < thick)
            inside, value = np.maximum(inside, spicule), np.where(spicule, TISSUE_HU, value)
        inside = inside * lung[box]
        hounsfield[box] = (
            hounsfield[box] * (1 - inside) + np.maximum(hounsfield[box], value) * inside
        )
        mask = np.zeros(SHAPE, bool)
        mask[box] = inside > 0.5
        return mask

    def _place(self, lung: NDArray[np.bool_], hilum: Point, rng: np.random.Generator) -> Point:
        deep = ndimage.distance_transform_edt(lung[::2, ::4, ::4], (3.0, 2.8, 2.8))
        places = np.argwhere(deep > min(self.diameter_mm * 0.6, 0.9 * deep.max())) * [2, 4, 4]
        centres = (places - (np.array(SHAPE) - 1) / 2) * SPACING_MM
        away = centres[np.linalg.norm(centres - hilum, axis=1) > 25]
        chosen = away if len(away) else centres
        return np.asarray(chosen[int(rng.integers(len(chosen)))], float)
