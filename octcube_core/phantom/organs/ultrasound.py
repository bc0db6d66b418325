"""A beating left ventricle as an ultrasound video shows it, with its volumes and its ejection fraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from octcube_core.exam import OCTVolume
from octcube_core.phantom.organs.exam import OrganExam

SHAPE = (60, 160, 160)
FIELD_MM = 160.0  # from the transducer at the top of the picture downwards
HALF_ANGLE = np.radians(38)

Frame = NDArray[np.float32]


@dataclass(frozen=True)
class Ventricle:
    """The cavity of a left ventricle, a bullet of half an ellipsoid of revolution.

    Attributes
    ----------
    end_diastolic_ml, ejection_fraction : size, and the percentage of it that a beat drives out
    slenderness : length over width
    wall_mm : thickness of the muscle at its largest
    """

    end_diastolic_ml: float
    ejection_fraction: float
    slenderness: float
    wall_mm: float

    @property
    def end_systolic_ml(self) -> float:
        """Volume at the end of a beat."""
        return self.end_diastolic_ml * (1 - self.ejection_fraction / 100)

    def half_axes_mm(self, volume_ml: float) -> tuple[float, float]:
        """Length and half width of the cavity at a volume; it shortens less than it narrows.

        The volume is 2/3 pi length width^2; length goes with volume^0.2, width with volume^0.4.
        """
        largest = (3000 * self.end_diastolic_ml / (2 * np.pi * self.slenderness)) ** (1 / 3)
        relative = volume_ml / self.end_diastolic_ml
        return self.slenderness * largest * relative**0.2, largest * relative**0.4


def make_ultrasound(seed: int | Sequence[int]) -> OrganExam:
    """Make an ultrasound-like video of 60 frames, about two heart beats of a left ventricle seen from its apex.

    Parameters
    ----------
    seed : int or sequence of int

    Returns
    -------
    OrganExam
        Labels ``edv_ml`` and ``esv_ml`` (end-diastolic and end-systolic volume, millilitres) and ``ef``, the ejection
        fraction (EDV - ESV) / EDV in percent; mask ``ventricle``, the cavity in every frame.
    """
    rng = np.random.default_rng(seed)
    heart, view, noise = rng.spawn(3)
    failing = heart.random() < 0.4
    ventricle = Ventricle(
        float(np.clip(heart.normal(150 if failing else 115, 30), 60, 260)),
        float(np.clip(heart.normal(34 if failing else 60, 8), 12, 78)),
        float(heart.uniform(1.9, 2.4)),
        float(heart.uniform(8, 12)),
    )
    volumes = _volumes(ventricle, heart)
    frames, cavity = _film(ventricle, volumes, view, noise)
    pitch = FIELD_MM / SHAPE[1]
    return OrganExam(
        volume=OCTVolume(frames, (None, pitch, pitch)),
        device="Synthetic ultrasound",
        format="synthetic",
        labels={
            "edv_ml": ventricle.end_diastolic_ml,
            "esv_ml": ventricle.end_systolic_ml,
            "ef": ventricle.ejection_fraction,
        },
        masks={"ventricle": cavity},
    )


def _volumes(ventricle: Ventricle, rng: np.random.Generator) -> NDArray[np.float64]:
    """Volume in each frame: a quick ejection, a slower filling, whole beats within the film."""
    period = float(rng.uniform(22, 30))
    phase = ((np.arange(SHAPE[0]) + rng.uniform(0, period)) / period) % 1
    systole = float(rng.uniform(0.33, 0.4))
    emptied = np.where(
        phase < systole,
        0.5 - 0.5 * np.cos(np.pi * phase / systole),
        0.5 + 0.5 * np.cos(np.pi * (phase - systole) / (1 - systole)),
    )
    stroke = ventricle.end_diastolic_ml - ventricle.end_systolic_ml
    return np.asarray(ventricle.end_diastolic_ml - stroke * emptied)


def _film(
    ventricle: Ventricle,
    volumes: NDArray[np.float64],
    view: np.random.Generator,
    noise: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    _, rows, columns = SHAPE
    pitch = FIELD_MM / rows
    down = ((np.arange(rows, dtype=np.float32) + 0.5) * pitch)[:, None]
    across = (np.arange(columns, dtype=np.float32) + 0.5) * pitch - FIELD_MM / 2
    tilt, apex = np.radians(view.uniform(-14, 14)), float(view.uniform(16, 26))
    along = (down - apex) * np.cos(tilt) + across * np.sin(tilt)
    aside = across * np.cos(tilt) - (down - apex) * np.sin(tilt)
    depth = np.hypot(down, across)
    fan = (np.abs(np.arctan2(across, down)) < HALF_ANGLE) & (depth < FIELD_MM - 6)
    attenuation = np.exp(-depth * float(view.uniform(0.002, 0.006))) * (
        1 - 0.4 * _shadows(view, across, down)
    )
    gain, floor = float(view.uniform(0.8, 1.25)), float(view.uniform(0.02, 0.06))
    tissue = _Speckle(view)
    frames, cavity = np.empty(SHAPE, np.uint8), np.empty(SHAPE, bool)
    for number, volume in enumerate(volumes.tolist()):
        light, cavity[number] = _heart(ventricle, volume, along, aside)
        cavity[number] &= fan
        length, width = ventricle.half_axes_mm(volume)
        light = light * tissue.at(along / length * 40, aside / width * 20) * attenuation
        grain = noise.rayleigh(0.8, light.shape).astype(np.float32)
        light = gain * light * (0.6 + 0.4 * grain) + floor * grain
        light = ndimage.gaussian_filter(light, (0.5, 0.9))
        frames[number] = 255 * np.clip(light, 0, 1) ** 0.6 * fan
    return frames, cavity


def _heart(
    ventricle: Ventricle, volume_ml: float, along: Frame, aside: Frame
) -> tuple[Frame, NDArray[np.bool_]]:
    """Echoes of muscle, valves and blood at one moment, and the ventricle's cavity."""
    length, width = ventricle.half_axes_mm(volume_ml)
    # The muscle keeps its volume, so its wall thickens as the cavity shrinks.
    wall = ventricle.wall_mm * (ventricle.end_diastolic_ml / volume_ml) ** 0.35
    base = length  # towards which the apex, that hardly moves, draws it
    share = np.clip((base - along) / base, -1, 1)
    radius = width * np.sqrt(np.clip(1 - share**2, 0, 1))
    in_length = (along > 0) & (along < base)
    inside = in_length & (np.abs(aside) < radius)
    outer = np.hypot((base - along) / (base + wall), aside / (width + wall))
    muscle = (outer < 1) & (along < base) & ~inside
    right = np.hypot((base - along) / (0.75 * base), (aside - width - wall - 13) / 15)
    light = np.full(along.shape, 0.22, np.float32)
    light[(outer < 1.12) & (along < base)] = 0.6  # the bright sac around the heart
    light[muscle] = 0.42
    light[inside | ((right < 1) & (along < base) & (outer >= 1))] = 0.03
    atria = np.hypot(
        (along - base - 22) / 20, (np.abs(aside - 0.5 * width) - width * 0.6) / (width * 0.7)
    )
    light[(along >= base + 3) & (atria < 1)] = 0.04
    opened = (volume_ml - ventricle.end_systolic_ml) / (
        ventricle.end_diastolic_ml - ventricle.end_systolic_ml
    )
    leaflet = base - 14 * opened * (1 - np.abs(aside) / (width + 1e-3))
    light[(np.abs(along - leaflet) < 1.6) & (np.abs(aside) < width)] = 0.7
    return light, np.asarray(inside)


def _shadows(rng: np.random.Generator, across: Frame, down: Frame) -> Frame:
    """Ribs and air that keep the sound back from some directions."""
    angle = np.arctan2(across, down)
    dark = np.zeros(np.broadcast_shapes(across.shape, down.shape), np.float32)
    for _ in range(int(rng.integers(0, 3))):
        at, width = rng.uniform(-0.6, 0.6), rng.uniform(0.03, 0.09)
        dark = np.maximum(dark, np.exp(-(((angle - at) / width) ** 2)))
    return np.asarray(dark, np.float32)


class _Speckle:
    """Interference grain that moves with the tissue."""

    def __init__(self, rng: np.random.Generator) -> None:
        grain = rng.rayleigh(0.8, (256, 256)).astype(np.float32)
        self._grain = ndimage.gaussian_filter(grain, (0.7, 1.0), mode="wrap")

    def at(self, along: Frame, aside: Frame) -> Frame:
        rows, columns = ((values * 2).astype(np.intp) % 256 for values in (along, aside))
        return np.asarray(self._grain[rows, columns])
