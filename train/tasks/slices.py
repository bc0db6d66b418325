"""Self-paced training on hard slices of high resolution beside the volumes.

After the pre-training code that goes with OCTCube (Liu et al., arXiv:2408.11227), which follows Jiang et al., NeurIPS
2014 ("Self-paced learning with diversity"). Certain from that code: a stack of slices is one layer of cubes with an
embedding of its own, the in-plane positions and none along z; blocks and decoder are the volumes'; a slice is as hard
as the volumes' reconstruction error in its layer of cubes; the losses are added; the mask ratio rises.

Our reading: the hardest are sought among the layers of the batch at hand, with the weights of this very step, where
that code keeps a table of all slices' last errors and draws 2D batches of its own; so nothing has to be shared between
processes or stored, and a resumed run stays the same. The slices of a stack are neighbouring B-scans. The share of hard
ones rises, as that code's description says (its schedule falls from the larger value to the smaller).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from octcube_core.errors import InputError
from octcube_core.models.mae import Reconstruction
from octcube_core.token_grid import Triple
from train.tasks.masking import Masking, Masks


@dataclass(frozen=True)
class JointSlices:
    """Training on the hardest slices of each batch of volumes.

    Attributes
    ----------
    size : (height, width) of the slices, to which those of the store are resized
    share : share of the layers that counts as hard, at the beginning and at the end of training
    mask_ratio : of the slices, at the beginning and at the end
    weight : of the slices' loss beside that of the volumes
    """

    size: tuple[int, int] = (512, 512)
    share: tuple[float, float] = (0.15, 0.3)
    mask_ratio: tuple[float, float] = (0.75, 0.85)
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not all(0 < share <= 1 for share in self.share):
            raise InputError(f"slices.share must be above 0 and at most 1, not {self.share}.")
        for ratio in self.mask_ratio:
            Masking(ratio)

    def masking(self, progress: float, decode_fraction: float) -> Masking:
        """How the slices are masked after a share ``progress`` of the training."""
        return Masking(_between(self.mask_ratio, progress), decode_fraction)

    def hardest(
        self, found: Reconstruction, masks: Masks, layers: int, progress: float
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers of the eyes and of the layers of cubes in them with the largest errors, each (chosen,)."""
        errors = layer_errors(found, masks, layers)
        count = max(1, round(_between(self.share, progress) * errors.numel()))
        chosen = errors.flatten().topk(count).indices
        return chosen // layers, chosen % layers

    def cut(
        self,
        volume: torch.Tensor,
        eyes: torch.Tensor,
        layers: torch.Tensor,
        grid: Triple,
        depth: int,
    ) -> torch.Tensor:
        """Neighbouring slices of the store about the middle of layers of cubes.

        Parameters
        ----------
        volume : uint8 tensor, shape (batch, frames, height, width), as the store has them
        eyes, layers : integer tensors, shape (chosen,)
        grid : token grid of the volumes
        depth : slices of a stack, those of a cube

        Returns
        -------
        tensor, shape (chosen, depth, *size): uint8 where the store has this size, else float32 in [0, 1]
        """
        frames = volume.shape[1]
        first = ((layers + 0.5) * frames / grid[0] - depth / 2).round().long()
        first = first.clamp(0, frames - depth)
        places = first[:, None] + torch.arange(depth, device=volume.device)
        stacks = volume[eyes[:, None], places]
        if tuple(stacks.shape[2:]) == tuple(self.size):
            return stacks
        return F.interpolate(
            stacks.float() / 255, tuple(self.size), mode="bilinear", antialias=True
        )


def layer_errors(found: Reconstruction, masks: Masks, layers: int) -> torch.Tensor:
    """Mean error of the masked tokens of each layer of cubes, shape (batch, layers); 0 where none was predicted."""
    plane = found.mask.shape[1] // layers
    if masks.decode is None:
        errors = (found.errors.detach() * found.mask).unflatten(1, (layers, plane)).sum(dim=2)
        counts = found.mask.unflatten(1, (layers, plane)).sum(dim=2)
    else:
        layer, detached = masks.decode // plane, found.errors.detach()
        zeros = detached.new_zeros(len(detached), layers)
        errors = zeros.scatter_add(1, layer, detached)
        counts = zeros.scatter_add(1, layer, torch.ones_like(detached))
    return errors / counts.clamp(min=1)


def _between(ends: tuple[float, float], progress: float) -> float:
    first, last = ends
    return first + (last - first) * min(max(progress, 0.0), 1.0)
