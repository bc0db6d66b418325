"""The healthy retina: layer thicknesses, reflectivities and vessels over the scanned field.

Everything lives on the A-scan grid (bscan, width). Positions are in millimetres from the fovea, depths and
thicknesses in micrometres. Thicknesses follow the usual OCT anatomy of the macula: a pit without inner layers,
a ganglion-cell ring about 1 mm from the fovea, a nerve-fibre layer that thickens towards the disc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.interpolate import make_interp_spline

from octcube_core.phantom.vessels import FIELD_MM, draw_vessels

Map = NDArray[np.floating[Any]]
Mask = NDArray[np.bool_]

SCAN_MM = 6.0
DEPTH_UM = 1920.0
STILL_MOMENTS = 60  # B-scans of the default raster, whose motion takes so many random numbers

# From the vitreous down to Bruch's membrane. The layers that are empty in health hold what diseases add.
LAYERS = (
    "membrane",
    "membrane_gap",
    "rnfl",
    "gcl",
    "ipl",
    "inl",
    "opl",
    "onl",
    "elm",
    "inner_segments",
    "ellipsoid",
    "outer_segments",
    "subretinal_fluid",
    "rpe",
    "drusen",
)
NEUROSENSORY = LAYERS[LAYERS.index("rnfl") : LAYERS.index("subretinal_fluid")]
BELOW = ("choriocapillaris", "choroid", "sclera")

REFLECTIVITY = {
    "membrane": 0.80,
    "membrane_gap": 0.05,
    "rnfl": 0.74,
    "gcl": 0.50,
    "ipl": 0.60,
    "inl": 0.34,
    "opl": 0.54,
    "onl": 0.24,
    "elm": 0.42,
    "inner_segments": 0.33,
    "ellipsoid": 0.80,
    "outer_segments": 0.46,
    "subretinal_fluid": 0.07,
    "rpe": 0.92,
    "drusen": 0.52,
    "choriocapillaris": 0.62,
    "choroid": 0.42,
    "sclera": 0.20,
}
VITREOUS = 0.05


@lru_cache(maxsize=64)
def _spline_basis(samples: int, knots: int) -> NDArray[np.float64]:
    """Cubic interpolation from knots + 1 values to samples, as a matrix."""
    spline = make_interp_spline(np.arange(knots + 1), np.eye(knots + 1), k=3)
    return np.asarray(spline(np.linspace(0, knots, samples)))


def smooth_field(rng: np.random.Generator, shape: tuple[int, int], knots: tuple[int, int]) -> Map:
    """Random field of zero mean and unit spread with about ``knots`` (at least 3) bumps along each axis."""
    coarse = rng.standard_normal((knots[0] + 1, knots[1] + 1))
    values = _spline_basis(shape[0], knots[0]) @ coarse @ _spline_basis(shape[1], knots[1]).T
    return np.asarray((values - values.mean()) / (values.std() + 1e-6), np.float32)


@dataclass(eq=False)
class Retina:
    """One eye's layers over the A-scan grid; diseases change it in place before it is rendered.

    Attributes
    ----------
    x, z : arrays, shape (bscan, width)
        Millimetres from the fovea: ``x`` towards the right of the fundus image, ``z`` downwards (inferior).
    nasal : +1 or -1
        Sign of ``x`` towards the optic disc (+1 in a right eye).
    thickness, reflectivity : dict of layer name to array, shape (bscan, width)
    bruch : array, depth of Bruch's membrane in micrometres
    vessels : array in 0..1, retinal vessel lumen seen en face
    shade : array, the factor on all light from below the inner retina
    """

    x: Map
    z: Map
    nasal: int
    thickness: dict[str, Map]
    reflectivity: dict[str, Map]
    bruch: Map
    vessels: Map
    vessel_canvas: Map
    fovea_mm: tuple[float, float]
    shade: Map
    bands: list[tuple[Map, Map, Map]] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        """(bscans, width) of the A-scan grid."""
        return self.x.shape[0], self.x.shape[1]

    def top(self, layer: str) -> Map:
        """Depth of a layer's upper boundary (or of 'bruch') in micrometres, shape (bscan, width)."""
        if layer == "bruch":
            return self.bruch
        below = LAYERS[LAYERS.index(layer) :]
        return np.asarray(self.bruch - np.sum([self.thickness[name] for name in below], axis=0))

    def distance(self, x: float, z: float) -> Map:
        """Millimetres of every A-scan from a point."""
        return np.asarray(np.hypot(self.x - x, self.z - z))

    def scale_layers(self, names: Sequence[str], factor: Map | float) -> None:
        """Multiply the thickness of layers."""
        for name in names:
            self.thickness[name] = (self.thickness[name] * factor).astype(np.float32)

    def add_band(self, top: Map, height: Map, gain: Map) -> None:
        """Add light ``gain`` between depth ``top`` and ``top + height`` micrometres (a sheet in the vitreous)."""
        self.bands.append((top, height, gain))


