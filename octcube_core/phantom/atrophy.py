"""Geographic atrophy: an outline with an area, what surrounds it in each modality, and how fast it grows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from octcube_core.phantom.anatomy import Anatomy
from octcube_core.phantom.fields import Field, Map
from octcube_core.phantom.lesions import Footprint, Lesions, Region, depth_of
from octcube_core.phantom.retina import Retina

PITCH_MM = 0.05
AXIS_MM = (np.arange(160, dtype=np.float32) + 0.5) * np.float32(PITCH_MM) - 4  # 8 mm of the eye
BORDER_MM = 0.12  # over which tissue is lost
MARGIN_MM = 0.55  # width of the border whose outer retina thins before it is lost

# Growth in mm2 a year is normal with these moments, before it is kept positive ...
GROWTH_MEAN, GROWTH_DEVIATION, GROWTH_LEAST = 2.0, 0.75, 0.15
# ... and these shares of its variance: autofluorescence shows the first two, OCT the second to the fourth.
SHARES = {"rim": 0.34, "perimeter": 0.24, "margin": 0.19, "choroid": 0.15, "chance": 0.08}
PERIMETER_LOG = (
    2.21,
    0.33,
)  # mean and deviation of the logarithm of the perimeter in mm at the first visit


@dataclass(frozen=True, eq=False)
class Outline:
    """The shape of an atrophy on the eye: distances from its foci, uneven, and from a spared fovea."""

    foci: tuple[tuple[float, float, float], ...]
    uneven: Field
    spared_mm: float

    def at(self, z_mm: Map, x_mm: Map) -> Map:
        """Height over the A-scans of a grid of rows ``z_mm`` and columns ``x_mm``; low within the atrophy."""
        x, z = x_mm[None, :], z_mm[:, None]
        height = np.min([np.hypot(x - a, z - b) - radius for a, b, radius in self.foci], axis=0)
        height = height + 0.17 * self.uneven.at(z_mm, x_mm)
        if self.spared_mm:
            height = height + 2.5 * np.exp(-((np.hypot(x, z) / self.spared_mm) ** 4))
        return np.asarray(height, np.float32)


@dataclass(frozen=True, eq=False)
class Atrophy:
    """Geographic atrophy of one eye at its first visit.

    Attributes
    ----------
    outline : its shape
    area_mm2, perimeter_mm : its size
    rim : hyperautofluorescence around it, in standard deviations over eyes
    margin : thinning of the outer retina around it, likewise
    growth : mm2 a year
    """

    outline: Outline
    area_mm2: float
    perimeter_mm: float
    rim: float
    margin: float
    growth: float

    @classmethod
    def sample(
        cls, rng: np.random.Generator, anatomy: Anatomy, area_mm2: float | None = None
    ) -> Atrophy:
        """Draw an atrophy whose growth follows what the images of this eye show, and chance."""
        foci = [
            (*rng.normal(0, 0.75, 2).tolist(), float(rng.uniform(0.0, 0.35)))
            for _ in range(1 + min(int(rng.poisson(1.2)), 4))
        ]
        spared = float(rng.uniform(0.3, 0.5)) if rng.random() < 0.35 else 0.0
        outline = Outline(tuple(foci), Field.sample(rng, 0.8), spared)
        area = (
            float(np.clip(np.exp(rng.normal(1.35, 0.6)), 0.6, 11)) if area_mm2 is None else area_mm2
        )
        rim, margin, chance = np.clip(rng.standard_normal(3), -2.5, 2.5).tolist()
        perimeter = _perimeter_mm(outline, area)
        known = {
            "rim": rim,
            "perimeter": (math.log(perimeter) - PERIMETER_LOG[0]) / PERIMETER_LOG[1],
            "margin": margin,
            "choroid": -anatomy.deviate("choroid"),
            "chance": chance,
        }
        deviate = sum(math.sqrt(share) * known[name] for name, share in SHARES.items())
        growth = max(GROWTH_MEAN + GROWTH_DEVIATION * deviate, GROWTH_LEAST)
        return cls(outline, area, perimeter, rim, margin, growth)

    def area_after(self, years: float) -> float:
        """Its area in mm2 some years after the first visit."""
        return self.area_mm2 + self.growth * years

    def add_to(self, retina: Retina, lesions: Lesions) -> None:
        """Take outer retina and pigment epithelium away within it, as far as it has grown, and mark its border."""
        lesions.atrophy_mm2, lesions.atrophy_growth = self.area_after(lesions.years), self.growth
        level = _level(self.outline, lesions.atrophy_mm2)
        height = self.outline.at(retina.z[:, 0], retina.x.mean(axis=0)) - level
        gone = np.clip(0.5 - height / BORDER_MM, 0, 1)
        beside = np.clip(1 - np.abs(height - MARGIN_MM / 2) / MARGIN_MM * 2, 0, 1)
        self._thin(retina, gone, np.where(height > 0, np.sqrt(beside), 0))
        lesions.footprints.append(Footprint(gone, 0.45, -0.85))
        width = 0.14 + 0.24 * _share(self.rim)
        rim = np.exp(-(((height - 0.75 * width) / width) ** 2)) * (1 - gone)
        lesions.footprints.append(Footprint(rim, 0.0, 0.05 + 0.75 * _share(self.rim)))
        lesions.regions.append(Region("AMD", depth_of("onl"), depth_of("bruch", 150), gone > 0.5))

    def _thin(self, retina: Retina, gone: Map, beside: Map) -> None:
        thinning = 0.75 * _share(self.margin) * beside
        for layer in ("elm", "inner_segments", "ellipsoid", "outer_segments", "rpe"):
            retina.scale_layers([layer], 1 - 0.9 * gone)
        retina.scale_layers(["onl"], (1 - 0.6 * gone) * (1 - thinning))
        retina.scale_layers(["inner_segments", "outer_segments"], 1 - 0.6 * thinning)
        for layer in ("choriocapillaris", "choroid", "sclera"):
            retina.reflectivity[layer] = retina.reflectivity[layer] * (1 + 0.7 * gone)


def _share(deviate: float) -> float:
    """A standard deviate as the share of eyes that lie below it."""
    return float(special.ndtr(deviate))


def _level(outline: Outline, area_mm2: float) -> float:
    """The height below which the outline encloses an area."""
    heights = np.sort(outline.at(AXIS_MM, AXIS_MM), axis=None)
    return float(heights[min(round(area_mm2 / PITCH_MM**2), heights.size - 1)])


def _perimeter_mm(outline: Outline, area_mm2: float) -> float:
    """Length of the border, as the integral of the gradient of a softened indicator (coarea formula)."""
    height = outline.at(AXIS_MM, AXIS_MM) - _level(outline, area_mm2)
    inside = np.clip(0.5 - height / 0.2, 0, 1)
    down, across = np.gradient(inside)
    return float(np.hypot(down, across).sum() * PITCH_MM)
