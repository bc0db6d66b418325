"""What a disease leaves in the eye besides changed layers: blobs of tissue and the regions that count as lesion."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from octcube_core.phantom.fields import Map
from octcube_core.phantom.retina import Mask, Retina

Depth = Callable[[Retina], Map]


def depth_of(layer: str, offset_um: float = 0.0) -> Depth:
    """Depth of a layer's upper boundary (or of 'bruch') plus an offset, in the eye as it is in the end."""
    return lambda retina: retina.top(layer) + np.float32(offset_um)


@dataclass(frozen=True)
class Blob:
    """An ellipsoid of changed reflectivity.

    Attributes
    ----------
    disease : str
    x, z : millimetres from the fovea
    layer, depth : where its centre lies: a fraction of the way down through ``layer``
    radius_mm, half_height_um : semi-axes, en face and axial
    value : reflectivity inside
    shadow : factor on the light from below (1 casts none)
    lift_um : added to the depth of the centre (negative is towards the vitreous)
    """

    disease: str
    x: float
    z: float
    layer: str
    depth: float
    radius_mm: float
    half_height_um: float
    value: float
    shadow: float = 1.0
    lift_um: float = 0.0


@dataclass(frozen=True, eq=False)
class Region:
    """Voxels between two depths (micrometres) wherever ``where`` holds, as part of a lesion mask.

    The depths are asked for when the eye is rendered, as diseases that come later move the layers.
    """

    disease: str
    top: Depth
    bottom: Depth
    where: Mask


@dataclass(frozen=True, eq=False)
class Footprint:
    """How a lesion changes the light of IR and FAF images: a factor 1 + gain * map, map over the A-scan grid."""

    where: Map
    ir_gain: float
    faf_gain: float


@dataclass(eq=False)
class Lesions:
    """Everything that the diseases of one eye add.

    Attributes
    ----------
    years : since the first visit, for what grows with time
    atrophy_mm2, atrophy_growth : area of an atrophy now, and mm2 a year by which it grows
    """

    years: float = 0.0
    blobs: list[Blob] = field(default_factory=list)
    regions: list[Region] = field(default_factory=list)
    footprints: list[Footprint] = field(default_factory=list)
    atrophy_mm2: float = 0.0
    atrophy_growth: float | None = None
