"""OCT devices as styles: depth of the scan, usual sampling, speckle, contrast and tone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from octcube_core.errors import InputError

Range = tuple[float, float]


@dataclass(frozen=True)
class Style:
    """What the scans of one kind of device have in common; a range is drawn from anew for each exam.

    Attributes
    ----------
    shape : (bscans, depth, width) of its usual raster over 6 x 6 mm, here with fewer A-scans than the device has
    depth_um : how deep its scan reaches
    noise_floor, speckle : additive noise, and noise in proportion to the light that averaging has left
    gain, gamma, black : brightness, tone curve and the level cut off as black
    haze : light added everywhere
    roll_off : share of the light lost from the top of the scan to its bottom
    """

    name: str
    shape: tuple[int, int, int]
    depth_um: float
    noise_floor: Range
    speckle: Range
    gain: Range
    gamma: Range
    black: Range
    haze: Range = (0.0, 0.0)
    roll_off: Range = (0.0, 0.0)

    def sample(self, rng: np.random.Generator, difficulty: float) -> Device:
        """The settings and the noise of one exam."""
        noise = np.sqrt(difficulty)
        return Device(
            depth_um=self.depth_um,
            noise_floor=float(rng.uniform(*self.noise_floor) * noise),
            speckle=float(rng.uniform(*self.speckle) * noise),
            gain=float(rng.uniform(*self.gain)),
            gamma=float(rng.uniform(*self.gamma)),
            black=float(rng.uniform(*self.black)),
            haze=float(rng.uniform(*self.haze)),
            roll_off=float(rng.uniform(*self.roll_off)),
        )


@dataclass(frozen=True)
class Device:
    """How one acquisition looks; see ``Style``."""

    depth_um: float
    noise_floor: float
    speckle: float
    gain: float
    gamma: float
    black: float
    haze: float
    roll_off: float


STYLES = {
    # B-scans averaged over many frames: little speckle.
    "spectralis": Style(
        "Synthetic eye",
        (60, 256, 256),
        1920.0,
        noise_floor=(0.012, 0.035),
        speckle=(0.05, 0.10),
        gain=(0.82, 1.2),
        gamma=(0.75, 1.3),
        black=(0.0, 0.12),
    ),
    # A cube of 128 B-scans that are not averaged: strong speckle on a grey vitreous.
    "cirrus": Style(
        "Synthetic eye, Cirrus style",
        (128, 256, 256),
        2000.0,
        noise_floor=(0.035, 0.06),
        speckle=(0.17, 0.25),
        gain=(0.75, 1.0),
        gamma=(0.8, 1.05),
        black=(0.0, 0.05),
        haze=(0.05, 0.12),
        roll_off=(0.1, 0.3),
    ),
    # Lifted shadows, so that the noise in the dark shows as much as that in the tissue.
    "maestro2": Style(
        "Synthetic eye, Maestro2 style",
        (128, 256, 256),
        2300.0,
        noise_floor=(0.03, 0.05),
        speckle=(0.10, 0.17),
        gain=(0.85, 1.15),
        gamma=(0.5, 0.68),
        black=(0.02, 0.08),
        roll_off=(0.0, 0.25),
    ),
}


def style_of(name: str) -> Style:
    """A style by its name; InputError if there is none."""
    if name not in STYLES:
        raise InputError(f"Unknown device style {name!r}; known are {', '.join(STYLES)}.")
    return STYLES[name]
