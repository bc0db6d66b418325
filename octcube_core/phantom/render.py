"""From layers and lesions to voxels and lesion masks, as an averaged spectral-domain scan shows them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from octcube_core.phantom.alignment import SCAN_MM
from octcube_core.phantom.device import Device
from octcube_core.phantom.fields import Map
from octcube_core.phantom.lesions import Blob, Lesions
from octcube_core.phantom.retina import BELOW, LAYERS, VITREOUS, Mask, Retina

Voxels = NDArray[np.float32]
Masks = dict[str, NDArray[np.bool_]]
SLAB = 16
REACH = 1.25  # radii at which a blob's soft edge ends
SCLERA_UM = 300.0  # how far below the choroid light still comes back
EDGE = 1.15  # radii at which its lesion mask ends
SHADED = (*LAYERS[LAYERS.index("inl") :], *BELOW)  # what lies below the retinal vessels


class LesionMasks:
    """Which voxels each disease's lesions fill, while the eye is drawn with depth as its first axis."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._masks: Masks = {}

    def of(self, disease: str) -> NDArray[np.bool_]:
        """Mask of a disease to draw into, shape (depth, bscan, width)."""
        return self._masks.setdefault(disease, np.zeros(self._shape, bool))

    def as_bscans(self) -> Masks:
        """The masks of all diseases drawn, each of shape (bscan, depth, width)."""
        return {
            name: np.ascontiguousarray(mask.transpose(1, 0, 2))
            for name, mask in self._masks.items()
        }


def render(
    retina: Retina, lesions: Lesions, device: Device, depth: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], Masks]:
    """Voxels, shape (bscan, depth, width), and a lesion mask of the same shape for each disease."""
    step = device.depth_um / depth
    light = layered(retina, depth, step)
    masks = LesionMasks(light.shape)
    for blob in lesions.blobs:
        _add_blob(light, retina, blob, step, masks.of(blob.disease))
    for region in lesions.regions:
        top, bottom = region.top(retina) / step, region.bottom(retina) / step
        fill(masks.of(region.disease), top, bottom, region.where)
    voxels = acquire(light, retina, device, rng)
    return voxels, masks.as_bscans()


def layered(retina: Retina, depth: int, step: float) -> Voxels:
    """Layers as steps of light at their boundaries, summed down each A-scan; shape (depth, bscan, width)."""
    light = np.zeros((depth + 1, *retina.shape), np.float32)
    rows, columns = np.indices(retina.shape, sparse=True)

    def add_step(boundary_um: Map, change: Map) -> None:
        position = np.clip(boundary_um / step, 0, depth - 1e-3)
        voxel = position.astype(np.intp)
        below = (position - voxel) * change  # a boundary inside a voxel lights it in part
        light[voxel, rows, columns] += change - below
        light[voxel + 1, rows, columns] += below

    top = retina.top(LAYERS[0])
    previous: Map = np.full(retina.shape, VITREOUS, np.float32)
    light[0] += previous
    for name in LAYERS:
        value = retina.reflectivity[name] * (retina.shade if name in SHADED else 1.0)
        value = np.where(retina.thickness[name] > 0.5, value, previous)
        add_step(top, value - previous)
        top = top + retina.thickness[name]
        previous = value
    for name, thickness in (
        ("choriocapillaris", 16.0),
        ("choroid", retina.choroid),
        ("sclera", SCLERA_UM),
    ):
        value = retina.reflectivity[name] * retina.shade
        add_step(top, value - previous)
        top = top + thickness
        previous = value
    add_step(top, VITREOUS - previous)
    for band_top, height, gain in retina.bands:
        add_step(band_top, gain)
        add_step(band_top + height, -gain)
    # Row by row, which is far quicker than np.cumsum along axis 0.
    for below, above in zip(light[1:], light[:-1], strict=True):
        below += above
    return light[:-1]


def _on_grid(retina: Retina, blob: Blob) -> tuple[float, float]:
    """Where on a grid over the whole field a blob lies: (row, column)."""
    bscans, width = retina.shape
    row = (blob.z - float(retina.z[0, 0])) / (SCAN_MM / bscans)
    column = (blob.x - float(retina.x[:, 0].mean())) / (SCAN_MM / width)
    return row, column


