"""Masks: exact numbers, uniform over the tokens, different in each eye, a function of the seed."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import chisquare

from octcube_core.errors import InputError
from train.tasks.masking import Masking


@pytest.mark.parametrize(
    ("ratio", "tokens", "visible"),
    [(0.9, 5120, 512), (0.9, 640, 64), (0.75, 30, 8), (0.99, 8, 1), (0.1, 2, 1)],
)
def test_so_many_tokens_stay_visible(ratio, tokens, visible):
    masks = Masking(ratio).draw(3, tokens)
    assert masks.keep.shape == (3, visible)
    assert masks.decode is None
    for row in masks.keep:
        assert len(set(row.tolist())) == visible


def test_a_part_of_the_hidden_tokens_is_decoded():
    masks = Masking(0.9, 0.25).draw(4, 640)
    assert masks.keep.shape == (4, 64)
    assert masks.decode.shape == (4, 144)
    for keep, decode in zip(masks.keep, masks.decode, strict=True):
        assert len(set(keep.tolist()) | set(decode.tolist())) == 64 + 144


def test_visible_and_decoded_tokens_are_uniform():
    torch.manual_seed(5)
    masks = Masking(0.8, 0.3).draw(4000, 40)
    for places in (masks.keep, masks.decode):
        assert chisquare(torch.bincount(places.flatten(), minlength=40)).pvalue > 1e-3
    # Pairs too: a mask of neighbours would be uniform token by token.
    pairs = torch.zeros(40, 40)
    for keep in masks.keep:
        pairs[keep[:, None], keep[None]] += 1
    upper = pairs[torch.triu_indices(40, 40, 1).unbind()]
    assert chisquare(upper).pvalue > 1e-3


def test_masks_differ_between_eyes_and_follow_the_seed():
    masking = Masking(0.9, 0.5)
    torch.manual_seed(1)
    first, then = masking.draw(3, 100), masking.draw(3, 100)
    torch.manual_seed(1)
    again = masking.draw(3, 100)
    assert torch.equal(first.keep, again.keep)
    assert torch.equal(first.decode, again.decode)
    drawn = {tuple(sorted(row.tolist())) for row in torch.cat([first.keep, then.keep])}
    assert len(drawn) == 6


def test_a_fixed_mask_belongs_to_its_eye():
    masking = Masking(0.9)
    batch = masking.fixed([(7, 0), (8, 0), (7, 1)], 100).keep
    torch.manual_seed(3)
    alone = masking.fixed([(8, 0)], 100).keep
    assert torch.equal(batch[1], alone[0])
    assert len({tuple(sorted(row.tolist())) for row in batch}) == 3


@pytest.mark.parametrize(("ratio", "fraction"), [(0, 1), (1, 1), (0.9, 0), (0.9, 1.2)])
def test_impossible_shares_are_refused(ratio, fraction):
    with pytest.raises(InputError, match=r"must (lie|be)"):
        Masking(ratio, fraction)
