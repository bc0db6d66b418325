"""What a synthetic eye reads on the chart: letters lost to the state of its fovea."""

from __future__ import annotations

import numpy as np

from octcube_core.phantom.retina import NEUROSENSORY, Retina

BEST = 86.0
ELLIPSOID_UM = 13.0
NOISE = 4.0  # letters of a repeated measurement


def read_letters(healthy_um: float, retina: Retina, chance: float) -> float:
    """Best-corrected visual acuity in ETDRS letters, 0 to 100.

    Parameters
    ----------
    healthy_um : thickness of the fovea before any disease
    retina : the eye as it is
    chance : standard normal deviate of the measurement
    """
    centre, around = (_weights(retina, radius) for radius in (0.3, 1.2))
    ellipsoid = retina.thickness["ellipsoid"] / np.float32(
        ELLIPSOID_UM * retina.anatomy.ellipsoid * retina.anatomy.retina
    )
    lost_centre, lost_around = (
        1 - float(np.clip((ellipsoid * w).sum(), 0, 1)) for w in (centre, around)
    )
    swollen = abs(foveal_thickness_um(retina) - healthy_um)
    letters = BEST - 42 * lost_centre - 16 * lost_around - min(0.07 * swollen, 22)
    return float(np.clip(letters + NOISE * chance, 0, 100))


def foveal_thickness_um(retina: Retina) -> float:
    """Mean thickness of the neurosensory retina and the fluid below it, within about 0.3 mm of the fovea."""
    layers = (*NEUROSENSORY, "subretinal_fluid")
    total = np.sum([retina.thickness[name] for name in layers], axis=0)
    return float((total * _weights(retina, 0.3)).sum())


def _weights(retina: Retina, radius_mm: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    weights = np.exp(-((np.hypot(retina.x, retina.z) / radius_mm) ** 2))
    return np.asarray(weights / max(float(weights.sum()), 1e-6), np.float32)