def blob_centre_um(retina: Retina, blob: Blob) -> np.floating[Any] | None:
    """Depth of a blob's centre in an eye on a grid over the whole field; None if it lies outside."""
    bscans, width = retina.shape
    row, column = _on_grid(retina, blob)
    if not (0 <= row <= bscans - 1 and 0 <= column <= width - 1):
        return None
    at = round(row), round(column)
    within = blob.depth * retina.thickness[blob.layer][at]
    centre: np.floating[Any] = retina.top(blob.layer)[at] + within + blob.lift_um
    return centre


def _add_blob(
    light: Voxels, retina: Retina, blob: Blob, step: float, mask: NDArray[np.bool_]
) -> None:
    centre_um = blob_centre_um(retina, blob)
    if centre_um is None:
        return
    row, column = _on_grid(retina, blob)
    pitch_z, pitch_x = (SCAN_MM / size for size in retina.shape)
    # A lesion thinner than the B-scan distance still shows in the nearest B-scan.
    radii = np.array(
        [blob.half_height_um / step, max(blob.radius_mm / pitch_z, 0.6), blob.radius_mm / pitch_x]
    )
    centre = np.array([centre_um / step - 0.5, row, column])  # voxel i is centred at i + 0.5 steps
    reach = REACH * radii
    low = np.clip(np.floor(centre - reach).astype(int), 0, light.shape)
    high = np.clip(np.ceil(centre + reach).astype(int) + 1, 0, light.shape)
    if np.any(low >= high):
        return
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    axes = [
        ((np.arange(a, b) - c) / r) ** 2
        for a, b, c, r in zip(low, high, centre, radii, strict=True)
    ]
    d = np.sqrt(axes[0][:, None, None] + axes[1][None, :, None] + axes[2][None, None, :])
    inside = np.clip((REACH - d) * 2, 0, 1).astype(np.float32)
    light[box] += inside * (blob.value - light[box])
    mask[box] |= d <= EDGE
    if blob.shadow < 1:
        shade = 1 - (1 - blob.shadow) * inside.max(axis=0)
        light[high[0] :, box[1], box[2]] *= shade


def fill(mask: NDArray[np.bool_], top: Map, bottom: Map, where: Mask) -> None:
    """Set the voxels whose centre lies between two depths (in voxels) wherever ``where`` holds."""
    if not where.any():
        return
    low = max(int(top[where].min()), 0)
    high = min(int(bottom[where].max()) + 2, mask.shape[0])
    centres = np.arange(low, high, dtype=np.float32)[:, None, None] + 0.5
    mask[low:high] |= (centres >= top) & (centres <= bottom) & where


def acquire(
    light: Voxels, retina: Retina, device: Device, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Point spread, speckle left after averaging, brightness and tone; returns (bscan, depth, width)."""
    depth, bscans, width = light.shape
    bscan_gain = 1 + 0.04 * ndimage.gaussian_filter1d(rng.standard_normal(bscans), 1)
    vignette = float(rng.uniform(0, 0.35)) * (retina.x / 3) ** 2 * (1 if rng.random() < 0.4 else 0)
    gain = (device.gain * bscan_gain[:, None] * (1 - vignette)).astype(np.float32)
    # A table is quicker than four million powers, and 4096 levels are finer than 8 bits.
    tone = (255 * (np.arange(4097) / 4096) ** device.gamma + 0.5).astype(np.uint8)
    roll_off = 1 - device.roll_off * (np.arange(depth, dtype=np.float32) / depth) ** 2
    voxels = np.empty((bscans, depth, width), np.uint8)
    for start in range(0, depth, SLAB):  # slabs that stay in the processor's cache
        stop = min(start + SLAB, depth)
        above, below = light[max(start - 1, 0) : stop - 1], light[start + 1 : stop + 1]
        slab = 0.5 * light[start:stop]
        slab[slab.shape[0] - above.shape[0] :] += 0.25 * above
        slab[: below.shape[0]] += 0.25 * below
        noise = rng.standard_normal(slab.shape, dtype=np.float32)
        noise[:, :, 1:] += 0.6 * noise[:, :, :-1]  # speckle grains are wider than an A-scan
        noise *= device.noise_floor + device.speckle * slab
        if device.roll_off:
            slab *= roll_off[start:stop, None, None]
        slab += noise
        slab *= gain
        slab += np.float32(device.haze - device.black * 0.5)
        np.clip(slab, 0, 1, out=slab)
        slab *= 4096
        voxels[:, start:stop] = tone[slab.astype(np.uint16)].transpose(1, 0, 2)
    return voxels
