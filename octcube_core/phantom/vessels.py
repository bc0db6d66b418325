"""The retinal vessel tree, drawn once en face and seen by OCT, IR and FAF alike."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

FIELD_MM = 9.0
CANVAS = 576
DISC_MM = (4.1, -0.25)  # nasal and slightly above the fovea
_OVERSAMPLING = 2


def draw_vessels(
    rng: np.random.Generator, nasal: int, fovea_mm: tuple[float, float]
) -> NDArray[np.float32]:
    """Vessel lumen in 0..1 over a 9 x 9 mm field centred on the scan, shape (rows, columns).

    Superior and inferior arcades leave the disc, curve around the macula and send branches towards the fovea.
    """
    size = CANVAS * _OVERSAMPLING
    picture = Image.new("L", (size, size))
    pen = ImageDraw.Draw(picture)

    def to_pixels(points: NDArray[np.float64]) -> list[tuple[float, float]]:
        x = (points[:, 0] * nasal + fovea_mm[0] + FIELD_MM / 2) / FIELD_MM * size
        y = (points[:, 1] + fovea_mm[1] + FIELD_MM / 2) / FIELD_MM * size
        return list(zip(x.tolist(), y.tolist(), strict=True))

    def stroke(points: NDArray[np.float64], start_mm: float, end_mm: float) -> None:
        pixels = to_pixels(points)
        for number, pair in enumerate(pairwise(pixels)):
            along = number / max(len(pixels) - 1, 1)
            width = (start_mm + (end_mm - start_mm) * along) / FIELD_MM * size
            pen.line(pair, fill=255, width=max(1, round(width)))

    for side in (-1, 1):
        for calibre in rng.uniform(0.085, 0.15, 2):  # an artery and a vein
            arcade = _arcade(rng, side)
            stroke(arcade, calibre, 0.4 * calibre)
            for _ in range(int(rng.integers(3, 6))):
                start = arcade[int(rng.integers(8, len(arcade) - 4))]
                stroke(_branch(rng, start), 0.45 * calibre, 0.02)
    for _ in range(2):  # small vessels from the disc straight towards the macula
        start = np.array([DISC_MM[0] - 0.5, DISC_MM[1] + rng.normal(0, 0.5)])
        stroke(_branch(rng, start), 0.05, 0.02)
    lumen = picture.resize((CANVAS, CANVAS), Image.Resampling.BOX)
    return np.asarray(lumen, np.float32) / np.float32(255)


def _arcade(rng: np.random.Generator, side: int) -> NDArray[np.float64]:
    """A path of (x nasal, z) points in mm from the disc around the macula, temporal end last."""
    height = side * rng.uniform(1.7, 2.7)
    t = np.linspace(0, 1, 40)
    x = DISC_MM[0] - t * rng.uniform(6.5, 8.0)
    z = (
        DISC_MM[1]
        + (height - DISC_MM[1]) * np.sin(np.clip(t * 1.9, 0, math.pi / 2))
        - side * 0.9 * t**3
    )
    wiggle = np.cumsum(rng.normal(0, 0.022, t.size))
    return np.stack([x, z + wiggle], axis=1)


def _branch(rng: np.random.Generator, start: NDArray[np.float64]) -> NDArray[np.float64]:
    """A path of (x nasal, z) points in mm towards the fovea that stops at the avascular zone."""
    length = max(float(np.hypot(*start)) - rng.uniform(0.45, 0.9), 0.3)
    heading = math.atan2(-start[1], -start[0]) + rng.normal(0, 0.35)
    steps = np.linspace(0, length, 22)
    bend = np.cumsum(rng.normal(0, 0.05, steps.size))
    x = start[0] + steps * math.cos(heading) - bend * math.sin(heading)
    z = start[1] + steps * math.sin(heading) + bend * math.cos(heading)
    return np.stack([x, z], axis=1)
