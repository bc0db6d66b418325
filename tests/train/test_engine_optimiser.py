"""Learning rates, their schedule, layer decay and weight decay."""

from __future__ import annotations

import math

import pytest
from torch import nn

from octcube_core.errors import InputError
from octcube_core.models.octcube import OCTCubeClassifier
from tests.train.toy_stage import card
from train.engine.optimiser import Optimisation, encoder_layers, parameter_groups


@pytest.fixture
def groups():
    """Rate and weight decay of every parameter of a model of two blocks."""
    holder = nn.Module()
    holder.model = OCTCubeClassifier(card())
    recipe = Optimisation(lr=1.0, layer_decay=0.5, weight_decay=0.1)
    found = parameter_groups(holder.named_parameters(), recipe, peak=1.0)
    names = {id(parameter): name for name, parameter in holder.named_parameters()}
    return {
        names[id(parameter)]: (group["lr"], group["weight_decay"])
        for group in found
        for parameter in group["params"]
    }


def test_every_parameter_is_in_one_group_and_rates_halve_from_block_to_block(groups):
    assert len(groups) == len(list(OCTCubeClassifier(card()).parameters()))
    assert groups["model.head.linear.weight"] == (1.0, 0.1)
    assert groups["model.encoder.norm.weight"] == (1.0, 0.0)
    assert groups["model.encoder.blocks.1.mlp.fc1.weight"] == (0.5, 0.1)
    assert groups["model.encoder.blocks.0.mlp.fc1.weight"] == (0.25, 0.1)
    assert groups["model.encoder.embedding.weight"] == (0.125, 0.1)


def test_no_decay_of_gains_biases_tokens_and_positions(groups):
    plain = {name for name, (_, decay) in groups.items() if decay == 0}
    assert "model.encoder.cls_token" in plain
    assert "model.encoder.positions.spatial" in plain
    assert "model.encoder.positions.cls" in plain
    assert "model.encoder.blocks.0.norm1.weight" in plain
    assert all("bias" not in name or name in plain for name in groups)
    assert all("weight" in name for name in groups if name not in plain)


def test_layer_decay_is_that_of_timm():
    timm = pytest.importorskip("timm")
    from timm.optim import param_groups_layer_decay

    vit = timm.create_model(
        "vit_tiny_patch16_224", depth=3, embed_dim=12, num_heads=1, num_classes=2, img_size=32
    )
    theirs = {
        id(parameter): group["lr_scale"]
        for group in param_groups_layer_decay(vit, layer_decay=0.65)
        for parameter in group["params"]
    }
    ours = nn.Module()
    ours.encoder = vit  # its blocks have our names
    # Our heads stand beside the encoder; the last norm has the heads' rate, as in MAE's code, not the last block's.
    other = {id(parameter) for part in (vit.head, vit.norm) for parameter in part.parameters()}
    recipe = Optimisation(lr=1.0, layer_decay=0.65)
    for group in parameter_groups(ours.named_parameters(), recipe, peak=1.0):
        for parameter in group["params"]:
            if id(parameter) not in other:
                assert group["lr"] == pytest.approx(theirs[id(parameter)])


def test_encoders_of_different_depth_meet_at_their_last_blocks():
    layer = encoder_layers(
        ["a.encoder.blocks.3.w", "a.encoder.cls_token", "b.encoder.blocks.1.w", "b.head.w"]
    )
    assert [layer(f"a.encoder.blocks.{n}.w") for n in range(4)] == [1, 2, 3, 4]
    assert [layer(f"b.encoder.blocks.{n}.w") for n in range(2)] == [3, 4]
    assert layer("a.encoder.cls_token") == 0
    assert layer("b.encoder.embedding.weight") == 2
    assert layer("b.head.w") is None
    assert layer("a.decoder.blocks.0.w") is None


def test_rate_scales_with_the_effective_batch():
    assert Optimisation(base_lr=1.6e-3).peak(1024) == pytest.approx(6.4e-3)
    assert Optimisation(base_lr=5e-3).peak(1) == pytest.approx(5e-3 / 256)
    assert Optimisation(lr=2e-5).peak(1024) == 2e-5


def test_rate_rises_over_the_warm_up_and_falls_as_a_cosine_to_its_end():
    recipe = Optimisation(lr=1.0, min_lr=0.1, warmup_epochs=0.5)
    warmup = recipe.warmup(total=28, per_epoch=8)
    rates = [recipe.factor(step, 28, warmup, 0.1) for step in range(29)]
    assert warmup == 4
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[4] == 1.0
    assert rates[16] == pytest.approx(0.55)
    assert rates[10] == pytest.approx(0.1 + 0.9 * (1 + math.cos(math.pi / 4)) / 2)
    assert rates[28] == pytest.approx(0.1)
    constant = Optimisation(lr=1.0, warmup_steps=2, schedule="constant")
    assert [constant.factor(step, 9, 2, 0.0) for step in (0, 1, 8)] == [0.5, 1.0, 1.0]
    assert Optimisation(lr=1.0, warmup_share=0.25).warmup(total=28, per_epoch=8) == 7


@pytest.mark.parametrize(
    "wrong",
    [{}, {"lr": 1.0, "base_lr": 1.0}, {"lr": -1.0}, {"lr": 1.0, "layer_decay": 0.0},
     {"lr": 1.0, "warmup_steps": 1, "warmup_share": 0.1}],
)  # fmt: skip
def test_contradictory_recipes_are_refused(wrong):
    with pytest.raises(InputError):
        Optimisation(**wrong)


def test_a_wholly_frozen_model_is_refused():
    frozen = nn.Linear(2, 2).requires_grad_(False)
    with pytest.raises(InputError, match="frozen"):
        parameter_groups(frozen.named_parameters(), Optimisation(lr=1.0), 1.0)
