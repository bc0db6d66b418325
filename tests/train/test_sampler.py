"""Which rows make which batch: the same for the same seed, each once, wherever a run stopped."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from octcube_core.errors import InputError
from train.data.sampler import EpochSampler, EveryRow


def _epoch(epoch: int, **options) -> list[list[int]]:
    sampler = EpochSampler(**{"count": 23, "batch_size": 4, "seed": 7} | options)
    sampler.set_epoch(epoch)
    return list(sampler)


def test_the_order_depends_on_seed_and_epoch_alone():
    assert _epoch(3) == _epoch(3)
    assert _epoch(3) != _epoch(4)
    assert _epoch(3) != _epoch(3, seed=8)


def test_an_epoch_draws_each_row_at_most_once_and_drops_the_tail():
    rows = np.concatenate(_epoch(0))
    assert len(rows) == 20
    assert len(set(rows)) == 20
    assert rows.tolist() != sorted(rows)
    left_out = {frozenset(range(23)) - set(np.concatenate(_epoch(epoch))) for epoch in range(5)}
    assert len(left_out) > 1  # not always the same ones


def test_two_ranks_share_what_one_would_see():
    one = _epoch(2, batch_size=8)
    shares = [_epoch(2, rank=rank, world_size=2) for rank in (0, 1)]
    assert [first + second for first, second in zip(*shares, strict=True)] == one


def test_it_goes_on_in_the_middle_of_an_epoch():
    first = EpochSampler(23, 4, seed=7)
    first.set_epoch(1)
    seen = list(islice(first, 2))
    first.position = 2
    again = EpochSampler(23, 4, seed=99)  # the seed of then counts
    again.load_state_dict(first.state_dict())
    again.set_epoch(1)
    assert seen + list(again) == _epoch(1)
    again.set_epoch(2)
    assert list(again) == _epoch(2)


def test_another_number_of_processes_goes_on_only_between_epochs():
    state = EpochSampler(23, 4).state_dict()
    EpochSampler(23, 4, world_size=2).load_state_dict(state)
    with pytest.raises(InputError, match="global batch 4, but now it is 8"):
        EpochSampler(23, 4, world_size=2).load_state_dict({**state, "position": 1})
    with pytest.raises(InputError, match="rows 23, but now it is 22"):
        EpochSampler(22, 4).load_state_dict({**state, "position": 1})
    for processes, batch in (
        (2, 4),
        (1, 2),
    ):  # at the end of an epoch, all of its five batches used
        sampler = EpochSampler(23, batch, world_size=processes)
        sampler.load_state_dict({**state, "epoch": 1, "position": 5})
        assert sampler.epoch == 1
        assert list(sampler) == []


def test_weights_bring_rare_rows_as_often_as_common_ones():
    weights = np.ones(100)
    weights[:5] = 19  # so that five rows weigh as much as the other 95
    drawn = np.concatenate([_epoch(epoch, count=100, weights=weights) for epoch in range(40)])
    assert np.mean(drawn < 5) == pytest.approx(0.5, abs=0.03)
    assert _epoch(1, count=100, weights=weights) == _epoch(1, count=100, weights=weights)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17, 23])
@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_validation_takes_every_row_once_in_batches_of_equal_sizes(count, ranks):
    samplers = [EveryRow(count, 4, rank, ranks) for rank in range(ranks)]
    found = [
        row
        for sampler in samplers
        for rows, valid in zip(sampler, sampler.valid, strict=True)
        for row, counts in zip(rows, valid, strict=True)
        if counts
    ]
    assert sorted(found) == list(range(count))
    sizes = [[len(rows) for rows in sampler] for sampler in samplers]
    assert all(size == sizes[0] for size in sizes)
    assert max(sizes[0]) <= 4
    if ranks == 1:
        assert np.concatenate(list(samplers[0])).tolist() == list(range(count))
