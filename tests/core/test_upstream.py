"""Files in the released layout: dimensions are inferred, pickles run no code, wrong files say what is wrong."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch

from octcube_core.bench import random_model
from octcube_core.checkpoints.released import RELEASED_LABELS
from octcube_core.checkpoints.upstream import load_upstream
from octcube_core.errors import CheckpointError
from octcube_core.models.octcube import OCTCubeClassifier

DIM, DEPTH, HEADS = 128, 2, 2


def _upstream_names(model: OCTCubeClassifier) -> dict[str, torch.Tensor]:
    """A model's weights under the names of the released files."""
    names = (
        ("head.linear", "head"),
        ("encoder.", ""),
        ("attention.qkv", "mixer.Wqkv"),
        ("attention.proj", "mixer.out_proj"),
        ("embedding.", "patch_embed.proj."),
        ("positions.", "pos_embed_"),
        ("pos_embed_cls", "pos_embed_class"),
    )
    weights = {}
    for name, tensor in model.state_dict().items():
        for ours, theirs in names:
            name = name.replace(ours, theirs)
        weights[name] = tensor
    return weights


def _model(input_shape=(9, 32, 64)) -> OCTCubeClassifier:
    return random_model(DEPTH, DIM, HEADS, input_shape)


def _save(path: Path, weights: dict[str, torch.Tensor], **more: object) -> Path:
    args = argparse.Namespace(model="flash_attn_vit_large_patch16", epochs=50)
    torch.save({"model": weights, "epoch": 7, "args": args, **more}, path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pth"


def test_every_dimension_is_inferred_and_the_scores_are_the_same(path: Path) -> None:
    model = _model()
    loaded = load_upstream(_save(path, _upstream_names(model)), input_shape=(9, 32, 64)).eval()
    assert loaded.card.architecture == model.card.architecture
    volume = torch.rand(1, 1, 9, 32, 64)
    with torch.no_grad():
        torch.testing.assert_close(loaded(volume), model(volume), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("stored", "input_shape", "grid"),
    [
        ((9, 64, 64), None, (3, 4, 4)),  # a square number of positions is a square
        ((9, 32, 64), None, (3, 2, 4)),  # else the most nearly square
        ((9, 64, 32), None, (3, 2, 4)),  # never higher than wide unless it is said
        ((9, 64, 32), (9, 64, 32), (3, 4, 2)),
        ((9, 16, 64), (9, 16, 64), (3, 1, 4)),  # a square number that is no square
        ((9, 64, 128), (9, 32, 64), (3, 4, 8)),  # a table of twice the resolution keeps its aspect
        ((9, 64, 64), (9, 48, 80), (3, 4, 4)),  # fits nothing asked for
    ],
)
def test_the_shape_of_the_position_table(path: Path, stored, input_shape, grid) -> None:
    _save(path, _upstream_names(_model(stored)))
    assert load_upstream(path, input_shape=input_shape).card.architecture.grid == grid


def test_the_card_names_the_eight_diseases_in_the_released_order(path: Path) -> None:
    card = load_upstream(_save(path, _upstream_names(_model()))).card
    names = [label.abbreviation for label in card.labels]
    assert names == ["DME", "AMD", "POAG", "ERM/MH", "DR", "PVD", "CRAO/CRVO", "RNV"]
    assert card.version == "epoch 7"
    assert not card.architecture.final_residual
    assert not card.synthetic
    assert all(label.icd10 for label in RELEASED_LABELS)


def test_optimiser_state_beside_the_weights_is_ignored(path: Path) -> None:
    more = {"optimizer": {"state": {0: torch.zeros(9)}}, "scaler": {"scale": 1.0}}
    assert load_upstream(_save(path, _upstream_names(_model()), **more))


def test_half_precision_and_old_files_load(path: Path) -> None:
    weights = {name: tensor.half() for name, tensor in _upstream_names(_model()).items()}
    assert load_upstream(_save(path, weights)).head.linear.weight.dtype == torch.float32
    torch.save({"model": weights}, path, _use_new_zipfile_serialization=False)
    assert load_upstream(path).card.version == "released"


def test_the_model_does_not_depend_on_the_file_once_loaded(path: Path) -> None:
    model = load_upstream(_save(path, _upstream_names(_model())))
    before = model.head.linear.weight.clone()
    path.write_bytes(bytes(path.stat().st_size))
    assert torch.equal(model.head.linear.weight, before)


class _Evil:
    def __reduce__(self):
        return (print, ("code in a checkpoint was run",))


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_pickle_is_not_run(path: Path, zipped: bool, capsys) -> None:
    content = {"model": _upstream_names(_model()), "args": _Evil()}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="could run its code"):
        load_upstream(path)
    assert "was run" not in capsys.readouterr().out


def test_only_namespace_is_allowed_and_only_while_loading(path: Path) -> None:
    load_upstream(_save(path, _upstream_names(_model())))
    assert argparse.Namespace not in torch.serialization.get_safe_globals()


@pytest.mark.parametrize("kept", [4, 100, -1000])
def test_a_truncated_file_is_refused(path: Path, kept: int) -> None:
    _save(path, _upstream_names(_model()))
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="damaged"):
        load_upstream(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "holds a list"),
        ({"epoch": 1}, "neither 'model' nor 'state_dict'"),
        ({"model": {"a": 1}}, "other than tensors"),
        ({"model": {"a": torch.zeros(1)}}, "unknown layout"),
    ],
)
def test_other_contents_are_refused(path: Path, content, message: str) -> None:
    torch.save(content, path)
    with pytest.raises(CheckpointError, match=message):
        load_upstream(path)


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (("module.visual.cls_token", "module.text.cls_token"), "OCTCube-IR or OCTCube-EF"),
        (("pos_embed", "blocks.0.attn.qkv.weight", "mask_token"), "RETFound"),
        (("pos_embed_spatial", "decoder_embed.weight"), "masked autoencoder"),
    ],
)
def test_the_other_released_layouts_are_named(path: Path, names, layout: str) -> None:
    with pytest.raises(CheckpointError, match=layout):
        load_upstream(_save(path, {name: torch.zeros(1) for name in names}))


def test_missing_and_unexpected_weights_are_named(path: Path) -> None:
    weights = _upstream_names(_model())
    del weights["blocks.1.mixer.Wqkv.bias"]
    weights["blocks.0.ls1.gamma"] = torch.zeros(DIM)
    with pytest.raises(CheckpointError) as caught:
        load_upstream(_save(path, weights))
    assert "lacks blocks.1.mixer.Wqkv.bias" in str(caught.value)
    assert "also holds blocks.0.ls1.gamma" in str(caught.value)


@pytest.mark.parametrize("lost", ["patch_embed.proj.weight", "pos_embed_temporal", "head.bias"])
def test_a_file_without_an_essential_weight_is_refused(path: Path, lost: str) -> None:
    weights = _upstream_names(_model())
    del weights[lost]
    with pytest.raises(CheckpointError, match=lost):
        load_upstream(_save(path, weights))


def test_dimensions_of_another_model_are_refused(path: Path) -> None:
    weights = _upstream_names(_model())
    with pytest.raises(CheckpointError, match="has 2 outputs"):
        load_upstream(_save(path, weights | {"head.weight": torch.zeros(2, DIM)}))
    with pytest.raises(CheckpointError, match="shape"):
        load_upstream(_save(path, weights | {"norm.bias": torch.zeros(3)}))
    with pytest.raises(CheckpointError, match="cannot be cut"):
        load_upstream(_save(path, weights), input_shape=(9, 30, 64))
