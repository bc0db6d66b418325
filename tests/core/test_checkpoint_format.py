"""Our checkpoint file: what is saved comes back, and nothing else is taken for it."""

from __future__ import annotations

import dataclasses
import os
import stat
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from octcube_core.bench import random_model
from octcube_core.checkpoints import format as checkpoint_format
from octcube_core.checkpoints.card import CARD_KEY
from octcube_core.checkpoints.format import load_checkpoint, save_checkpoint, write_checkpoint
from octcube_core.errors import CheckpointError


@pytest.fixture(scope="module")
def model():
    return random_model(2, 64, 2, (6, 32, 48), final_residual=True)


@pytest.fixture
def file(tmp_path: Path, model) -> Path:
    save_checkpoint(tmp_path / "model.safetensors", model)
    return tmp_path / "model.safetensors"


def _rewrite(path: Path, card: str | None, **changes: torch.Tensor | None) -> None:
    tensors = load_file(path) | changes
    metadata = {} if card is None else {CARD_KEY: card}
    save_file({k: v for k, v in tensors.items() if v is not None}, path, metadata=metadata)


def test_card_and_weights_come_back(file: Path, model) -> None:
    loaded = load_checkpoint(file)
    assert loaded.card == model.card
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    volume = torch.rand(1, 1, 6, 32, 48)
    assert torch.equal(loaded.eval()(volume), model(volume))


def test_half_precision_halves_the_file_and_loads_as_fp32(
    tmp_path: Path, file: Path, model
) -> None:
    small = tmp_path / "small.safetensors"
    save_checkpoint(small, model, dtype=torch.bfloat16)
    assert small.stat().st_size < 0.6 * file.stat().st_size
    loaded = load_checkpoint(small).state_dict()
    for name, tensor in model.state_dict().items():
        assert loaded[name].dtype == torch.float32
        assert torch.equal(loaded[name], tensor.bfloat16().float()), name
    assert load_checkpoint(small, dtype=torch.bfloat16).head.linear.weight.dtype == torch.bfloat16


def test_the_card_can_be_read_without_our_code(file: Path, model) -> None:
    with safe_open(file, framework="np") as opened:
        assert opened.metadata()[CARD_KEY] == model.card.to_json()


def test_an_interrupted_save_leaves_the_old_file_alone(file: Path, model, monkeypatch) -> None:
    before = file.read_bytes()

    def interrupted(tensors, path, metadata) -> None:
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint_format, "save_file", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(file, model)
    assert file.read_bytes() == before
    assert list(file.parent.iterdir()) == [file]


@pytest.mark.skipif(os.name == "nt", reason="no modes there")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_others_may_read_what_the_umask_says(tmp_path: Path, model, umask: int) -> None:
    before = os.umask(umask)
    try:
        save_checkpoint(tmp_path / "model", model)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "model").stat().st_mode) == 0o666 & ~umask


@pytest.mark.skipif(os.name == "nt", reason="no pipes there")
def test_what_is_no_ordinary_file_is_never_replaced(tmp_path: Path, model) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(CheckpointError, match="no ordinary file"):
        save_checkpoint(pipe, model)
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]


def test_the_longest_name_can_be_written_and_a_longer_one_is_a_sentence(tmp_path, model) -> None:
    save_checkpoint(tmp_path / ("n" * 255), model)
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tmp_path / ("n" * 256), model)


def test_tensors_that_share_memory_are_a_sentence(tmp_path: Path, model) -> None:
    shared = torch.zeros(10)
    with pytest.raises(CheckpointError, match="cannot be written"):
        write_checkpoint(tmp_path / "model", model.card, {"a": shared, "b": shared})
    assert not list(tmp_path.iterdir())


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path, model) -> None:
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tmp_path / "absent" / "model.safetensors", model)


@pytest.mark.parametrize("kept", [0, 5, 8, 200, -1])
def test_a_truncated_file_is_refused(file: Path, kept: int) -> None:
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(file)


def test_foreign_and_missing_files_are_refused(tmp_path: Path, file: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint file"):
        load_checkpoint(tmp_path / "absent")
    text = tmp_path / "notes.safetensors"
    text.write_text("not a model at all, just some notes")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_checkpoint(text)
    _rewrite(file, card=None)
    with pytest.raises(CheckpointError, match="no OCTCube model card"):
        load_checkpoint(file)


def test_weights_that_do_not_fit_the_card_are_named(file: Path, model) -> None:
    card = model.card.to_json()
    _rewrite(file, card, **{"encoder.norm.weight": None})
    with pytest.raises(CheckpointError, match=r"lacks encoder\.norm\.weight"):
        load_checkpoint(file)
    _rewrite(file, card, **{"encoder.norm.weight": torch.ones(64), "extra": torch.ones(1)})
    with pytest.raises(CheckpointError, match="also holds extra"):
        load_checkpoint(file)
    _rewrite(file, card, **{"encoder.norm.weight": torch.ones(65), "extra": None})
    with pytest.raises(CheckpointError, match=r"shape.*encoder\.norm\.weight"):
        load_checkpoint(file)


@pytest.mark.parametrize(
    "change",
    [
        {"depth": 3},
        {"depth": 10**9},
        {"num_heads": 3},
        {"num_heads": 0},
        {"outputs": 14},
        {"embed_dim": "wide"},
        {"mlp_dim": -5},
        {"cube": (3, 16)},
    ],
)
def test_a_card_that_contradicts_itself_is_refused(file: Path, model, change) -> None:
    architecture = dataclasses.replace(model.card.architecture, **change)
    _rewrite(file, dataclasses.replace(model.card, architecture=architecture).to_json())
    with pytest.raises(CheckpointError):
        load_checkpoint(file)


@pytest.mark.parametrize("card", ["", "{", "[]", '{"format": 1}', '{"format": 99}'])
def test_a_damaged_card_is_refused(file: Path, card: str) -> None:
    _rewrite(file, card)
    with pytest.raises(CheckpointError, match="model card"):
        load_checkpoint(file)
