"""load_model: a name or any model file in, a model that is ready to run out."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

import octcube_core
from octcube_core.bench import random_model
from octcube_core.checkpoints import load_model, released, save_checkpoint
from octcube_core.errors import CheckpointError, InputError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, random_model(2, 64, 1, (6, 32, 32)))
    return path


def test_a_file_becomes_a_frozen_model_in_eval_mode(file: Path) -> None:
    model = octcube_core.load_model(file, device="cpu", precision="fp32")
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert {p.device.type for p in model.parameters()} == {"cpu"}


def test_the_precision_is_as_asked(file: Path) -> None:
    model = load_model(str(file), device="cpu", precision="bf16")
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}


def test_files_are_told_apart_by_content_not_by_name(file: Path, tmp_path: Path) -> None:
    misnamed = tmp_path / "model.pth"
    shutil.copy(file, misnamed)
    assert load_model(misnamed, device="cpu")
    torch.save({"model": {"a": torch.zeros(1)}}, misnamed)
    with pytest.raises(CheckpointError, match="unknown layout"):
        load_model(misnamed, device="cpu")


def test_the_packaged_model_is_found_by_name(file: Path, monkeypatch) -> None:
    monkeypatch.setitem(released.PACKAGED, "demo", file)
    assert load_model("demo", device="cpu").card.name == "Random weights"


def test_an_unknown_name_says_which_names_exist(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"'dmeo'.*demo"):
        load_model("dmeo")
    with pytest.raises(CheckpointError, match=r"folder.*demo"):
        load_model(tmp_path)


@pytest.mark.parametrize("content", [b"", b"short", b"not a model, only text", bytes(100)])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="not a model file"):
        load_model(path)


def test_a_header_as_long_as_a_magic_number_is_no_pickle(file: Path) -> None:
    """safetensors files start with their header's length, whose bytes can be anything."""
    length = int.from_bytes(file.read_bytes()[:8], "little")
    header = file.read_bytes()[8 : 8 + length]
    padded = header + b" " * (0x80 - length % 0x100 + 0x100)
    rest = file.read_bytes()[8 + length :]
    file.write_bytes(len(padded).to_bytes(8, "little") + padded + rest)
    assert file.read_bytes()[:1] == b"\x80"
    assert load_model(file, device="cpu")


def test_device_and_precision_are_checked_first(file: Path) -> None:
    with pytest.raises(InputError, match="device"):
        load_model(file, device="abacus")
    with pytest.raises(InputError, match="precision"):
        load_model(file, device="cpu", precision="fp7")


def test_another_input_shape_interpolates_the_positions(file: Path) -> None:
    plain = load_model(file, device="cpu", precision="fp32")
    model = load_model(file, device="cpu", precision="fp32", input_shape=(12, 32, 64))
    assert model.card.architecture.input_shape == (12, 32, 64)
    volume = torch.rand(1, 1, 12, 32, 64)
    torch.testing.assert_close(model(volume), plain(volume), rtol=0, atol=1e-6)
    with pytest.raises(CheckpointError, match="cannot be cut"):
        load_model(file, device="cpu", input_shape=(10, 32, 64))


def test_two_loads_give_the_same_bits(file: Path) -> None:
    volume = torch.rand(1, 1, 6, 32, 32)
    first, second = (load_model(file, device="cpu", precision="fp32") for _ in range(2))
    assert torch.equal(first(volume), second(volume))
