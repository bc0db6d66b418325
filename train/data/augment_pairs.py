"""Random changes of volumes and of the en-face images of the same eyes, made on the device that trains."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from train.data.augment import Augment


class PairAugment:
    """Mirrors an eye in all its modalities alike, and changes each of them a little for itself.

    The images are not aligned with the volumes to the pixel (another field, another fixation), so turning, shifting
    and scaling them alone is what scanners do too. All draws are on the CPU, in the order of the exams.

    Parameters
    ----------
    mirror : mirror half of the eyes left to right, and half top to bottom, in all modalities
    depth_shift : largest shift of a volume along its depth, as a share of that axis
    contrast : largest change of the logarithm of a volume's gain, and of the bend of its tone curve
    rotation_deg : largest turn of an image
    zoom : largest change of the logarithm of an image's scale
    shift : largest shift of an image, as a share of its sides
    image_contrast : largest change of the logarithm of an image's contrast
    brightness : largest change of an image's mean, in standard deviations of ImageNet
    """

    def __init__(
        self,
        mirror: bool = True,
        depth_shift: float = 0.1,
        contrast: float = 0.25,
        rotation_deg: float = 8.0,
        zoom: float = 0.05,
        shift: float = 0.05,
        image_contrast: float = 0.2,
        brightness: float = 0.3,
    ) -> None:
        self.mirror = mirror
        self._change_volume = Augment(depth_shift, 0.0, contrast, mirror=False)
        self.rotation = math.radians(rotation_deg)
        self.zoom = zoom
        self.shift = shift
        self.image_contrast = image_contrast
        self.brightness = brightness

    def __call__(
        self, volume: torch.Tensor, images: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Change float volumes and normalised images, which lie in the batch alike.

        Parameters
        ----------
        volume : tensor, shape (batch, 1, frames, height, width), in [0, 1]
        images : tensors, shape (batch, 3, rows, columns); rows lie along the volume's frames, columns along its width
        """
        exams = len(volume)
        # left to right, top to bottom
        mirrored = (
            (torch.rand(exams, 2) < 0.5).tolist() if self.mirror else [(False, False)] * exams
        )
        flips = [_axes(which, -1, -3) for which in mirrored]
        eyes = torch.stack([eye.flip(axes) for eye, axes in zip(volume, flips, strict=True)])
        changed, _ = self._change_volume(eyes.squeeze(1))
        flips = [_axes(which, -1, -2) for which in mirrored]
        return changed.unsqueeze(1), {
            name: self._image(image, flips) for name, image in images.items()
        }

    def _image(self, image: torch.Tensor, flips: list[list[int]]) -> torch.Tensor:
        exams = len(image)
        mirrored = torch.stack([eye.flip(axes) for eye, axes in zip(image, flips, strict=True)])
        angle, zoom = (
            torch.empty(exams).uniform_(-limit, limit) for limit in (self.rotation, self.zoom)
        )
        along, across = angle.cos() * zoom.exp(), angle.sin() * zoom.exp()
        # Affine maps have coordinates from -1 to 1: a share of a side is twice as much there.
        to = torch.empty(2, exams).uniform_(-2 * self.shift, 2 * self.shift)
        rows = [
            torch.stack(row, dim=1) for row in ((along, -across, to[0]), (across, along, to[1]))
        ]
        matrix = torch.stack(rows, dim=1).to(image)
        grid = F.affine_grid(matrix, list(image.shape), align_corners=False)
        moved = F.grid_sample(mirrored, grid, padding_mode="border", align_corners=False)
        gain = torch.empty(exams, 1, 1, 1).uniform_(-self.image_contrast, self.image_contrast).exp()
        offset = torch.empty(exams, 1, 1, 1).uniform_(-self.brightness, self.brightness)
        return torch.addcmul(offset.to(moved), moved, gain.to(moved))


def _axes(which: tuple[bool, bool], across: int, down: int) -> list[int]:
    return [axis for axis, flip in zip((across, down), which, strict=True) if flip]
