"""IR and FAF images of a synthetic eye, registered with its OCT."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from octcube_core.phantom.lesions import Lesions
from octcube_core.phantom.retina import SCAN_MM, Map, Retina, smooth_field
from octcube_core.phantom.vessels import DISC_MM, FIELD_MM

SIZE = 384
FADE = 0.12  # share of the scan's side over which a lesion's picture fades, as nothing is known beyond it


def fundus_images(
    retina: Retina, lesions: Lesions, present: Collection[str], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Infrared reflectance and fundus autofluorescence, each (384, 384) over a 9 x 9 mm field."""
    centres = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * FIELD_MM - FIELD_MM / 2
    x = centres[None, :] - retina.fovea_mm[0]
    z = centres[:, None] - retina.fovea_mm[1]
    fovea = np.hypot(x, z)
    disc = np.hypot(x - retina.nasal * DISC_MM[0], (z - DISC_MM[1]) * 0.9)
    in_disc = np.clip((0.85 - disc) / 0.12 + 0.5, 0, 1)
    vessels = ndimage.zoom(retina.vessel_canvas, SIZE / retina.vessel_canvas.shape[0], order=1)
    field = 1 - 0.045 * (centres[None, :] ** 2 + centres[:, None] ** 2) / FIELD_MM
    texture = 1 + 0.05 * smooth_field(rng, (SIZE, SIZE), (14, 14))
    # Pigment over the macula darkens both; the disc has no pigment epithelium, so it glows in IR alone.
    ir = 0.46 * texture * (1 - 0.12 * np.exp(-((fovea / 0.7) ** 2))) * (1 + 0.45 * in_disc)
    faf = 0.42 * texture * (1 - 0.55 * np.exp(-((fovea / 0.75) ** 2))) * (1 - 0.85 * in_disc)
    for footprint in lesions.footprints:
        spread = _on_fundus(footprint.where)
        ir = ir * (1 + footprint.ir_gain * spread)
        faf = faf * (1 + footprint.faf_gain * spread)
    for blob_disease in ("DR", "DME", "RNV", "CRAO/CRVO"):
        if blob_disease in present:
            dark = _on_fundus(_blob_shadow(lesions, retina, blob_disease))
            ir, faf = ir * (1 - 0.25 * dark), faf * (1 - 0.4 * dark)
    ir = ir * (1 - 0.42 * vessels) * field
    faf = faf * (1 - 0.6 * vessels) * field
    gain = rng.uniform(0.85, 1.25, 2)
    return _expose(ir * gain[0], 0.02, rng), _expose(faf * gain[1], 0.035, rng)


def _blob_shadow(lesions: Lesions, retina: Retina, disease: str) -> Map:
    shadow = np.zeros(retina.shape, np.float32)
    for blob in lesions.blobs:
        if blob.disease == disease and blob.shadow < 1:
            near = np.exp(-((retina.distance(blob.x, blob.z) / blob.radius_mm) ** 2))
            shadow = np.maximum(shadow, near)
    return shadow


def _on_fundus(values: Map) -> Map:
    """Resample a map over the OCT's A-scan grid to the fundus image, fading out towards the scan's edge."""
    axes = []
    for length in values.shape:
        centres = ((np.arange(SIZE) + 0.5) / SIZE * FIELD_MM - FIELD_MM / 2 + SCAN_MM / 2) / SCAN_MM
        axes.append(
            (centres * length - 0.5, np.clip(np.minimum(centres, 1 - centres) / FADE, 0, 1))
        )
    (rows, fade_rows), (columns, fade_columns) = axes
    grid = np.stack(np.meshgrid(rows, columns, indexing="ij"))
    sampled = ndimage.map_coordinates(values.astype(np.float32), grid, order=1, mode="nearest")
    return np.asarray(sampled * fade_rows[:, None] * fade_columns, np.float32)


def _expose(image: Map, noise: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    blurred = ndimage.gaussian_filter(image, 0.7)
    grain = noise * rng.standard_normal(image.shape, dtype=np.float32)
    return np.asarray(255 * np.clip(blurred * (1 + grain) + 0.3 * grain, 0, 1), np.uint8)
