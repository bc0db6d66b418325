"""The retina of one eye: layer thicknesses, reflectivities and vessels over the scanned field.

Everything lives on the A-scan grid (bscan, width). Positions are in millimetres from the fovea, depths and
thicknesses in micrometres. Thicknesses follow the usual OCT anatomy of the macula: a pit without inner layers,
a ganglion-cell ring about 1 mm from the fovea, a nerve-fibre layer that thickens towards the disc.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from octcube_core.phantom.alignment import SCAN_MM, Alignment
from octcube_core.phantom.anatomy import Anatomy
from octcube_core.phantom.fields import Field, Map
from octcube_core.phantom.vessels import CANVAS_MM, draw_vessels

Mask = NDArray[np.bool_]

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
    choroid : array, thickness of the choroid in micrometres
    vessels : array in 0..1, retinal vessel lumen seen en face
    vessel_canvas : array in 0..1, the same over a square of 10.5 mm around the scan
    pigment, choroidal_vessels : fields that the fundus images share with the OCT
    shade : array, the factor on all light from below the inner retina
    """

    x: Map
    z: Map
    nasal: int
    anatomy: Anatomy
    thickness: dict[str, Map]
    reflectivity: dict[str, Map]
    bruch: Map
    choroid: Map
    vessels: Map
    vessel_canvas: Map
    pigment: Field
    choroidal_vessels: Field
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

    def on(self, values: Field) -> Map:
        """A field at the A-scans of this grid."""
        return values.at(self.z[:, 0], self.x.mean(axis=0))

    def field(self, rng: np.random.Generator, grain_mm: float | tuple[float, float]) -> Map:
        """A new random field of this eye, at the A-scans of this grid."""
        return self.on(Field.sample(rng, grain_mm))

    def scale_layers(self, names: Sequence[str], factor: Map | float) -> None:
        """Multiply the thickness of layers."""
        for name in names:
            self.thickness[name] = (self.thickness[name] * factor).astype(np.float32)

    def add_band(self, top: Map, height: Map, gain: Map) -> None:
        """Add light ``gain`` between depth ``top`` and ``top + height`` micrometres (a sheet in the vitreous)."""
        self.bands.append((top, height, gain))


def healthy_retina(
    anatomy: Anatomy,
    tissue: np.random.Generator,
    alignment: Alignment,
    shape: tuple[int, int],
    laterality: str,
) -> Retina:
    """A healthy eye on a (bscans, width) grid over a field of 6 x 6 mm.

    Parameters
    ----------
    anatomy : its measures
    tissue : numpy Generator
        Of what the measures leave open: the course of the vessels, the layers' unevenness.
    alignment : how the eye lies under the device
    shape : (bscans, width)
    laterality : 'OD' or 'OS'
    """
    nasal = 1 if laterality == "OD" else -1
    fovea = alignment.fovea_mm
    x0, z0 = (
        ((np.arange(size) + 0.5) / size - 0.5) * SCAN_MM - centre
        for size, centre in zip(shape[::-1], fovea, strict=True)
    )
    x = (x0[None, :] + alignment.lateral_motion_mm(shape[0])[:, None]).astype(np.float32)
    z = np.broadcast_to(z0[:, None].astype(np.float32), shape)
    grid = z0.astype(np.float32), x0.astype(np.float32)
    vessel_stream, thickness_stream, texture_stream, bow_stream = tissue.spawn(4)
    canvas = draw_vessels(vessel_stream, anatomy, nasal, fovea)
    rows, columns = (
        (mm + middle + CANVAS_MM / 2) / CANVAS_MM * len(canvas) - 0.5
        for mm, middle in ((z, fovea[1]), (x, fovea[0]))
    )
    vessels = ndimage.map_coordinates(canvas, np.stack([rows, columns]), order=1).astype(np.float32)
    pigment, choroidal, choroid_depth = (
        Field.sample(texture_stream, grain) for grain in (0.9, (0.65, 0.3), 1.8)
    )
    density = 1 - 0.22 * np.tanh(pigment.at(*grid))
    thickness = _thicknesses(thickness_stream, anatomy, x, z, nasal, grid)
    thickness["rnfl"] = thickness["rnfl"] + 22 * vessels
    choroid = anatomy.choroid * (1 + 0.14 * choroid_depth.at(*grid) - 0.02 * x * nasal)
    return Retina(
        x=x,
        z=z,
        nasal=nasal,
        anatomy=anatomy,
        thickness=thickness,
        reflectivity=_reflectivities(texture_stream, shape, grid, choroidal.at(*grid), density),
        bruch=_bruch(bow_stream, anatomy, alignment, x, z, grid),
        choroid=np.clip(choroid, 50, 330).astype(np.float32),
        vessels=vessels,
        vessel_canvas=canvas,
        pigment=pigment,
        choroidal_vessels=choroidal,
        fovea_mm=fovea,
        shade=1 - float(texture_stream.uniform(0.55, 0.75)) * vessels,
    )


