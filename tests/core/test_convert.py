"""Conversion keeps every weight bit for bit, there and back, and what cannot be converted is refused in a sentence."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest
import reference_files as files
import torch
from reference_files import Dims

from octcube_core.checkpoints import convert, load_checkpoint, load_model, save_checkpoint
from octcube_core.checkpoints.card import ModelCard
from octcube_core.checkpoints.convert import to_ours, to_reference
from octcube_core.checkpoints.encoders import volume_encoder
from octcube_core.checkpoints.format import read_checkpoint
from octcube_core.checkpoints.released import RELEASED
from octcube_core.checkpoints.upstream import load_upstream
from octcube_core.errors import CheckpointError
from octcube_core.models.family import network

D = Dims(embed_dim=64, depth=2, width=48, enface=32)
FIXTURES = Path(
    os.environ.get(
        "OCTCUBE_UPSTREAM_FIXTURES", Path(__file__).parents[2] / "../shared/fixtures/upstream"
    )
).resolve()
MODELS = {
    "multitask": files.classifier_weights(D),
    "encoder": {
        name: tensor
        for name, tensor in files.classifier_weights(D).items()
        if not name.startswith("head.")
    },
    "mae": files.mae_weights(D),
    "mae finer": files.mae_weights(dataclasses.replace(D, finer=2)),
    "mae without high_res": files.mae_weights(D, high_res=False),
    "coep_ir": files.coep_weights(D),
    "coep_ef": files.coep_weights(D, modalities=2, outputs=2),
    "coep_ef without regression": files.coep_weights(D, modalities=2),
    "retfound": files.retfound_weights(D),
    "retfound fine-tuned": files.retfound_weights(D, norm="fc_norm"),
}


def _content(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=False)


def _weights(path: Path) -> dict[str, torch.Tensor]:
    content = _content(path)
    return content["model"] if "model" in content else content["state_dict"]


def _there_and_back(source: Path) -> Path:
    ours, back = source.with_name("ours.safetensors"), source.with_name("back.pth")
    to_ours(source, ours)
    to_reference(ours, back)
    return back


def _assert_same_weights(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> None:
    assert set(found) == set(wanted)
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        # Bit for bit: -0.0 and NaN count too.
        assert torch.equal(
            found[name].contiguous().view(torch.uint8) if tensor.ndim else found[name],
            tensor.contiguous().view(torch.uint8) if tensor.ndim else tensor,
        ), name


@pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"no parity fixtures at {FIXTURES}")
@pytest.mark.parametrize("case", ["multitask", "mae", "coep_ir", "coep_ef", "retfound"])
def test_the_fixtures_come_back_as_they_were(tmp_path: Path, case: str) -> None:
    (fixture,) = (FIXTURES / case).glob("checkpoint.*")
    source = tmp_path / "source.pth"
    source.write_bytes(fixture.read_bytes())
    back = _there_and_back(source)
    _assert_same_weights(_weights(back), _weights(source))
    before, after = _content(source), _content(back)
    for key in ("epoch", "name"):
        assert after.get(key) == before.get(key)
    assert {"model", "state_dict"} & set(after) == {"model", "state_dict"} & set(before)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_every_way_of_writing_a_layout_comes_back(
    tmp_path: Path, name: str, prefix: str, key: str
) -> None:
    weights = {f"{prefix}{name}": tensor for name, tensor in MODELS[name].items()}
    source = tmp_path / "source.pth"
    torch.save({key: weights, "epoch": 3}, source)
    content = _content(_there_and_back(source))
    _assert_same_weights(content[key], weights)
    assert content["epoch"] == 3


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_the_converted_file_loads_as_the_same_model(tmp_path: Path, name: str) -> None:
    source, ours = tmp_path / "source.pth", tmp_path / "ours.safetensors"
    torch.save({"model": MODELS[name]}, source)
    to_ours(source, ours)
    before = load_model(source, device="cpu", precision="fp32")
    after = load_model(ours, device="cpu", precision="fp32")
    assert after.card == before.card
    _assert_same_weights(dict(after.state_dict()), dict(before.state_dict()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_data_types_are_kept_even_if_mixed(tmp_path: Path, dtype: torch.dtype) -> None:
    weights = {
        name: tensor.to(dtype) if number % 2 else tensor
        for number, (name, tensor) in enumerate(MODELS["coep_ef"].items())
    }
    source = files.save_coep(tmp_path / "source.pt", weights)
    result = to_ours(source, tmp_path / "ours.safetensors")
    assert set(result.dtypes) == {"float32", str(dtype).removeprefix("torch.")}
    _assert_same_weights(_weights(_there_and_back(source)), _weights(source))


def test_odd_values_and_tied_and_strided_weights_are_kept(tmp_path: Path) -> None:
    weights = dict(MODELS["multitask"])
    weights["norm.bias"] = torch.full((64,), torch.nan)
    weights["norm.weight"] = torch.full((64,), -0.0)
    weights["blocks.0.norm1.weight"] = weights["blocks.0.norm2.weight"]
    weights["blocks.0.mixer.out_proj.weight"] = weights["blocks.0.mixer.out_proj.weight"].mT
    source = files.save(tmp_path / "source.pth", weights)
    _assert_same_weights(_weights(_there_and_back(source)), weights)


def test_what_a_conversion_says_of_itself(tmp_path: Path) -> None:
    source = files.save(
        tmp_path / "source.pth", MODELS["retfound"], optimizer={"state": {}}, scaler={}
    )
    result = to_ours(source, tmp_path / "ours.safetensors")
    assert set(result.left_out) == {"args", "optimizer", "scaler"}
    assert {name.partition(".")[0] for name in result.unused} == {
        "mask_token",
        "decoder_pos_embed",
        "decoder_embed",
        "decoder_blocks",
    }
    assert result.card == load_upstream(source).card
    assert result.tensors == len(read_checkpoint(tmp_path / "ours.safetensors")[1])
    back = to_reference(tmp_path / "ours.safetensors", tmp_path / "back.pth")
    assert back.tensors == len(MODELS["retfound"])


def test_facts_of_a_released_model_go_into_the_card(tmp_path: Path) -> None:
    source, ours = files.save_coep(tmp_path / "a", MODELS["coep_ir"]), tmp_path / "ours"
    to_ours(source, ours, name="octcube-ir")
    card, model = load_checkpoint(ours).card, RELEASED["octcube-ir"]
    assert (card.name, card.version, card.licence) == (model.title, model.version, model.licence)
    assert card.notes["sources"] == list(model.sources)
    to_reference(ours, tmp_path / "back.pt")
    assert _content(tmp_path / "back.pt")["name"] == "coep"  # what the file itself said
    _assert_same_weights(_weights(tmp_path / "back.pt"), _weights(source))


def test_the_input_shape_is_kept(tmp_path: Path) -> None:
    d = dataclasses.replace(D, height=48, width=32)
    source = files.save(tmp_path / "source.pth", files.classifier_weights(d))
    to_ours(source, tmp_path / "ours", input_shape=d.shape)
    assert load_checkpoint(tmp_path / "ours").card.architecture.input_shape == d.shape


def test_views_that_overlap_in_memory_are_kept(tmp_path: Path) -> None:
    memory = torch.randn(100)
    weights = MODELS["multitask"] | {"norm.weight": memory[:64], "norm.bias": memory[32:96]}
    source = files.save(tmp_path / "source.pth", weights)
    _assert_same_weights(_weights(_there_and_back(source)), weights)


@pytest.mark.parametrize("suffix", [".pth", ".PT", ".ckpt"])
def test_a_name_that_belies_the_format_is_refused(tmp_path: Path, suffix: str) -> None:
    source = files.save(tmp_path / "source.pth", MODELS["multitask"])
    with pytest.raises(CheckpointError, match="belies"):
        to_ours(source, tmp_path / f"new{suffix}")
    to_ours(source, tmp_path / "ours.safetensors")
    with pytest.raises(CheckpointError, match="belies"):
        to_reference(tmp_path / "ours.safetensors", tmp_path / "new.safetensors")


@pytest.mark.parametrize("name", ["multitask", "mae finer", "coep_ef", "retfound"])
def test_a_model_of_our_own_training_serves_users_of_the_reference(tmp_path: Path, name) -> None:
    """Whose card remembers no file of the reference."""
    source = tmp_path / "source.pth"
    torch.save({"model": MODELS[name]}, source)
    model = load_upstream(source)
    model.card = dataclasses.replace(model.card, notes={}, name="Ours", version="1")
    save_checkpoint(tmp_path / "ours", model)
    to_reference(tmp_path / "ours", tmp_path / "back.pth")
    content = _content(tmp_path / "back.pth")
    if name == "coep_ef":
        assert content["name"] == "Ours"
        assert all(key.startswith("module.") for key in content["state_dict"])
    else:
        assert vars(content["args"]) == {}
        assert not any(key.startswith("module.") for key in content["model"])
    again = load_upstream(tmp_path / "back.pth").state_dict()
    _assert_same_weights(dict(again), dict(model.state_dict()))


@pytest.mark.parametrize("name", ["multitask", "mae", "coep_ef", "retfound fine-tuned"])
def test_a_bare_encoder_forgets_how_its_source_was_written(tmp_path: Path, name: str) -> None:
    source = tmp_path / "source.pth"
    torch.save({"state_dict": {f"module.{k}": v for k, v in MODELS[name].items()}}, source)
    encoder = volume_encoder(load_upstream(source), D.shape)
    if name.startswith("retfound"):
        with pytest.raises(CheckpointError, match="final_residual: false"):
            _to_reference(encoder, tmp_path)
        return
    weights = _weights(_to_reference(encoder, tmp_path))
    assert {"cls_token", "pos_embed_temporal", "blocks.1.mixer.Wqkv.weight"} <= set(weights)
    assert load_upstream(tmp_path / "back.pth").card.kind == "encoder"


def _to_reference(model, folder: Path) -> Path:
    save_checkpoint(folder / "encoder", model)
    to_reference(folder / "encoder", folder / "back.pth")
    return folder / "back.pth"


def _changed(card: ModelCard, part: str, **changes: Any) -> ModelCard:
    return dataclasses.replace(card, **{part: dataclasses.replace(getattr(card, part), **changes)})


@pytest.mark.parametrize(
    ("name", "part", "changes", "message"),
    [
        ("multitask", "architecture", {"final_residual": True}, "last residual connection"),
        ("multitask", "architecture", {"num_heads": 4}, "4 attention heads for 64 features"),
        ("mae", "decoder", {"final_residual": True}, "last residual connection"),
        ("mae", "decoder", {"num_heads": 2}, "2 attention heads"),
        ("retfound", "architecture", {"final_residual": False}, "without the last residual"),
        ("coep_ef", "alignment", {"modalities": ("IR", "FAF")}, "IR, FAF"),
    ],
)
def test_weights_that_the_reference_would_compute_differently_are_refused(
    tmp_path: Path, name, part, changes, message
) -> None:
    source = tmp_path / "source.pth"
    torch.save({"model": MODELS[name]}, source)
    card = _changed(load_upstream(source).card, part, **changes)
    save_checkpoint(tmp_path / "ours", network(card))
    with pytest.raises(CheckpointError, match=message):
        to_reference(tmp_path / "ours", tmp_path / "back.pth")
    assert not (tmp_path / "back.pth").exists()


@pytest.mark.parametrize(
    "note",
    [
        None,
        5,
        "text",
        [1],
        {"key": 3, "epoch": "x", "norm": 1, "table": [2]},
        {"key": "epoch", "prefix": "weird.", "epoch": "9" * 5000},
        {"key": "args"},
    ],
)
def test_a_foreign_note_in_the_card_does_no_harm(tmp_path: Path, note: Any) -> None:
    source = files.save(tmp_path / "source.pth", MODELS["multitask"])
    model = load_upstream(source)
    model.card = dataclasses.replace(model.card, notes={"reference_layout": note})
    save_checkpoint(tmp_path / "ours", model)
    to_reference(tmp_path / "ours", tmp_path / "back.pth")
    _assert_same_weights(_content(tmp_path / "back.pth")["model"], MODELS["multitask"])


def test_a_file_is_never_written_over_itself(tmp_path: Path) -> None:
    source = files.save(tmp_path / "source.pth", MODELS["multitask"])
    link = tmp_path / "link.pth"
    link.symlink_to(source)
    before = source.read_bytes()
    for target in (source, link):
        with pytest.raises(CheckpointError, match="is the source itself"):
            to_ours(source, target)
    to_ours(source, tmp_path / "ours")
    with pytest.raises(CheckpointError, match="is the source itself"):
        to_reference(tmp_path / "ours", tmp_path / "ours")
    assert source.read_bytes() == before
    assert load_checkpoint(tmp_path / "ours")


@pytest.mark.parametrize("way", ["to_ours", "to_reference"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_an_interrupted_conversion_leaves_nothing_and_harms_nothing(
    tmp_path: Path, monkeypatch, way: str, error: BaseException
) -> None:
    source = files.save(tmp_path / "source.pth", MODELS["multitask"])
    to_ours(source, tmp_path / "ours")
    target = tmp_path / "target"
    target.write_bytes(b"as it was")
    before = sorted(tmp_path.iterdir())

    def fail(content: Any, path: Any, **_: Any) -> None:
        Path(path).write_bytes(b"half")
        raise error

    if way == "to_ours":
        monkeypatch.setattr("octcube_core.checkpoints.format.save_file", fail)
    else:
        monkeypatch.setattr(torch, "save", fail)
    expected = KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else CheckpointError
    with pytest.raises(expected):
        getattr(convert, way)(source if way == "to_ours" else tmp_path / "ours", target)
    assert target.read_bytes() == b"as it was"
    assert sorted(tmp_path.iterdir()) == before


def test_a_source_that_is_not_there_or_not_whole_is_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    for way in (to_ours, to_reference):
        with pytest.raises(CheckpointError, match="absent"):
            way(tmp_path / "absent", target)
    weights = dict(MODELS["multitask"])
    del weights["cls_token"]
    with pytest.raises(CheckpointError, match="lacks cls_token"):
        to_ours(files.save(tmp_path / "source.pth", weights), target)
    assert not target.exists()
