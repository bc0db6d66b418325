"""Pictures of reconstructions for the training's log: original, what the model saw, what it made of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from octcube_core.errors import InputError
from octcube_core.models.embeddings import split_cubes
from octcube_core.models.mae import MaskedAutoencoder, target_scale
from octcube_core.preprocess_image import MEAN, STANDARD_DEVIATION

TITLES = ("original", "masked", "reconstruction")
MARGIN, HEADER = 4, 16
HIDDEN = 0.35  # grey of masked patches


@dataclass(frozen=True)
class Pictures:
    """Which reconstructions are shown.

    Attributes
    ----------
    eyes : how many validation eyes, always the first ones; 0 shows none
    every : after how many epochs again
    """

    eyes: int = 4
    every: int = 5

    def __post_init__(self) -> None:
        if self.eyes < 0 or self.every < 1:
            raise InputError("pictures.eyes must not be negative, and pictures.every at least 1.")

    def due(self, epoch: int) -> bool:
        """Whether to show them after this epoch, numbered from 0."""
        return self.eyes > 0 and (epoch + 1) % self.every == 0


@torch.no_grad()
def reconstruction_panels(
    model: MaskedAutoencoder, pixels: torch.Tensor, keep: torch.Tensor, *, norm_pix: bool
) -> list[list[NDArray[np.float32]]]:
    """For each item its middle B-scan (or the image, in grey): original, masked, reconstruction, values in [0, 1].

    Parameters
    ----------
    pixels, keep : as for ``MaskedAutoencoder``
    norm_pix : whether the model predicts normalised cubes; their true mean and deviation are then put back
    """
    cube = model.encoder.architecture.cube
    grid = model.encoder.grid(pixels)
    volume = pixels.flatten(1, 2) if pixels.ndim == 5 else pixels
    volume = volume / 255 if volume.dtype == torch.uint8 else volume.float()
    target = split_cubes(volume, cube)
    found = model(pixels, keep, norm_pix=norm_pix)
    pred = found.pred.float()
    if norm_pix:
        mean, spread = target_scale(target)
        pred = pred * spread + mean
    hidden = found.mask.bool()[..., None]
    seen = torch.where(hidden, torch.full_like(target, float("nan")), target)
    made = torch.where(hidden, pred, target)
    panels = [_joined(cubes, grid, cube) for cubes in (target, seen, made)]
    shown = [
        _images(panel) if model.card.architecture.planar else _bscans(panel) for panel in panels
    ]
    return [[panel[item] for panel in shown] for item in range(len(pixels))]


def _joined(cubes: torch.Tensor, grid: Any, cube: Any) -> torch.Tensor:
    """The inverse of ``split_cubes``: (batch, tokens, voxels) -> (batch, frames, height, width)."""
    (z, y, x), (cz, cy, cx) = grid, cube
    parts = cubes.reshape(-1, z, y, x, cz, cy, cx).permute(0, 1, 4, 2, 5, 3, 6)
    return parts.reshape(-1, z * cz, y * cy, x * cx)


def _bscans(volume: torch.Tensor) -> NDArray[np.float32]:
    bscans: NDArray[np.float32] = volume[:, volume.shape[1] // 2].cpu().numpy()
    return np.nan_to_num(bscans, nan=HIDDEN).clip(0, 1)


def _images(images: torch.Tensor) -> NDArray[np.float32]:
    """Grey of normalised images."""
    colours = images.cpu().numpy() * STANDARD_DEVIATION[:, None, None] + MEAN[:, None, None]
    return np.nan_to_num(colours.mean(axis=1), nan=HIDDEN).clip(0, 1)


def contact_sheet(panels: Sequence[Sequence[NDArray[np.float32]]]) -> NDArray[np.uint8]:
    """All panels on one picture with their titles, a row per eye; (height, width) in grey."""
    height, width = panels[0][0].shape
    size = (
        MARGIN + len(TITLES) * (width + MARGIN),
        HEADER + len(panels) * (height + MARGIN),
    )
    sheet = Image.new("L", size, 0)
    draw = ImageDraw.Draw(sheet)
    for column, title in enumerate(TITLES):
        left = MARGIN + column * (width + MARGIN)
        draw.text((left, 2), title, fill=235, font=ImageFont.load_default(size=11))
        for row, eye in enumerate(panels):
            panel = Image.fromarray(np.rint(eye[column] * 255).astype(np.uint8))
            sheet.paste(panel, (left, HEADER + row * (height + MARGIN)))
    return np.asarray(sheet)


def log_picture(loggers: Sequence[Any], name: str, picture: NDArray[np.uint8], step: int) -> None:
    """Give a grey picture to every logger that takes pictures (TensorBoard, Weights & Biases)."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, step, dataformats="HW")
        elif isinstance(logger, WandbLogger):
            logger.log_image(name, [Image.fromarray(picture)])
