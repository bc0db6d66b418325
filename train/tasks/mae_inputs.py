"""From batches of a store to what a masked autoencoder sees: volumes, or the images of all modalities together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from octcube_core.token_grid import Triple
from train.data.to_device import images_to_input, volumes_to_input

Batch = dict[str, Any]


@dataclass(frozen=True)
class Inputs:
    """What the model sees of a batch.

    Attributes
    ----------
    pixels : tensor with ``items`` entries, as for ``MaskedAutoencoder``
    rows : of the store, (items,)
    modalities : numbers of the items' modalities among the data's, (items,)
    stored : uint8 tensor, shape (items, frames, height, width): the volumes as the store has them, perhaps flipped
    """

    pixels: torch.Tensor
    rows: torch.Tensor
    modalities: torch.Tensor
    stored: torch.Tensor | None = None


def volume_inputs(batch: Batch, shape: Triple, flips: bool) -> Inputs:
    """The volumes, perhaps each flipped along the B-scans' order and along their width."""
    volume, rows = batch["volume"], batch["row"]
    if flips:
        volume = flipped(volume, (1, 3))
    # As bytes where nothing is to be resized: only the cubes in use then become floats.
    same = tuple(volume.shape[1:]) == tuple(shape)
    pixels = volume.unsqueeze(1) if same else volumes_to_input(volume, shape)
    return Inputs(pixels, rows, torch.zeros_like(rows), volume)


def image_inputs(
    batch: Batch, modalities: Sequence[str], size: Sequence[int], flips: bool
) -> Inputs:
    """All images that the exams have, modality after modality, perhaps each flipped from left to right."""
    pixels, rows, numbers = [], [], []
    for number, name in enumerate(modalities):
        present = batch["present"][:, number]
        pixels.append(images_to_input(batch["images"][name][present], size))
        rows.append(batch["row"][present])
        numbers.append(torch.full_like(rows[-1], number))
    images = torch.cat(pixels)
    if flips:
        images = flipped(images, (3,))
    return Inputs(images, torch.cat(rows), torch.cat(numbers))


def valid_items(batch: Batch) -> Batch:
    """A validation batch without the items that only fill it up."""
    valid = batch["valid"]
    chosen = {name: value[valid] for name, value in batch.items() if name != "images"}
    if "images" in batch:
        chosen["images"] = {name: image[valid] for name, image in batch["images"].items()}
    return chosen


def flipped(pixels: torch.Tensor, axes: Sequence[int]) -> torch.Tensor:
    """Flip each item along each of the axes with probability 1/2, drawn on the CPU."""
    turned = torch.rand(len(pixels), len(axes)) < 0.5
    items = [
        item.flip([axis - 1 for axis, turn in zip(axes, turns, strict=True) if turn])
        for item, turns in zip(pixels, turned.tolist(), strict=True)
    ]
    return torch.stack(items)
