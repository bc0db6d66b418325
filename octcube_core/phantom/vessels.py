"""The retinal vessel tree, drawn once en face and seen by OCT, IR and FAF alike."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from octcube_core.phantom.anatomy import Anatomy

FIELD_MM = 9.0  # side of a fundus image
CANVAS_MM = 10.5  # side of what is drawn around it, for cameras that are turned or shifted
CANVAS = 672
CILIORETINAL = 0.85  # deviates above which an eye has such an artery: about one eye in five
_OVERSAMPLING = 2

Path = NDArray[np.float64]


def draw_vessels(
    rng: np.random.Generator, anatomy: Anatomy, nasal: int, fovea_mm: tuple[float, float]
) -> NDArray[np.float32]:
    """Vessel lumen in 0..1 over a square of 10.5 mm centred on the scan, shape (rows, columns).

    An artery and a vein leave the disc upwards and downwards, curve around the macula and send branches towards the
    fovea and away from it; thin vessels cross the disc's temporal rim, in some eyes a cilioretinal artery too.
    """
    tree = _Tree(rng, anatomy)
    tree.grow()
    size = CANVAS * _OVERSAMPLING
    picture = Image.new("L", (size, size))
    pen = ImageDraw.Draw(picture)
    scale = size / CANVAS_MM
    for path, start_mm, end_mm, darkness in tree.strokes:
        x = ((path[:, 0] * nasal + fovea_mm[0] + CANVAS_MM / 2) * scale).tolist()
        y = ((path[:, 1] + fovea_mm[1] + CANVAS_MM / 2) * scale).tolist()
        widths = np.linspace(start_mm, end_mm, len(x) - 1) * scale
        for pair, width in zip(pairwise(zip(x, y, strict=True)), widths, strict=True):
            pen.line(pair, fill=darkness, width=max(1, round(width)))
    lumen = picture.reduce(_OVERSAMPLING)
    return np.asarray(lumen, np.float32) / np.float32(255)


class _Tree:
    """Paths of (x towards the disc, z downwards) in millimetres from the fovea, with their widths."""

    def __init__(self, rng: np.random.Generator, anatomy: Anatomy) -> None:
        self._rng = rng
        self._eye = anatomy
        self._disc = np.array([anatomy.disc_distance, anatomy.disc_height])
        self.strokes: list[tuple[Path, float, float, int]] = []

    def grow(self) -> None:
        rng, eye = self._rng, self._eye
        heights = {-1: eye.superior_arcade, 1: eye.inferior_arcade}
        for side, height in heights.items():
            for calibre, darkness in ((eye.artery_calibre, 215), (eye.vein_calibre, 255)):
                arcade = self._arcade(side, height + float(rng.normal(0, 0.22)))
                self.strokes.append((arcade, calibre, 0.45 * calibre, darkness))
                self._branch_off(arcade, calibre, side, darkness)
        for _ in range(2):  # small vessels from the disc straight towards the macula
            self._to_macula(self._disc - (0.5, float(rng.normal(0, 0.45))), 0.05, 0.75)
        if eye.cilioretinal > CILIORETINAL:
            self._to_macula(self._disc - (0.6, float(rng.choice([-0.25, 0.25]))), 0.1, 0.45)

    def _arcade(self, side: int, height: float) -> Path:
        """From the disc around the macula, temporal end last."""
        rng, eye = self._rng, self._eye
        t = np.linspace(0, 1, 44)
        x = self._disc[0] - t * float(rng.uniform(6.8, 8.6))
        rise = np.sin(np.clip(t * 1.9 * eye.arcade_opening, 0, math.pi / 2))
        z = self._disc[1] + (side * height - self._disc[1]) * rise
        z = z - side * eye.arcade_closing * np.clip(t - 0.25, 0, 1) ** 2 * 1.6
        return np.stack([x, z + self._winding(t * 7.5)], axis=1)

    def _winding(self, along_mm: NDArray[np.float64]) -> NDArray[np.float64]:
        """How far a vessel leaves its course sideways, in millimetres."""
        rng = self._rng
        waves = [
            0.035 * wavelength * np.sin(2 * np.pi * (along_mm / wavelength + rng.random()))
            for wavelength in (rng.uniform(0.7, 1.2), rng.uniform(1.6, 2.6))
        ]
        start = np.clip(along_mm / 0.5, 0, 1)
        return np.asarray(self._eye.tortuosity * start * (waves[0] + waves[1]))

    def _branch_off(self, arcade: Path, calibre: float, side: int, darkness: int) -> None:
        rng = self._rng
        count = max(round(self._eye.branches + float(rng.normal(0, 0.7))), 1)
        # Spaced along the arcade, as vessels that share a region do not branch at one place.
        places = (np.arange(count) + rng.uniform(0.1, 0.9, count)) / count
        for place in places:
            start = arcade[int(6 + place * (len(arcade) - 12))]
            inwards = math.atan2(-start[1], -start[0]) + float(rng.normal(0, 0.3))
            length = float(np.hypot(*start)) - self._eye.avascular_radius * float(
                rng.uniform(0.9, 1.9)
            )
            branch = self._course(start, inwards, max(length, 0.4), float(rng.normal(0, 0.35)))
            width = calibre * float(rng.uniform(0.38, 0.62))
            self.strokes.append((branch, width, 0.022, darkness))
            for _ in range(int(rng.integers(0, 3))):
                twig = int(rng.integers(4, len(branch) - 2))
                turn = inwards + float(rng.choice([-1, 1])) * float(rng.uniform(0.4, 0.9))
                path = self._course(branch[twig], turn, float(rng.uniform(0.3, 0.9)), 0.0)
                self.strokes.append((path, 0.5 * width, 0.018, darkness))
            if rng.random() < 0.6:
                turn = -side * math.pi / 2 + float(rng.normal(0, 0.5))
                path = self._course(start, -turn, float(rng.uniform(0.8, 2.2)), 0.0)
                self.strokes.append((path, 0.8 * width, 0.025, darkness))

    def _to_macula(self, start: Path, calibre: float, reach: float) -> None:
        rng = self._rng
        heading = math.atan2(-start[1], -start[0]) + float(rng.normal(0, 0.2))
        length = (1 - reach) * float(np.hypot(*start)) + float(rng.uniform(0.3, 1.0))
        path = self._course(start, heading, length, float(rng.normal(0, 0.3)))
        self.strokes.append((path, calibre, 0.02, 215))

    def _course(self, start: Path, heading: float, length: float, bend: float) -> Path:
        """A winding path that turns by ``bend`` radians on its way."""
        steps = np.linspace(0, length, max(round(length / 0.09), 8))
        turned = heading + bend * steps / length
        pace = steps[1] - steps[0]
        x = start[0] + pace * np.cumsum(np.cos(turned)) - pace * math.cos(heading)
        z = start[1] + pace * np.cumsum(np.sin(turned)) - pace * math.sin(heading)
        aside = self._winding(steps)
        return np.stack([x - aside * np.sin(turned), z + aside * np.cos(turned)], axis=1)
