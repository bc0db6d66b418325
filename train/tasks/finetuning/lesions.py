"""Lesion masks as an auxiliary target: every token says which diseases' lesions it holds."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn

from octcube_core.checkpoints.card import ModelCard
from octcube_core.errors import InputError
from octcube_core.models.embeddings import split_cubes, take_tokens
from octcube_core.token_grid import Triple


@dataclass
class LesionTargets:
    """How lesion masks are learnt.

    Attributes
    ----------
    weight : of the token-level loss beside the loss of the labels
    gain : for each disease (or one for all), how much more a token in a lesion counts than one outside; the rarer its
        tokens, the more, or the loss is all background
    share : share of a cube's voxels in a lesion at which its token counts as wholly diseased
    """

    weight: float = 1.0
    gain: list[float] = field(default_factory=lambda: [1.0])
    share: float = 0.02


class LesionLoss(nn.Module):
    """A linear layer on every token, trained beside the classifier and then left behind."""

    gain: torch.Tensor

    def __init__(self, card: ModelCard, targets: LesionTargets) -> None:
        super().__init__()
        diseases = len(card.labels)
        if len(targets.gain) not in (1, diseases):
            raise InputError(f"lesions.gain needs one value, or one for each of {diseases} labels.")
        self.cube = card.architecture.cube
        self.weight, self.share, self.diseases = targets.weight, targets.share, diseases
        self.head = nn.Linear(card.architecture.embed_dim, diseases)
        self.register_buffer("gain", torch.tensor(targets.gain), persistent=False)

    def forward(
        self, tokens: torch.Tensor, lesions: torch.Tensor, keep: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Loss of tokens (batch, tokens, dim) and lesion bits (batch, frames, height, width), without its weight.

        ``keep``, shape (batch, tokens), says which of the volume's tokens they are; by default they are all.
        """
        target = lesion_targets(lesions, self.cube, self.diseases, self.share)
        if keep is not None:
            target = take_tokens(target, keep)
        logits = self.head(tokens).float()
        return F.binary_cross_entropy_with_logits(logits, target, pos_weight=self.gain)


def lesion_targets(
    lesions: torch.Tensor, cube: Triple, diseases: int, full_share: float
) -> torch.Tensor:
    """Token-level targets in 0..1 from lesion bits.

    Parameters
    ----------
    lesions : uint8 tensor, shape (batch, frames, height, width); bit k says disease k
    cube : size of a token
    diseases : number of diseases
    full_share : share of a cube inside a lesion that makes the target 1

    Returns
    -------
    float tensor, shape (batch, tokens, diseases)
    """
    cubes = split_cubes(lesions, cube)
    voxels = torch.stack([((cubes >> k) & 1).sum(-1) for k in range(diseases)], dim=-1)
    return (voxels / (cubes.shape[-1] * full_share)).clamp_(max=1)