Grid = tuple[NDArray[np.float32], NDArray[np.float32]]


def _thicknesses(
    rng: np.random.Generator, anatomy: Anatomy, x: Map, z: Map, nasal: int, grid: Grid
) -> dict[str, Map]:
    radius = np.hypot(x, z)
    pit = np.exp(-((radius / anatomy.pit_width) ** 2))
    ring = anatomy.ring_height * np.exp(-(((radius - anatomy.ring_radius) / 0.85) ** 2)) * (1 - pit)
    towards_disc = np.clip((x * nasal + 3.2) / 6.4, 0, 1)
    arcuate = np.exp(-(((np.abs(z) - 1.9) / 1.0) ** 2))
    zero = np.zeros_like(x)
    base = {
        "rnfl": (8 + 70 * towards_disc**1.5 * (0.45 + 0.55 * arcuate) + 12 * arcuate) * (1 - pit),
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
    thickness = {name: zero.copy() for name in LAYERS}
    for name, values in base.items():
        # Each person's layers differ by more than most diseases change their mean.
        usual = anatomy.retina * float(getattr(anatomy, name))
        ripple = 1 + 0.05 * Field.sample(rng, 1.5).at(*grid)
        thickness[name] = np.maximum(values * usual * ripple, 0).astype(np.float32)
    return thickness


def _reflectivities(
    rng: np.random.Generator,
    shape: tuple[int, int],
    grid: Grid,
    choroidal: Map,
    density: Map,
) -> dict[str, Map]:
    """``choroidal``: the pattern of the choroid's vessels; ``density``: what the pigment lets through."""
    maps: dict[str, Map] = {}
    for name, value in REFLECTIVITY.items():
        level = value * float(rng.normal(1, 0.07))
        maps[name] = np.full(shape, level, np.float32)
    for name, texture, depth in (
        ("choriocapillaris", Field.sample(rng, (0.37, 0.15)).at(*grid), 0.18),
        ("choroid", choroidal, 0.30),
        ("sclera", Field.sample(rng, (1.5, 0.75)).at(*grid), 0.2),
    ):
        maps[name] = (maps[name] * (1 + depth * np.tanh(texture)) * density).astype(np.float32)
    for name in ("rnfl", "gcl", "ipl", "inl", "opl", "onl"):
        maps[name] = maps[name] * (1 + 0.06 * Field.sample(rng, (0.75, 0.5)).at(*grid))
    return maps


def _bruch(
    rng: np.random.Generator, anatomy: Anatomy, alignment: Alignment, x: Map, z: Map, grid: Grid
) -> Map:
    """The eye's wall as a flat scan shows it, and as the device's position tilts and shifts it."""
    bow = -anatomy.curvature * (x**2 + z**2) + 7 * Field.sample(rng, 2.0).at(*grid)
    bow = bow + alignment.tilt[0] * x + alignment.tilt[1] * z
    motion = alignment.axial_motion_um(x.shape[0])
    return np.asarray(alignment.depth_um + bow - bow.mean() + motion[:, None], np.float32)
