"""Random changes of volume batches that keep their labels, made on the device that trains."""

from __future__ import annotations

import torch


class Augment:
    """Flips, small shifts and contrast changes of (volume, lesions) batches, drawn anew for each eye.

    Parameters
    ----------
    depth_shift, width_shift : largest shift as a share of that axis
    contrast : largest change of the logarithm of the gain, and of the tone curve's bend
    """

    def __init__(
        self, depth_shift: float = 0.1, width_shift: float = 0.08, contrast: float = 0.25
    ) -> None:
        self.depth_shift = depth_shift
        self.width_shift = width_shift
        self.contrast = contrast

    def __call__(
        self, volume: torch.Tensor, lesions: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Change float volumes in 0..1 and their lesion bits, both (batch, frames, height, width)."""
        volumes, masks = [], []
        for eye, mask in zip(volume, lesions, strict=True):
            axes = [axis for axis in (0, 2) if torch.rand(()) < 0.5]
            limits = (self.depth_shift * eye.shape[1], self.width_shift * eye.shape[2])
            shifts = [int(torch.empty(()).uniform_(-limit, limit)) for limit in limits]
            volumes.append(eye.flip(axes).roll(shifts, (1, 2)))
            masks.append(mask.flip(axes).roll(shifts, (1, 2)))
        batch = torch.stack(volumes)
        change = torch.empty(2, len(batch), 1, 1, 1, device=batch.device)
        gain, bend = change.uniform_(-self.contrast, self.contrast)
        # A parabola through black and white: like a gamma curve, at a fraction of its cost.
        bent = batch + bend * batch * (1 - batch)
        return (bent * gain.exp()).clamp_(0, 1), torch.stack(masks)
