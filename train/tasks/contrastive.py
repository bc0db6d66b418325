"""Contrastive losses over any number of modalities, some of which an exam may lack. All in float32."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
import torch.nn.functional as F

MOST_SCALE = 100.0  # of CLIP (Radford et al., arXiv:2103.00020), so that training stays stable


@dataclass(frozen=True)
class Contrast:
    """What is pulled together and what is pushed apart.

    Attributes
    ----------
    objective : 'infonce' or 'siglip'
        Symmetric InfoNCE (van den Oord et al., arXiv:1807.03748) as in CLIP (Radford et al., arXiv:2103.00020), or
        the sigmoid loss of every pairing on its own (Zhai et al., arXiv:2303.15343).
    same_patient : 'negative', 'ignore' or 'positive'
        What the other eyes and visits of a patient are to each of them: apart like all others (as the reference),
        left out, or together (Khosla et al., arXiv:2004.11362, the mean outside the logarithm).
    same_side : share of each exam's target that all exams of the same side, right or left eyes, have in equal parts;
        the rest is its own. Label smoothing (Szegedy et al., arXiv:1512.00567) towards what is half right: with 0,
        nothing but chance brings right eyes together where finer marks tell all eyes apart. For InfoNCE only.
    """

    objective: Literal["infonce", "siglip"] = "infonce"
    same_patient: Literal["negative", "ignore", "positive"] = "negative"
    same_side: float = 0.0

    @property
    def first_scale(self) -> float:
        """Factor of the similarities at the start, as the papers have it."""
        return 1 / 0.07 if self.objective == "infonce" else 10.0

    @property
    def first_bias(self) -> float:
        """Summand of the similarities at the start; InfoNCE has none."""
        return 0.0 if self.objective == "infonce" else -10.0


@dataclass(frozen=True)
class Agreement:
    """How well the modalities of a batch agree.

    Attributes
    ----------
    loss : scalar tensor, the mean over the pairs of modalities that the batch has; 0 with a graph if it has none
    hits : tensor, shape (pairs,), how many of the rows found an exam of their own at the first place, both ways
    tries : tensor, shape (pairs,), of how many
    """

    loss: torch.Tensor
    hits: torch.Tensor
    tries: torch.Tensor


@dataclass(frozen=True)
class _Targets:
    """Which columns count for each row, which belong to it, and which are of its side; all bool, (rows, exams)."""

    counted: torch.Tensor
    own: torch.Tensor
    beside: torch.Tensor


def agreement(
    features: torch.Tensor,
    present: torch.Tensor,
    patient: torch.Tensor,
    log_scales: Sequence[torch.Tensor],
    biases: Sequence[torch.Tensor],
    contrast: Contrast,
    rows: slice = slice(None),
    side: torch.Tensor | None = None,
) -> Agreement:
    """Contrast every pair of modalities over all exams of a batch.

    An exam that lacks a modality is neither a row nor a column of that modality's pairs: it counts in no numerator
    and in no denominator.

    Parameters
    ----------
    features : tensor, shape (exams, modalities, dim), of length 1; zeros where a modality is missing
    present : bool tensor, shape (exams, modalities)
    patient : integer tensor, shape (exams,)
    log_scales, biases : a scalar tensor per pair of modalities, in the order of ``itertools.combinations``
    contrast : Contrast
    rows : slice
        Exams whose share of the loss to compute, against all: the shares of all exams sum up to the whole loss.
    side : integer tensor, shape (exams,), optional
        0 or 1 for right and left eyes, -1 where it is unknown; for ``same_side`` alone.
    """
    side = torch.full_like(patient, -1) if side is None else side
    losses, counts, hits, tries = [], [], [], []
    pairs = combinations(range(features.shape[1]), 2)
    for (one, other), log_scale, bias in zip(pairs, log_scales, biases, strict=True):
        both = present[:, one] & present[:, other]
        targets = _targets(both, patient, side, contrast, rows)
        valid = both[rows].float()
        first, second = features[:, one].float(), features[:, other].float()
        scale = log_scale.float().exp()
        there = scale * first[rows] @ second.T + bias
        back = scale * second[rows] @ first.T + bias
        if contrast.objective == "infonce":
            each = sum(_info_nce(way, targets, contrast.same_side) for way in (there, back)) / 2
        else:
            each = _sigmoid(there, targets)
        losses.append((each * valid).sum() / both.sum().clamp(min=1))
        counts.append(both.any())
        found = _first_is_own(there, targets) + _first_is_own(back, targets)
        hits.append((found * valid).sum())
        tries.append(2 * valid.sum())
    pairs_there = torch.stack(counts).sum().clamp(min=1)
    loss = torch.stack(losses).sum() / pairs_there
    return Agreement(loss, torch.stack(hits).detach(), torch.stack(tries))


def _targets(
    both: torch.Tensor,
    patient: torch.Tensor,
    side: torch.Tensor,
    contrast: Contrast,
    rows: slice,
) -> _Targets:
    itself = torch.eye(len(both), dtype=torch.bool, device=both.device)[rows]
    same = patient[rows, None] == patient
    counted, own = both.expand(itself.shape), itself
    if contrast.same_patient == "ignore":
        counted = counted & ~same
    elif contrast.same_patient == "positive":
        own = same & both
    # A row's own column stays, so that every row has one; those that lack a modality are weighed 0.
    beside = counted & (side[rows, None] == side) & (side >= 0)
    return _Targets(counted | itself, own | itself, beside | itself)


def _info_nce(logits: torch.Tensor, targets: _Targets, same_side: float) -> torch.Tensor:
    """Cross-entropy of each row, shape (rows,), the mean over what belongs to it and, for a share, its side."""
    counted = logits.masked_fill(~targets.counted, -math.inf)
    wanted = _mean_over(logits, targets.own)
    if same_side:
        wanted = (1 - same_side) * wanted + same_side * _mean_over(logits, targets.beside)
    return counted.logsumexp(dim=1) - wanted


def _mean_over(logits: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
    return torch.where(columns, logits, 0).sum(dim=1) / columns.sum(dim=1)


def _sigmoid(logits: torch.Tensor, targets: _Targets) -> torch.Tensor:
    signed = torch.where(targets.own, logits, -logits)
    return -torch.where(targets.counted, F.logsigmoid(signed), 0).sum(dim=1)


def _first_is_own(logits: torch.Tensor, targets: _Targets) -> torch.Tensor:
    best = logits.masked_fill(~targets.counted, -math.inf).argmax(dim=1, keepdim=True)
    return targets.own.gather(1, best)[:, 0].float()
