"""Volumes of other devices, brought closer to the Heidelberg Spectralis on which OCTCube was trained.

Liu, Z. et al., OCTCube-M (arXiv:2408.11227), cross-device preparation of Topcon and Zeiss volumes: the depth axis is
cropped to the foreground, which Otsu's threshold over the volume finds (Otsu, N., A threshold selection method from
gray-level histograms, doi:10.1109/TSMC.1979.4310076), and intensities are clipped to their 1e-4 and 0.9999 quantiles,
which become black and white. Resampling along z is part of resizing every volume.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.errors import InputError
from octcube_core.exam import OCTVolume

QUANTILES = 1e-4, 0.9999
# A-scans of which most must be bright: single speckles would make every depth foreground.
_NEIGHBOURS = 16
_THINNEST = 8  # depth samples; no retina is thinner, so that less than this is no foreground
_HEIDELBERG = ("heidelberg", "spectralis")


def is_of_another_device(device: str | None) -> bool:
    """Whether a device is known and no Heidelberg one."""
    return device is not None and not any(name in device.lower() for name in _HEIDELBERG)


def applies(rule: str, device: str | None) -> bool:
    """Whether a volume is prepared so by a rule of ``checkpoints.card.CROSS_DEVICE_RULES``."""
    return rule == "on" or (rule == "auto" and is_of_another_device(device))


def harmonise(volume: OCTVolume) -> tuple[OCTVolume, tuple[int, int]]:
    """Crop a volume's depth to its foreground and clip its intensities.

    Parameters
    ----------
    volume : OCTVolume
        Shape (bscan, depth, width).

    Returns
    -------
    volume : OCTVolume
        Shape (bscan, foreground, width), black and white at the quantiles; a constant volume as it was.
    depth : (first, end)
        The depth samples that are left, without the end.

    Raises
    ------
    InputError
        If the volume holds NaN.
    """
    if not np.isfinite(volume.voxels).all():
        raise InputError("The volume holds values that are not numbers (NaN); export it again.")
    kept = foreground(volume.voxels)
    cropped = volume.voxels[:, kept]
    black, white = (float(value) for value in np.quantile(cropped, QUANTILES))
    if not black < white:  # nearly constant, such as a few bright pixels on black
        black, white = float(cropped.min()), float(cropped.max())
    if not black < white:
        return volume, (0, volume.shape[1])
    first, end, _ = kept.indices(volume.shape[1])
    return replace(volume, voxels=cropped, value_range=(black, white)), (first, end)


def foreground(voxels: NDArray[Any]) -> slice:
    """The depths from the first to the last that hold tissue; all of them if none stands out."""
    from skimage.filters import threshold_otsu

    if voxels.min() == voxels.max():
        return slice(None)
    bright = np.zeros(voxels.shape[1], bool)
    threshold = threshold_otsu(voxels)  # type: ignore[no-untyped-call]
    starts = np.arange(0, voxels.shape[2], _NEIGHBOURS)
    sizes = np.diff([*starts, voxels.shape[2]])
    for bscan in voxels:
        above = np.add.reduceat(bscan > threshold, starts, axis=1, dtype=np.int32)
        bright |= (2 * above > sizes).any(axis=1)
    depths = np.flatnonzero(bright)
    if len(depths) == 0 or depths[-1] + 1 - depths[0] < _THINNEST:
        return slice(None)
    return slice(int(depths[0]), int(depths[-1]) + 1)
