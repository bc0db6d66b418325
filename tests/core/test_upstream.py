"""Files in the released layouts: dimensions are inferred, pickles run no code, wrong files say what is wrong."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import pytest
import torch
from reference_files import (
    Dims,
    classifier_weights,
    coep_weights,
    mae_weights,
    random_image,
    random_volume,
    retfound_weights,
    save,
    save_coep,
)

from octcube_core.checkpoints.infer import RELEASED_LABELS
from octcube_core.checkpoints.upstream import load_upstream
from octcube_core.errors import CheckpointError

D = Dims()
SMALL = Dims(embed_dim=64, depth=1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pth"


def test_every_dimension_is_inferred(path: Path) -> None:
    d = Dims(embed_dim=192, depth=3, frames=12, height=48, width=80, mlp_ratio=3)
    architecture = load_upstream(save(path, classifier_weights(d))).card.architecture
    assert architecture.input_shape == (12, 48, 80)
    assert (architecture.embed_dim, architecture.depth, architecture.num_heads) == (192, 3, 3)
    assert (architecture.mlp_dim, architecture.cube) == (576, (3, 16, 16))
    assert architecture.outputs == 16


@pytest.mark.parametrize(
    ("stored", "input_shape", "table"),
    [
        ((9, 64, 64), None, (3, 4, 4)),  # a square number of positions is a square
        ((9, 32, 64), None, (3, 2, 4)),  # else the most nearly square
        ((9, 64, 32), None, (3, 2, 4)),  # never higher than wide unless it is said
        ((9, 64, 32), (9, 64, 32), (3, 4, 2)),
        ((9, 16, 64), (9, 16, 64), (3, 1, 4)),  # a square number that is no square
        ((9, 64, 128), (9, 32, 64), (3, 4, 8)),  # a table of twice the resolution keeps its aspect
        ((9, 64, 64), (9, 48, 80), (3, 4, 4)),  # fits nothing asked for
        ((9, 64, 64), (60, 64, 64), (3, 4, 4)),
    ],
)
def test_the_shape_of_the_position_table(path: Path, stored, input_shape, table) -> None:
    frames, height, width = stored
    d = dataclasses.replace(SMALL, frames=frames, height=height, width=width)
    model = load_upstream(save(path, classifier_weights(d)), input_shape=input_shape)
    assert model.card.architecture.table_grid == table
    z, y, x = table
    assert model.card.architecture.input_shape == (input_shape or (3 * z, 16 * y, 16 * x))


@pytest.mark.parametrize(
    ("finer", "high_res", "input_size", "expected"),
    [
        (1, False, None, (32, 48)),
        (2, True, None, (32, 48)),  # the second embedding tells that tables are finer
        (2, False, 32, (32, 48)),  # or the trainer's own words
        (1, True, 32, (32, 48)),
        (2, False, None, (64, 96)),  # nothing tells
    ],
)
def test_the_input_of_a_masked_autoencoder(path: Path, finer, high_res, input_size, expected):
    d = dataclasses.replace(SMALL, finer=finer)
    args = argparse.Namespace(**({} if input_size is None else {"input_size": input_size}))
    model = load_upstream(save(path, mae_weights(d, high_res=high_res), args=args))
    assert model.card.architecture.input_shape[1:] == expected


def test_the_card_names_the_eight_diseases_in_the_released_order(path: Path) -> None:
    card = load_upstream(save(path, classifier_weights(SMALL))).card
    names = [label.abbreviation for label in card.labels]
    assert names == ["DME", "AMD", "POAG", "ERM/MH", "DR", "PVD", "CRAO/CRVO", "RNV"]
    assert card.version == "epoch 7"
    assert not card.architecture.final_residual
    assert not card.synthetic
    assert all(label.icd10 for label in RELEASED_LABELS)


@pytest.mark.parametrize(
    ("weights", "kind", "residual"),
    [
        (classifier_weights(SMALL), "classifier", False),
        (mae_weights(SMALL), "mae", False),
        (coep_weights(SMALL), "coep", False),
        (coep_weights(SMALL, modalities=2, outputs=2), "coep", False),
        (retfound_weights(SMALL), "enface", True),
        (retfound_weights(SMALL, norm="fc_norm"), "enface", True),
    ],
)
def test_every_layout_is_told_by_its_weights(path: Path, weights, kind, residual) -> None:
    card = load_upstream(save(path, weights)).card
    assert card.kind == kind
    assert {part.final_residual for part in card.transformers} == {residual}


def test_a_classifier_without_its_head_is_an_encoder(path: Path) -> None:
    """As the encoder of a released masked autoencoder is saved by its users."""
    weights = classifier_weights(D)
    encoder = {name: w for name, w in weights.items() if not name.startswith("head.")}
    model = load_upstream(save(path, encoder)).eval()
    assert model.card.kind == "encoder"
    whole = load_upstream(save(path, weights)).eval()
    volume = random_volume(D)
    with torch.no_grad():
        features = whole.encoder.norm(whole.encoder.pooled(volume))
        assert torch.equal(model.pooled_features(volume), features)


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_parallel_trainers_prefix_makes_no_difference(path: Path, prefix: str) -> None:
    with torch.no_grad():
        for build, write in ((coep_weights, save_coep), (classifier_weights, save)):
            weights = build(SMALL)
            plain = load_upstream(save(path, weights)).state_dict()
            if write is save:
                weights = {f"{prefix}{name}": tensor for name, tensor in weights.items()}
                loaded = load_upstream(save(path, weights)).state_dict()
            else:
                loaded = load_upstream(save_coep(path, weights, prefix)).state_dict()
            assert set(loaded) == set(plain)
            assert all(torch.equal(loaded[name], tensor) for name, tensor in plain.items())


def test_optimiser_state_beside_the_weights_is_ignored(path: Path) -> None:
    more = {"optimizer": {"state": {0: torch.zeros(9)}}, "scaler": {"scale": 1.0}}
    assert load_upstream(save(path, classifier_weights(SMALL), **more))


def test_half_precision_and_old_files_load(path: Path) -> None:
    weights = {name: tensor.half() for name, tensor in classifier_weights(SMALL).items()}
    assert load_upstream(save(path, weights)).head.linear.weight.dtype == torch.float32
    torch.save({"model": weights}, path, _use_new_zipfile_serialization=False)
    assert load_upstream(path).card.version == "released"


def test_the_model_does_not_depend_on_the_file_once_loaded(path: Path) -> None:
    for weights in (classifier_weights(SMALL), retfound_weights(SMALL)):
        model = load_upstream(save(path, weights)).eval()
        planar = model.card.architecture.planar
        seen = random_image(SMALL) if planar else random_volume(SMALL)
        with torch.no_grad():
            before = model(seen)
            path.write_bytes(bytes(path.stat().st_size))
            assert torch.equal(model(seen), before)


class _Evil:
    def __reduce__(self):
        return (print, ("code in a checkpoint was run",))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(path: Path, zipped: bool, capsys) -> None:
    content = {"model": classifier_weights(SMALL), "args": _Evil()}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="could run its code"):
        load_upstream(path)
    assert "was run" not in capsys.readouterr().out


def test_only_namespace_is_allowed_and_only_while_loading(path: Path) -> None:
    load_upstream(save(path, classifier_weights(SMALL)))
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("kept", [4, 100, -1000])
def test_a_truncated_file_is_refused(path: Path, kept: int) -> None:
    save(path, classifier_weights(SMALL))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="damaged"):
        load_upstream(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        ({"epoch": 1}, "neither 'model' nor 'state_dict'"),
        ({"model": {}}, "neither 'model' nor 'state_dict'"),
        ({"model": {"a": 1}}, "other than tensors"),
        ({"model": {"a": torch.zeros(1)}}, "unknown layout"),
    ],
)
def test_other_contents_are_refused(path: Path, content, message: str) -> None:
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        load_upstream(path)


@pytest.mark.parametrize(
    "odd",
    [
        torch.ones(SMALL.embed_dim).to_sparse(),
        torch.empty(SMALL.embed_dim, device="meta"),
        torch.ones(SMALL.embed_dim, dtype=torch.complex64),
        torch.ones(1).expand(10**12),
    ],
    ids=["sparse", "meta", "complex", "without data"],
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor")
def test_odd_tensors_are_named(path: Path, odd: torch.Tensor) -> None:
    weights = classifier_weights(SMALL) | {"norm.weight": odd}
    with pytest.raises(CheckpointError, match=r"no plain arrays of numbers.*norm\.weight"):
        load_upstream(save(path, weights))


def test_a_prefix_of_some_names_only_is_refused(path: Path) -> None:
    weights = classifier_weights(SMALL)
    weights["module.cls_token"] = weights["cls_token"] * 5
    with pytest.raises(CheckpointError, match=f"'module.' before 1 of {len(weights)} names"):
        load_upstream(save(path, weights))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("patch_embed.proj.weight", (SMALL.embed_dim, 1, 0, 16, 16)),
        ("patch_embed.proj.weight", (0, 1, 3, 16, 16)),
        ("patch_embed.proj.weight", ()),
        ("pos_embed_spatial", (1, 0, SMALL.embed_dim)),
    ],
)
def test_tensors_without_extent_are_refused(path: Path, name: str, shape) -> None:
    weights = classifier_weights(SMALL) | {name: torch.zeros(shape)}
    for input_shape in (None, SMALL.shape):
        with pytest.raises(CheckpointError):
            load_upstream(save(path, weights), input_shape=input_shape)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((9, 32), "three sizes"),
        ((3 * 10**6, 16, 16), "no more than"),
        ((0, 32, 32), "cannot be cut"),
        ((9.0, 32, 32), "cannot be cut"),
    ],
)
def test_an_input_that_nothing_sees_is_refused(path: Path, shape, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_upstream(save(path, classifier_weights(SMALL)), input_shape=shape)


def test_images_have_three_channels(path: Path) -> None:
    save(path, retfound_weights(SMALL))
    with pytest.raises(CheckpointError, match="has 3 channels, not 12"):
        load_upstream(path, input_shape=(12, 32, 32))
    assert load_upstream(path, input_shape=(3, 64, 64)).card.architecture.grid == (1, 4, 4)


def test_missing_and_unexpected_weights_are_named(path: Path) -> None:
    weights = classifier_weights(D)
    del weights["blocks.1.mixer.Wqkv.bias"]
    weights["blocks.0.ls1.gamma"] = torch.zeros(D.embed_dim)
    with pytest.raises(CheckpointError) as caught:
        load_upstream(save(path, weights))
    assert "lacks blocks.1.mixer.Wqkv.bias" in str(caught.value)
    assert "also holds blocks.0.ls1.gamma" in str(caught.value)


LAYOUTS = {
    "multitask": classifier_weights(SMALL),
    "mae": mae_weights(SMALL),
    "coep_ir": coep_weights(SMALL),
    "coep_ef": coep_weights(SMALL, modalities=2, outputs=2),
    "retfound": retfound_weights(SMALL),
    "retfound fine-tuned": retfound_weights(SMALL, norm="fc_norm"),
}
UNUSED = {"retfound": ("decoder_", "mask_token"), "retfound fine-tuned": ("head.",)}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_that_lacks_any_weight_is_refused_in_one_sentence(path: Path, layout: str) -> None:
    weights = LAYOUTS[layout]
    for lost in weights:
        if lost.startswith(UNUSED.get(layout, ())):
            continue
        rest = {name: tensor for name, tensor in weights.items() if name != lost}
        with pytest.raises(CheckpointError) as caught:
            load_upstream(save(path, rest))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "lost", ["patch_embed.proj.weight", "pos_embed_temporal", "head.bias", "norm.weight"]
)
def test_the_weight_that_is_lacking_is_named(path: Path, lost: str) -> None:
    weights = classifier_weights(SMALL)
    del weights[lost]
    with pytest.raises(CheckpointError, match=lost):
        load_upstream(save(path, weights))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_weight_of_a_wrong_shape_is_refused_in_one_sentence(path: Path, layout: str) -> None:
    weights = LAYOUTS[layout]
    for name, tensor in weights.items():
        if name.startswith(UNUSED.get(layout, ())):
            continue
        with pytest.raises(CheckpointError) as caught:
            load_upstream(save(path, weights | {name: torch.zeros(*tensor.shape, 3)}))
        assert "\n" not in str(caught.value)


def test_dimensions_of_another_model_are_refused(path: Path) -> None:
    weights = classifier_weights(D)
    with pytest.raises(CheckpointError, match="has 2 outputs"):
        load_upstream(save(path, weights | {"head.weight": torch.zeros(2, D.embed_dim)}))
    with pytest.raises(CheckpointError, match="shape"):
        load_upstream(save(path, weights | {"norm.bias": torch.zeros(3)}))
    with pytest.raises(CheckpointError, match="cannot be cut"):
        load_upstream(save(path, weights), input_shape=(9, 30, 64))
