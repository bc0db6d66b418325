"""An eye seen along the lines of a scan: its maps are sampled at the A-scans, its lesions cut by them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from octcube_core.phantom.alignment import SCAN_MM
from octcube_core.phantom.device import Device
from octcube_core.phantom.fields import Map
from octcube_core.phantom.lesions import Blob, Depth, Lesions, Region
from octcube_core.phantom.render import (
    EDGE,
    REACH,
    LesionMasks,
    Masks,
    Voxels,
    acquire,
    blob_centre_um,
    fill,
    layered,
)
from octcube_core.phantom.retina import Retina
from octcube_core.phantom.scan import Scan


def render_along(
    scan: Scan,
    retina: Retina,
    lesions: Lesions,
    device: Device,
    depth: int,
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], Masks]:
    """Voxels, shape (bscan, depth, width), and a lesion mask of the same shape for each disease.

    ``retina`` and ``lesions`` are the whole eye on a fine grid over the field of 6 x 6 mm.
    """
    sampled = _Sampling(scan, retina.shape)
    seen = sampled.retina(retina)
    step = device.depth_um / depth
    light = layered(seen, depth, step)
    masks = LesionMasks(light.shape)
    for blob in lesions.blobs:
        centre_um = blob_centre_um(retina, blob)
        if centre_um is not None:
            _cut_blob(light, seen, blob, centre_um, step, masks.of(blob.disease))
    for region in lesions.regions:
        cut = sampled.region(region, retina)
        top, bottom = cut.top(seen) / step, cut.bottom(seen) / step
        fill(masks.of(cut.disease), top, bottom, cut.where)
    voxels = acquire(light, seen, device, rng)
    return voxels, masks.as_bscans()


class _Sampling:
    """Takes maps over the field to the A-scans of a scan."""

    def __init__(self, scan: Scan, grid: tuple[int, int]) -> None:
        x, z = scan.positions[..., 0], scan.positions[..., 1]
        rows = (z / SCAN_MM + 0.5) * grid[0] - 0.5
        columns = (x / SCAN_MM + 0.5) * grid[1] - 0.5
        self._at = np.stack([rows, columns])
        self._x, self._z = x, z

    def __call__(self, values: Map) -> Map:
        sampled = ndimage.map_coordinates(
            values.astype(np.float32), self._at, order=1, mode="nearest"
        )
        return np.asarray(sampled, np.float32)

    def retina(self, eye: Retina) -> Retina:
        return replace(
            eye,
            x=(self._x - eye.fovea_mm[0]).astype(np.float32),
            z=(self._z - eye.fovea_mm[1]).astype(np.float32),
            thickness={name: self(values) for name, values in eye.thickness.items()},
            reflectivity={name: self(values) for name, values in eye.reflectivity.items()},
            bruch=self(eye.bruch),
            choroid=self(eye.choroid),
            vessels=self(eye.vessels),
            shade=self(eye.shade),
            bands=[(self(top), self(height), self(gain)) for top, height, gain in eye.bands],
        )

    def region(self, region: Region, eye: Retina) -> Region:
        """The region with its depths found in the whole eye, as some ask for the neighbourhood."""
        where = self(region.where.astype(np.float32)) > 0.5
        return Region(
            region.disease, self._fixed(region.top(eye)), self._fixed(region.bottom(eye)), where
        )

    def _fixed(self, depth_um: Map) -> Depth:
        sampled = self(depth_um)
        return lambda _: sampled


def _cut_blob(
    light: Voxels,
    seen: Retina,
    blob: Blob,
    centre_um: np.floating[Any],
    step: float,
    mask: NDArray[np.bool_],
) -> None:
    """Paint the part of an ellipsoid that the A-scans pass through."""
    beside = seen.distance(blob.x, blob.z) / blob.radius_mm
    lines, columns = np.nonzero(beside < REACH)
    half = blob.half_height_um / step
    centre = centre_um / step - 0.5  # voxel i is centred at i + 0.5 steps
    low = max(int(np.floor(centre - REACH * half)), 0)
    high = min(int(np.ceil(centre + REACH * half)) + 1, light.shape[0])
    if not lines.size or low >= high:
        return
    down = (np.arange(low, high) - centre) / half
    distance = np.sqrt(down[:, None] ** 2 + beside[lines, columns] ** 2)
    inside = np.clip((REACH - distance) * 2, 0, 1).astype(np.float32)
    light[low:high, lines, columns] += inside * (blob.value - light[low:high, lines, columns])
    mask[low:high, lines, columns] |= distance <= EDGE
    if blob.shadow < 1:
        light[high:, lines, columns] *= 1 - (1 - blob.shadow) * inside.max(axis=0)
