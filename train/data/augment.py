"""Random changes of batches that keep their labels, made on the device that trains.

What is drawn for each exam comes from torch's global generator on the CPU, the noise from the device's; so a run that
seeds them before every batch draws the same again. Flips and shifts move an eye at a time: that is three copies of
memory, many times faster on a CPU than gathering by indices, and of no weight on a GPU. All else is batched.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F


class Augment:
    """Flips, small shifts, crops, contrast changes and noise of (volume, lesions) batches, drawn anew for each eye.

    Parameters
    ----------
    depth_shift, width_shift : largest shift as a share of that axis; what leaves on one side enters on the other
    contrast : largest change of the logarithm of the gain, and of the tone curve's bend
    mirror : flip half of the eyes along the order of their B-scans, and half along their width; the latter makes a
        right eye look like a left one, so not for a task that must tell them apart
    crop : smallest share of a B-scan's area that a random crop, brought back to full size, keeps; 1 crops nothing
        (Szegedy et al., "Going deeper with convolutions", arXiv:1409.4842)
    noise : standard deviation of Gaussian noise
    """

    def __init__(
        self,
        depth_shift: float = 0.1,
        width_shift: float = 0.08,
        contrast: float = 0.25,
        mirror: bool = True,
        crop: float = 1.0,
        noise: float = 0.0,
    ) -> None:
        self.depth_shift = depth_shift
        self.width_shift = width_shift
        self.contrast = contrast
        self.mirror = mirror
        self.crop = crop
        self.noise = noise

    def __call__(
        self, volume: torch.Tensor, lesions: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Change float volumes in 0..1 and their lesion bits, both (batch, frames, height, width)."""
        volume, lesions = self._moved(volume, lesions)
        if self.crop < 1:
            grid = crop_grid(volume, self.crop)
            volume = F.grid_sample(volume, grid, padding_mode="border", align_corners=False)
            if lesions is not None:
                # Bits survive as whole numbers where nothing is interpolated.
                bits = F.grid_sample(lesions.float(), grid, mode="nearest", align_corners=False)
                lesions = bits.to(lesions.dtype)
        gain, bend = torch.empty(2, len(volume), 1, 1, 1).uniform_(-self.contrast, self.contrast)
        # A parabola through black and white: like a gamma curve, at a fraction of its cost.
        volume = torch.addcmul(volume, bend.to(volume) * volume, 1 - volume)
        volume.mul_(gain.exp().to(volume))
        if self.noise > 0:
            volume.add_(torch.randn_like(volume), alpha=self.noise)
        return volume.clamp_(0, 1), lesions

    def _moved(
        self, volume: torch.Tensor, lesions: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        count, _, *size = volume.shape
        flips = (torch.rand(count, 2) < 0.5) & self.mirror
        limits = torch.tensor([self.depth_shift, self.width_shift]) * torch.tensor(size)
        shifts = (torch.empty(count, 2).uniform_(-1, 1) * limits).int()
        axes = [[axis for axis, flip in zip((0, 2), eye, strict=True) if flip] for eye in flips]
        moves = list(zip(axes, shifts.tolist(), strict=True))

        def move(batch: torch.Tensor) -> torch.Tensor:
            eyes = zip(batch, moves, strict=True)
            return torch.stack([eye.flip(axes).roll(shift, (1, 2)) for eye, (axes, shift) in eyes])

        return move(volume), None if lesions is None else move(lesions)


def crop_grid(batch: torch.Tensor, smallest: float) -> torch.Tensor:
    """Sampling grids of random crops, for ``F.grid_sample``.

    Parameters
    ----------
    batch : tensor, shape (batch, channels, height, width)
    smallest : least share of the area that a crop keeps; its sides' ratio, as shares, lies between 3/4 and 4/3

    Returns
    -------
    tensor, shape (batch, height, width, 2)
    """
    area = torch.empty(len(batch)).uniform_(smallest, 1)
    stretch = (torch.empty(len(batch)).uniform_(-1, 1) * torch.tensor(4 / 3).log()).exp()
    sides = torch.stack([(area * stretch).sqrt(), (area / stretch).sqrt()], 1).clamp_(max=1)
    centres = torch.empty(len(batch), 2).uniform_(-1, 1) * (1 - sides)
    matrices = torch.cat([torch.diag_embed(sides), centres.unsqueeze(2)], dim=2)
    return F.affine_grid(matrices.to(batch), list(batch.shape), align_corners=False)
