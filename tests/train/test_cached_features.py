"""Cached features: micro-batches and processes change memory and nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from tests.train import two_processes
from train.tasks.cached_features import (
    CachedFeatures,
    RandomState,
    joint_gradients,
    micro_batches,
)
from train.tasks.contrastive import Contrast, agreement

EXAMS, INPUT, DIM = 32, 7, 5


class Towers(nn.Module):
    """Three modalities, each through a small network, and a temperature per pair."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.towers = nn.ModuleList(
            nn.Sequential(nn.Linear(INPUT, 16), nn.GELU(), nn.Dropout(dropout), nn.Linear(16, DIM))
            for _ in range(3)
        )
        self.log_scales = nn.ParameterList(torch.tensor(scale) for scale in (1.0, 2.0, 2.5))
        self.double()

    def embed(self, batch):
        columns = zip(self.towers, batch["inputs"].unbind(1), strict=True)
        return nn.functional.normalize(torch.stack([tower(x) for tower, x in columns], 1), dim=-1)

    def compare(self, contrast):
        def compare(features, present, patient, rows):
            zero = [torch.zeros((), dtype=torch.float64)] * 3
            scales = list(self.log_scales)
            return agreement(features, present, patient, scales, zero, contrast, rows)

        return compare

    def forward(self, batch, micro_batch, contrast, local_loss):
        """The scalar whose backward pass ends a step."""
        cached = CachedFeatures(self.embed, micro_batches(batch, micro_batch))
        scales = list(self.log_scales)
        joint = joint_gradients(
            cached.features,
            batch["present"],
            batch["patient"],
            self.compare(contrast),
            scales,
            local_loss,
        )
        surrogate = cached.surrogate(joint.features)
        for parameter, gradient in zip(scales, joint.parameters, strict=True):
            surrogate = surrogate + parameter * gradient
        return surrogate, joint.agreement.loss


def exams(missing: bool = True):
    torch.manual_seed(11)
    return {
        "row": torch.arange(EXAMS),
        "inputs": torch.randn(EXAMS, 3, INPUT, dtype=torch.float64),
        "present": torch.rand(EXAMS, 3) < (0.7 if missing else 2.0),
        "patient": torch.arange(EXAMS) // 2 % 12,  # some have eyes far apart in the batch
    }


def gradients(module):
    return {name: weight.grad for name, weight in module.named_parameters()}


def one_batch(contrast, batch):
    """Loss and gradients by one forward and one backward pass over everything."""
    model = Towers()
    everything = slice(None)
    found = model.compare(contrast)(
        model.embed(batch), batch["present"], batch["patient"], everything
    )
    found.loss.backward()
    return found.loss.detach(), gradients(model)


def _share(contrast, batch, micro_batch, local_loss):
    """In each of several processes: loss and gradients from this one's part of the batch."""
    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    size = EXAMS // world
    model = DistributedDataParallel(Towers())
    own = micro_batches(batch, size)[rank]
    for _ in range(2):  # a second time, as DDP's first backward pass is special
        model.zero_grad()
        surrogate, loss = model(own, micro_batch, contrast, local_loss)
        surrogate.backward()
    return loss, gradients(model.module)


def _shares(cases, batch, whole):
    """All that two processes are asked for, at the price of starting them once."""
    found = [_share(contrast, batch, 8, local_loss) for contrast, local_loss in cases]
    return found, _share(Contrast(), whole, 8, True), _open_clip_share(whole)


def _open_clip_share(batch):
    from open_clip.loss import ClipLoss  # here, as it takes long and other processes do without

    rank, world = torch.distributed.get_rank(), torch.distributed.get_world_size()
    model = DistributedDataParallel(OpenCLIPTowers())
    loss = ClipLoss(local_loss=True, gather_with_grad=True, rank=rank, world_size=world)
    first, second, scale = model(micro_batches(batch, EXAMS // world)[rank])
    value = loss(first, second, scale)
    value.backward()
    return value.detach(), gradients(model.module)


class OpenCLIPTowers(Towers):
    """The first two modalities alone, as open_clip takes them."""

    def __init__(self):
        super().__init__()
        self.towers[2].requires_grad_(False)
        self.log_scales[1].requires_grad_(False)
        self.log_scales[2].requires_grad_(False)

    def forward(self, batch):
        first, second, _ = self.embed(batch).unbind(1)
        return first, second, self.log_scales[0].exp()


def assert_same(found, expected):
    for name, gradient in expected.items():
        if gradient is not None:
            torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-7, msg=name)


@pytest.mark.parametrize("local_loss", [True, False])
@pytest.mark.parametrize("same_patient", ["negative", "ignore", "positive"])
@pytest.mark.parametrize("objective", ["infonce", "siglip"])
def test_accumulation_of_4_x_8_equals_1_x_32(objective, same_patient, local_loss):
    contrast, batch = Contrast(objective, same_patient), exams()
    loss, expected = one_batch(contrast, batch)
    model = Towers()
    surrogate, found = model(batch, 8, contrast, local_loss)
    surrogate.backward()
    torch.testing.assert_close(found, loss)
    assert_same(gradients(model), expected)
    assert expected["log_scales.0"] != 0


CASES = [
    (Contrast("infonce", "negative"), True),
    (Contrast("infonce", "ignore"), False),
    (Contrast("infonce", "positive"), True),
    (Contrast("siglip", "ignore"), True),
]


@pytest.fixture(scope="module")
def in_two_processes():
    return two_processes.run(_shares, CASES, exams(), without_third())


def without_third():
    batch = exams(missing=False)
    batch["present"][:, 2] = False
    return batch


@pytest.mark.parametrize("number", range(len(CASES)))
def test_two_processes_of_two_micro_batches_equal_one_batch(in_two_processes, number):
    loss, expected = one_batch(CASES[number][0], exams())
    for cases, _, _ in in_two_processes:
        found, grads = cases[number]
        torch.testing.assert_close(found, loss, rtol=1e-5, atol=1e-7)
        assert_same(grads, expected)


def test_two_processes_equal_open_clip_in_two_processes(in_two_processes):
    expected = torch.stack([value for _, _, (value, _) in in_two_processes]).mean()
    for _, (found, grads), (_, gradients_there) in in_two_processes:
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-7)
        assert_same(grads, gradients_there)


def test_dropout_of_the_second_forward_pass_is_that_of_the_first():
    batch = exams()
    model, reference = Towers(dropout=0.5), Towers(dropout=0.5)
    torch.manual_seed(5)
    surrogate, found = model(batch, 8, Contrast(), True)
    surrogate.backward()
    torch.manual_seed(5)
    features = torch.cat([reference.embed(part) for part in micro_batches(batch, 8)])
    whole = reference.compare(Contrast())(features, batch["present"], batch["patient"], slice(None))
    whole.loss.backward()
    torch.testing.assert_close(found, whole.loss.detach(), rtol=0, atol=0)
    assert_same(gradients(model), gradients(reference))


def test_a_random_state_comes_back():
    state = RandomState(torch.device("cpu"))
    drawn = torch.rand(3)
    torch.rand(8)
    state.restore()
    torch.testing.assert_close(torch.rand(3), drawn, rtol=0, atol=0)
