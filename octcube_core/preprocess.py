"""From an exam's volume to what a model sees: intensities in [0, 1], resized to its frames, height and width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from octcube_core.checkpoints.card import ModelCard
from octcube_core.cross_device import applies, harmonise
from octcube_core.errors import InputError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.token_grid import TokenGrid, Triple

if TYPE_CHECKING:
    import torch

BSCANS_AT_ONCE = 16  # so that the float32 copy of a large volume is never held as a whole


def prepare(exam: Exam, card: ModelCard) -> tuple[torch.Tensor, TokenGrid]:
    """Make a model's input from an exam, by the recipe of the released OCTCube weights.

    The raw volume, black to white mapped to [0, 1], is resized with trilinear interpolation
    (``align_corners=False``, no antialiasing). No mean is subtracted, and nothing is cropped, unless the card says
    that volumes of other devices are (`octcube_core.cross_device`). A single B-scan becomes the frames of one layer
    of cubes.

    Parameters
    ----------
    exam : Exam
    card : ModelCard
        Says the input's shape, the cube and what is done to volumes of other devices.

    Returns
    -------
    volume : float32 tensor, shape (1, 1, frames, height, width), in [0, 1]
    grid : TokenGrid
        Where each token lies in the exam.

    Raises
    ------
    InputError
        If the volume holds NaN.
    """
    architecture = card.architecture
    frames, height, width = architecture.input_shape
    if exam.volume.shape[0] == 1:
        frames = architecture.cube[0]
    shape = frames, height, width
    volume, depth = exam.volume, None
    if applies(card.cross_device, exam.device):
        volume, depth = harmonise(volume)
    grid = TokenGrid(exam.volume.shape, shape, architecture.cube, depth)
    return resize_volume(volume, shape)[None, None], grid


def resize_volume(volume: OCTVolume, shape: Triple) -> torch.Tensor:
    """Resize a volume's intensities in [0, 1] to (frames, height, width), as ``F.interpolate`` does.

    Trilinear interpolation is bilinear within B-scans, then linear between them; so only the B-scans that a frame
    needs are converted, a few at a time.
    """
    import torch

    lower, upper, weight = _linear_neighbours(volume.shape[0], shape[0])
    needed, position = np.unique(np.concatenate([lower, upper]), return_inverse=True)
    planes = torch.empty(len(needed), *shape[1:])
    for start in range(0, len(needed), BSCANS_AT_ONCE):
        chunk = slice(start, start + BSCANS_AT_ONCE)
        bscans = torch.from_numpy(_unit_range(volume.voxels[needed[chunk]], volume.black_white))
        planes[chunk] = torch.nn.functional.interpolate(
            bscans[:, None], size=shape[1:], mode="bilinear", align_corners=False
        )[:, 0]
    if not bool(planes.isfinite().all()):
        raise InputError(
            "The volume holds values that are not numbers (NaN), so it cannot be analysed."
        )
    lower_plane, upper_plane = (torch.from_numpy(part) for part in np.split(position, 2))
    fraction = torch.from_numpy(weight)[:, None, None]
    frames = planes[lower_plane].mul_(1.0 - fraction)
    return frames.addcmul_(planes[upper_plane], fraction)


def _linear_neighbours(
    size: int, new_size: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """For each new sample its two old neighbours and the weight of the second, edges aligned."""
    # Rounded to float32 where torch rounds: the step, and the centre after a fused multiply-add.
    step = np.float64(np.float32(size) / np.float32(new_size))
    centre = ((np.arange(new_size) + 0.5) * step - 0.5).astype(np.float32)
    centre = np.maximum(centre, np.float32(0))
    lower = np.minimum(centre.astype(np.int64), size - 1)
    upper = np.minimum(lower + 1, size - 1)
    weight = np.clip(centre - lower.astype(np.float32), 0, 1).astype(np.float32)
    return lower, upper, weight


def _unit_range(voxels: NDArray[Any], black_white: tuple[float, float]) -> NDArray[np.float32]:
    """Map black to 0 and white to 1 and clip, as a new float32 array."""
    black, white = black_white
    values = voxels.astype(np.float32)
    if black != 0.0:
        values -= np.float32(black)
    values /= np.float32(white - black)
    return np.clip(values, 0.0, 1.0, out=values)