def healthy_retina(
    rng: np.random.Generator, shape: tuple[int, int], laterality: str, *, still: bool = False
) -> Retina:
    """Sample a healthy eye on a (bscans, width) grid over a 6 x 6 mm field.

    It moves from B-scan to B-scan; ``still`` gives the eye that moved under the default raster at rest, on any grid.
    """
    nasal = 1 if laterality == "OD" else -1
    fovea = (float(rng.normal(0, 0.22)), float(rng.normal(0, 0.22)))
    moments = STILL_MOMENTS if still else shape[0]
    lateral_motion = 0.012 * rng.standard_normal((moments, 1))
    if still:
        lateral_motion = np.zeros((shape[0], 1))
    x0 = (np.arange(shape[1]) + 0.5) / shape[1] * SCAN_MM - SCAN_MM / 2
    z0 = (np.arange(shape[0]) + 0.5) / shape[0] * SCAN_MM - SCAN_MM / 2
    x = (x0[None, :] + lateral_motion - fovea[0]).astype(np.float32)
    z = np.broadcast_to((z0[:, None] - fovea[1]).astype(np.float32), shape)
    canvas = draw_vessels(rng, nasal, fovea)
    rows = (z + fovea[1] + FIELD_MM / 2) / FIELD_MM * canvas.shape[0] - 0.5
    columns = (x + fovea[0] + FIELD_MM / 2) / FIELD_MM * canvas.shape[1] - 0.5
    vessels = ndimage.map_coordinates(canvas, np.stack([rows, columns]), order=1).astype(np.float32)
    retina = Retina(
        x=x,
        z=z,
        nasal=nasal,
        thickness=_thicknesses(rng, x, z, nasal),
        reflectivity=_reflectivities(rng, shape),
        bruch=_bruch(rng, x, z, moments, still),
        vessels=vessels,
        vessel_canvas=canvas,
        fovea_mm=fovea,
        shade=1 - float(rng.uniform(0.35, 0.6)) * vessels,
    )
    retina.thickness["rnfl"] = retina.thickness["rnfl"] + 22 * vessels
    return retina


def _thicknesses(rng: np.random.Generator, x: Map, z: Map, nasal: int) -> dict[str, Map]:
    radius = np.hypot(x, z) / rng.uniform(0.85, 1.2)
    pit = np.exp(-((radius / 0.38) ** 2))
    ring = np.exp(-(((radius - 1.05) / 0.85) ** 2)) * (1 - pit)
    towards_disc = np.clip((x * nasal + 3.2) / 6.4, 0, 1)
    arcuate = np.exp(-(((np.abs(z) - 1.9) / 1.0) ** 2))
    # Each person's layers differ by more than most diseases change their mean.
    vary = {name: float(rng.normal(1, 0.08)) for name in LAYERS}
    whole = float(rng.normal(1, 0.07))
    zero = np.zeros_like(x)
    base = {
        "rnfl": (8 + 46 * towards_disc**1.5 * (0.45 + 0.55 * arcuate) + 12 * arcuate) * (1 - pit),
        "gcl": (18 + 34 * ring) * (1 - 0.97 * pit),
        "ipl": (20 + 20 * ring) * (1 - 0.95 * pit),
        "inl": (24 + 14 * ring) * (1 - 0.85 * pit),
        "opl": (22 + 8 * ring) * (1 - 0.45 * pit),
        "onl": 62 + 42 * pit + 6 * ring,
        "elm": 7 + zero,
        "inner_segments": 20 + 5 * pit,
        "ellipsoid": 13 + zero,
        "outer_segments": 19 + 13 * pit,
        "rpe": 21 + zero,
    }
    thickness = {}
    for name in LAYERS:
        if name not in base:
            thickness[name] = zero.copy()
            continue
        ripple = 1 + 0.05 * smooth_field(rng, (x.shape[0], x.shape[1]), (4, 4))
        thickness[name] = np.maximum(base[name] * vary[name] * whole * ripple, 0).astype(np.float32)
    return thickness


def _reflectivities(rng: np.random.Generator, shape: tuple[int, int]) -> dict[str, Map]:
    maps: dict[str, Map] = {}
    for name, value in REFLECTIVITY.items():
        level = value * float(rng.normal(1, 0.07))
        maps[name] = np.full(shape, level, np.float32)
    for name, knots, depth in (
        ("choriocapillaris", (16, 40), 0.18),
        ("choroid", (9, 22), 0.30),
        ("sclera", (4, 8), 0.2),
    ):
        texture = smooth_field(rng, shape, knots)
        maps[name] = maps[name] * (1 + depth * np.tanh(texture))
    for name in ("rnfl", "gcl", "ipl", "inl", "opl", "onl"):
        maps[name] = maps[name] * (1 + 0.06 * smooth_field(rng, shape, (8, 12)))
    return maps


def _bruch(rng: np.random.Generator, x: Map, z: Map, moments: int, still: bool) -> Map:
    shape = (x.shape[0], x.shape[1])
    curvature = rng.uniform(
        2, 16
    )  # micrometres of depth per mm^2: the eye's wall seen through a flat scan
    tilt = rng.normal(0, [38, 22])
    bow = (
        -curvature * (x**2 + z**2)
        + tilt[0] * x
        + tilt[1] * z
        + 7 * smooth_field(rng, shape, (3, 3))
    )
    # The device tracks the eye, so axial motion between B-scans is slow and small.
    motion = ndimage.gaussian_filter1d(rng.normal(0, 12, moments), 1.5, mode="nearest")
    if still:
        motion = np.zeros(1)
    depth = float(rng.uniform(0.50, 0.72)) * DEPTH_UM + bow - bow.mean() + motion[:, None]
    return np.asarray(depth, np.float32)
