"""IR and FAF images of a synthetic eye: what its OCT shows, seen en face by two other cameras."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from octcube_core.phantom.alignment import SCAN_MM
from octcube_core.phantom.camera import SIZE, Camera
from octcube_core.phantom.fields import Field, Map
from octcube_core.phantom.lesions import Lesions
from octcube_core.phantom.retina import Retina
from octcube_core.phantom.vessels import CANVAS_MM, FIELD_MM

FADE = 0.12  # share of the scan's side over which a lesion's picture fades, as nothing is known beyond it
PITCH_MM = FIELD_MM / SIZE
CANVAS = round(CANVAS_MM / PITCH_MM)
MARGIN = (CANVAS - SIZE) // 2


def fundus_images(
    retina: Retina,
    lesions: Lesions,
    cameras: tuple[Camera, Camera],
    rng: np.random.Generator,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Infrared reflectance and fundus autofluorescence, (384, 384) each, as the two cameras see them."""
    eye = _Fundus(retina)
    ir, faf = eye.infrared(), eye.autofluorescence()
    on_ir, on_faf = _lesion_light(retina, lesions)
    infrared_stream, autofluorescence_stream = rng.spawn(2)
    return (
        _photograph(ir * _beyond_the_scan(on_ir), cameras[0], 0.02, infrared_stream),
        _photograph(faf * _beyond_the_scan(on_faf), cameras[1], 0.035, autofluorescence_stream),
    )


class _Fundus:
    """A healthy eye's reflectance and fluorescence over a square of 10.5 mm around the scan."""

    def __init__(self, retina: Retina) -> None:
        eye = retina.anatomy
        centres = (np.arange(CANVAS, dtype=np.float32) + 0.5) * PITCH_MM - CANVAS_MM / 2
        x_axis, z_axis = (centres - np.float32(middle) for middle in retina.fovea_mm)
        x, z = x_axis[None, :], z_axis[:, None]
        self._eye = eye
        self._fovea = np.hypot(x, z)
        disc = np.hypot(
            (x - retina.nasal * eye.disc_distance) * eye.disc_ovality, z - eye.disc_height
        )
        self._disc = np.clip((eye.disc_radius - disc) / 0.12 + 0.5, 0, 1)
        self._cup = np.clip((0.45 * eye.disc_radius - disc) / 0.2 + 0.5, 0, 1)
        self._vessels = ndimage.zoom(
            retina.vessel_canvas, CANVAS / len(retina.vessel_canvas), order=1
        )
        # Seen through the retina: what darkens the choroid of the OCT darkens both pictures.
        self._pigment = np.tanh(retina.pigment.at(z_axis, x_axis))
        self._choroid = np.tanh(retina.choroidal_vessels.at(z_axis, x_axis))

    def infrared(self) -> Map:
        """The pit is a little dark within a faint bright ring; the disc shines."""
        eye = self._eye
        pit = np.exp(-((self._fovea / (1.85 * eye.pit_width)) ** 2))
        ring = np.exp(-(((self._fovea - eye.ring_radius) / 0.45) ** 2))
        image = 0.46 * (1 - 0.05 * eye.fundus_pigment) * (1 - 0.14 * self._pigment)
        image = (
            image * (1 + 0.06 * self._choroid) * (1 - 0.15 * pit + 0.04 * eye.ring_height * ring)
        )
        image = image * (1 + 0.5 * self._disc + 0.25 * self._cup) * (1 - 0.45 * self._vessels)
        return np.asarray(image, np.float32)

    def autofluorescence(self) -> Map:
        """Macular pigment darkens the middle; the disc has no pigment epithelium and is black."""
        eye = self._eye
        macula = np.exp(-((self._fovea / eye.macular_pigment_radius) ** 2))
        image = 0.42 * (1 - eye.macular_pigment * macula) * (1 - 0.12 * self._pigment)
        image = image * (1 - 0.85 * self._disc) * (1 - 0.6 * self._vessels)
        return np.asarray(image, np.float32)


def _lesion_light(retina: Retina, lesions: Lesions) -> tuple[Map, Map]:
    """By what the lesions multiply the light of IR and FAF, over the A-scan grid."""
    ir, faf = np.ones(retina.shape, np.float32), np.ones(retina.shape, np.float32)
    for footprint in lesions.footprints:
        ir = ir * (1 + footprint.ir_gain * footprint.where)
        faf = faf * (1 + footprint.faf_gain * footprint.where)
    shadow = np.zeros(retina.shape, np.float32)
    z_axis, x_axis = retina.z[:, 0], retina.x.mean(axis=0)
    for blob in lesions.blobs:
        if blob.shadow < 1:
            down, across = (
                np.exp(-(((axis - centre) / blob.radius_mm) ** 2))
                for axis, centre in ((z_axis, blob.z), (x_axis, blob.x))
            )
            shadow = np.maximum(shadow, down[:, None] * across)
    return ir * (1 - 0.25 * shadow), faf * (1 - 0.4 * shadow)


def _beyond_the_scan(light: Map) -> Map:
    """Resample factors from the A-scan grid to the fundus; they fade to 1 towards the scan's edge."""
    centres = ((np.arange(CANVAS) + 0.5) * PITCH_MM - CANVAS_MM / 2 + SCAN_MM / 2) / SCAN_MM
    weights = []
    for length in light.shape:
        at = np.clip(centres * length - 0.5, 0, length - 1)
        lower = np.minimum(at.astype(np.intp), max(length - 2, 0))
        fade = np.clip(np.minimum(centres, 1 - centres) / FADE, 0, 1)
        linear = np.zeros((CANVAS, length), np.float32)
        rows = np.arange(CANVAS)
        linear[rows, lower] = (1 - (at - lower)) * fade
        if length > 1:
            linear[rows, lower + 1] = (at - lower) * fade
        weights.append(linear)
    down, across = weights
    return np.asarray(1 + down @ (light - 1).astype(np.float32) @ across.T, np.float32)


def _photograph(
    scene: Map, camera: Camera, noise: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The camera's view of the scene, its uneven illumination, exposure and grain."""
    if camera.aligned:
        seen = scene[MARGIN : MARGIN + SIZE, MARGIN : MARGIN + SIZE]
    else:
        zoom = camera.pitch_mm / PITCH_MM
        matrix = camera.rotation() * zoom
        centre = np.array(camera.shift_mm[::-1]) / PITCH_MM + (CANVAS - 1) / 2
        offset = centre - matrix @ np.full(2, (SIZE - 1) / 2)
        seen = ndimage.affine_transform(
            scene, matrix, offset, (SIZE, SIZE), order=1, mode="nearest"
        )
    axis = np.linspace(-4.5, 4.5, SIZE, dtype=np.float32)
    vignette = 1 - float(rng.uniform(0.003, 0.008)) * (axis[None, :] ** 2 + axis[:, None] ** 2)
    light = vignette * (1 + 0.04 * Field.sample(rng, 3.0).at(axis, axis)) * rng.uniform(0.85, 1.25)
    blurred = ndimage.gaussian_filter(seen * light, 0.7, truncate=3)
    grain = noise * rng.standard_normal(blurred.shape, dtype=np.float32)
    return np.asarray(255 * np.clip(blurred * (1 + grain) + 0.3 * grain, 0, 1), np.uint8)
