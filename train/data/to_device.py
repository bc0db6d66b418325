"""uint8 batches of a store as what models see, made on the device that trains."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from octcube_core.preprocess_image import MEAN, STANDARD_DEVIATION, covering_size
from octcube_core.token_grid import PatchGrid


def volumes_to_input(volume: torch.Tensor, input_shape: Sequence[int]) -> torch.Tensor:
    """Volumes as ``octcube_core.preprocess`` makes them.

    Parameters
    ----------
    volume : uint8 tensor, shape (batch, frames, height, width)
    input_shape : (frames, height, width) of the model

    Returns
    -------
    float32 tensor, shape (batch, 1, *input_shape), in [0, 1]
    """
    values = volume.unsqueeze(1).float().div_(255)
    if tuple(values.shape[2:]) == tuple(input_shape):
        return values
    return F.interpolate(values, size=tuple(input_shape), mode="trilinear", align_corners=False)


def images_to_input(image: torch.Tensor, input_shape: Sequence[int]) -> torch.Tensor:
    """En-face images as ``octcube_core.preprocess_image`` makes them: covering, centre cut out, ImageNet's scale.

    Parameters
    ----------
    image : uint8 tensor, shape (batch, rows, columns), grey, or (batch, rows, columns, 3)
    input_shape : (height, width) of the model

    Returns
    -------
    float32 tensor, shape (batch, 3, height, width)
    """
    if image.ndim == 3:
        image = image.unsqueeze(-1).expand(-1, -1, -1, 3)
    values = image.permute(0, 3, 1, 2)
    size, wanted = tuple(values.shape[2:]), tuple(input_shape)
    values = values.float()
    if size != wanted:
        rows, columns = covering_size(size, wanted)
        # As Pillow's filter: along rows, then along columns, whole grey values after each.
        for scaled in ((size[0], columns), (rows, columns)):
            values = F.interpolate(values, scaled, mode="bicubic", antialias=True)
            values = values.round_().clamp_(0, 255)
        top, left = PatchGrid(size, (rows, columns), wanted, wanted).corner
        values = values[..., top : top + wanted[0], left : left + wanted[1]]
    mean, deviation = (
        torch.from_numpy(part).to(values.device).view(1, 3, 1, 1)
        for part in (MEAN, STANDARD_DEVIATION)
    )
    return (values / 255 - mean) / deviation
