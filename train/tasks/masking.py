"""Which tokens a step of training sees, and which of the hidden ones a masked autoencoder predicts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from octcube_core.errors import InputError
from octcube_core.models.octcube import OCTCubeEncoder


@dataclass(frozen=True)
class Masks:
    """Indices of tokens, each (batch, count).

    Attributes
    ----------
    keep : the visible ones
    decode : the hidden ones to predict; None for all
    """

    keep: torch.Tensor
    decode: torch.Tensor | None

    def to(self, device: torch.device) -> Masks:
        """The same on a device."""
        decode = None if self.decode is None else self.decode.to(device, non_blocking=True)
        return Masks(self.keep.to(device, non_blocking=True), decode)


def check_share(kept_tokens: float) -> None:
    """Raise InputError unless this is a share of the tokens that ``some_tokens`` can take."""
    if not 0 < kept_tokens <= 1:
        raise InputError(f"kept_tokens must be above 0 and at most 1, not {kept_tokens}.")


def some_tokens(encoder: OCTCubeEncoder, pixels: torch.Tensor, share: float) -> torch.Tensor | None:
    """A random share of each item's tokens: indices (batch, kept), at least one of each; None for all of them.

    From torch's global CPU generator, as ``Masking.draw``.
    """
    if share == 1.0:
        return None
    tokens = math.prod(encoder.grid(pixels))
    drawn = torch.rand(len(pixels), tokens).topk(max(1, round(share * tokens)), sorted=False)
    return drawn.indices.to(pixels.device, non_blocking=True)


@dataclass(frozen=True)
class Masking:
    """How much is masked.

    Attributes
    ----------
    mask_ratio : share of the tokens that are hidden
    decode_fraction : share of the hidden tokens, drawn anew each time, that the decoder predicts. The loss over them
        is an unbiased estimate of the loss over all that such a decoder would make, and the decoder costs as much less
    """

    mask_ratio: float
    decode_fraction: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.mask_ratio < 1:
            raise InputError(f"mask_ratio must lie between 0 and 1, not be {self.mask_ratio}.")
        if not 0 < self.decode_fraction <= 1:
            raise InputError(
                f"decode_fraction must be above 0 and at most 1, not {self.decode_fraction}."
            )

    def counts(self, tokens: int) -> tuple[int, int]:
        """Number of visible and of predicted tokens; at least one of each."""
        visible = min(max(1, round((1 - self.mask_ratio) * tokens)), tokens - 1)
        return visible, max(1, round(self.decode_fraction * (tokens - visible)))

    def of(self, noise: torch.Tensor) -> Masks:
        """Masks from independent uniform numbers, shape (batch, tokens)."""
        visible, decoded = self.counts(noise.shape[1])
        if self.decode_fraction == 1:
            return Masks(noise.topk(visible, sorted=False).indices, None)
        order = noise.topk(visible + decoded).indices
        return Masks(order[:, :visible], order[:, visible:])

    def draw(self, batch: int, tokens: int) -> Masks:
        """New masks, uniform over the tokens and different in each item, from torch's global CPU generator.

        Drawn on the CPU so that a seed gives the same masks on every device.
        """
        return self.of(torch.rand(batch, tokens))

    def fixed(self, keys: Sequence[Sequence[int]], tokens: int) -> Masks:
        """The same masks every time, one for each key of non-negative integers (the row in the store, say)."""
        noise = [np.random.default_rng(list(key)).random(tokens, np.float32) for key in keys]
        return self.of(torch.from_numpy(np.stack(noise)))
