"""The contrastive loss: equal to open_clip's where that has one, blind to what is missing, and right about patients."""

from __future__ import annotations

import math
from itertools import combinations

import pytest
import torch
from open_clip.loss import ClipLoss, SigLipLoss

from train.tasks.contrastive import Contrast, agreement

EXAMS, DIM = 10, 6


def features(modalities: int, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return torch.nn.functional.normalize(torch.randn(EXAMS, modalities, DIM), dim=-1)


def compared(
    given,
    present=None,
    patient=None,
    contrast=None,
    scale=8.0,
    bias=0.0,
    rows=slice(None),
    side=None,
):
    """Agreement, with everything present and all of different patients unless said."""
    pairs = math.comb(given.shape[1], 2)
    if present is None:
        present = torch.ones(given.shape[:2], dtype=torch.bool)
    return agreement(
        given,
        present,
        torch.arange(len(given)) if patient is None else patient,
        [torch.as_tensor(scale).log()] * pairs,
        [torch.as_tensor(bias)] * pairs,
        contrast or Contrast(),
        rows,
        side,
    )


@pytest.mark.parametrize("objective", ["infonce", "siglip"])
def test_two_modalities_as_open_clip(objective):
    ours, theirs = features(2).requires_grad_(), features(2).requires_grad_()
    scales = [torch.tensor(9.0, requires_grad=True) for _ in range(2)]
    biases = [torch.tensor(-3.0 * (objective == "siglip"), requires_grad=True) for _ in range(2)]
    loss = compared(ours, contrast=Contrast(objective), scale=scales[0], bias=biases[0]).loss
    reference = ClipLoss() if objective == "infonce" else SigLipLoss()
    expected = reference(theirs[:, 0], theirs[:, 1], scales[1], biases[1])
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=1e-6)
    loss.backward()
    expected.backward()
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(scales[0].grad, scales[1].grad, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(biases[0].grad, biases[1].grad, rtol=1e-5, atol=1e-6)


def test_the_loss_of_three_modalities_is_the_mean_of_their_pairs():
    given = features(3)
    alone = [compared(given[:, list(pair)]).loss for pair in combinations(range(3), 2)]
    torch.testing.assert_close(compared(given).loss, torch.stack(alone).mean())


@pytest.mark.parametrize("objective", ["infonce", "siglip"])
@pytest.mark.parametrize("same_patient", ["negative", "ignore", "positive"])
def test_an_exam_without_a_modality_is_as_if_it_were_not_there(objective, same_patient):
    contrast, patient = Contrast(objective, same_patient), torch.arange(EXAMS) // 2
    given = features(2)
    present = torch.ones(EXAMS, 2, dtype=torch.bool)
    present[3, 0] = present[4, 1] = present[9, 0] = present[9, 1] = False
    given = (given * present[..., None]).requires_grad_()
    left = present.all(dim=1)
    found = compared(given, present, patient, contrast)
    alone = compared(given[left], patient=patient[left], contrast=contrast)
    torch.testing.assert_close(found.loss, alone.loss)
    torch.testing.assert_close(found.hits, alone.hits)
    assert found.tries == alone.tries == 2 * left.sum()
    found.loss.backward()
    assert not given.grad[~left].any()
    assert given.grad[left].abs().sum() > 0


def test_pairs_that_a_batch_lacks_do_not_dilute_the_mean():
    given = features(3)
    present = torch.ones(EXAMS, 3, dtype=torch.bool)
    present[:, 2] = False
    torch.testing.assert_close(compared(given, present).loss, compared(given[:, :2]).loss)


@pytest.mark.parametrize("objective", ["infonce", "siglip"])
def test_without_any_pair_the_loss_is_zero_and_differentiable(objective):
    given, scale = features(2).requires_grad_(), torch.tensor(5.0, requires_grad=True)
    present = torch.ones(EXAMS, 2, dtype=torch.bool)
    present[:5, 0] = present[5:, 1] = False
    loss = compared(given, present, contrast=Contrast(objective), scale=scale).loss
    loss.backward()
    assert loss == 0
    assert not given.grad.any()
    assert scale.grad == 0


def test_other_eyes_of_a_patient():
    """Against the definition, exam by exam."""
    given, scale = features(2), 8.0
    patient = torch.tensor([0, 0, 1, 2, 2, 2, 3, 4, 5, 5])
    similar = scale * given[:, 0] @ given[:, 1].T

    def expected(counts, belongs):
        total = 0.0
        for logits in (similar, similar.T):
            for row in range(EXAMS):
                among = [column for column in range(EXAMS) if counts(row, column)]
                own = [column for column in among if belongs(row, column)]
                log_probability = logits[row, own] - logits[row, among].logsumexp(0)
                total -= log_probability.mean() / (2 * EXAMS)
        return total

    def itself(row, column):
        return row == column

    def same(row, column):
        return bool(patient[row] == patient[column])

    for name, counts, belongs in (
        ("negative", lambda row, column: True, itself),
        ("ignore", lambda row, column: itself(row, column) or not same(row, column), itself),
        ("positive", lambda row, column: True, same),
    ):
        found = compared(given, patient=patient, contrast=Contrast(same_patient=name), scale=scale)
        torch.testing.assert_close(found.loss, expected(counts, belongs))


def test_an_eye_found_by_its_fellow_is_a_hit_only_where_the_two_belong_together():
    given = torch.eye(4, DIM)[:, None].repeat(1, 2, 1)
    given[[0, 1], 1] = given[[1, 0], 1]  # two eyes of one patient, mistaken for each other
    patient = torch.tensor([0, 0, 1, 2])
    hits = {
        name: int(compared(given, patient=patient, contrast=Contrast(same_patient=name)).hits)
        for name in ("negative", "ignore", "positive")
    }
    assert hits == {"negative": 4, "ignore": 8, "positive": 8}


@pytest.mark.parametrize("objective", ["infonce", "siglip"])
def test_shares_of_the_rows_sum_up_to_the_whole(objective):
    given, contrast = features(3), Contrast(objective, "ignore")
    present = torch.rand(EXAMS, 3) < 0.7
    patient = torch.arange(EXAMS) // 2
    whole = compared(given, present, patient, contrast)
    shares = [
        compared(given, present, patient, contrast, rows=slice(start, start + 5))
        for start in (0, 5)
    ]
    torch.testing.assert_close(sum(share.loss for share in shares), whole.loss)
    torch.testing.assert_close(sum(share.hits for share in shares), whole.hits)
    torch.testing.assert_close(sum(share.tries for share in shares), whole.tries)


def test_half_precision_features_are_compared_in_float32():
    given = features(2)
    loss = compared(given.bfloat16()).loss
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, compared(given.bfloat16().float()).loss)


def test_a_share_of_the_target_goes_to_exams_of_the_same_side():
    given, patient = features(2), torch.arange(EXAMS) // 2
    side = torch.tensor([0, 1] * 4 + [-1, -1])
    contrast = Contrast(same_patient="ignore", same_side=0.3)
    found = compared(given, patient=patient, contrast=contrast, side=side).loss
    logits = 8.0 * given[:, 0] @ given[:, 1].T
    expected = []
    for way in (logits, logits.T):
        for row in range(EXAMS):
            counted = [k for k in range(EXAMS) if k == row or patient[k] != patient[row]]
            beside = [k for k in counted if k == row or (side[k] == side[row] != -1)]
            log_p = way[row] - way[row, counted].logsumexp(dim=0)
            expected.append(-0.7 * log_p[row] - 0.3 * log_p[beside].mean())
    torch.testing.assert_close(found, torch.stack(expected).mean())
    assert torch.equal(
        compared(given, patient=patient, contrast=contrast).loss,  # of unknown sides
        compared(given, patient=patient, contrast=Contrast(same_patient="ignore")).loss,
    )
