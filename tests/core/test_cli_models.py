"""``octcube models``: the list and the cards, with nothing downloaded and no torch."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest
from huggingface_hub import constants

from octcube_core.checkpoints.released import NAMES, PACKAGED, RELEASED
from octcube_core.cli import main

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def offline_computer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty home folder, an empty cache, and a network that must not be asked."""

    def refuse(*_: object) -> NoReturn:
        raise AssertionError("octcube models asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.delenv("OCTCUBE_MODELS", raising=False)


def _models(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict]:
    assert main(["models", *arguments, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    return {facts["name"]: facts for facts in (listed if isinstance(listed, list) else [listed])}


def test_the_list_names_every_model_and_how_to_use_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models"]) == 0
    out = capsys.readouterr().out
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert set(NAMES) <= set(rows)
    assert "packaged" in rows["demo"]
    assert "synthetic" in rows["demo"]
    assert "on request" in rows["retfound-oct"]
    for abbreviation in ("DME", "CRAO/CRVO", "RNV"):
        assert abbreviation in rows["octcube-multitask"]
    assert str(tmp_path / "octcube-models") in out
    assert "OCTCUBE_MODELS" in out


def test_what_is_here_is_said_with_its_place_and_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / "mm_octcube_ir.pt").write_bytes(bytes(3_000_000))
    monkeypatch.setenv("OCTCUBE_MODELS", str(folder))
    repository = tmp_path / "hub" / "models--zucksliu--OCTCubeM"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    (snapshot / "OCTCube.pth").write_bytes(bytes(5))

    models = _models(capsys)
    assert models["octcube-ir"]["place"] == "models folder"
    assert models["octcube-ir"]["path"] == str(folder / "mm_octcube_ir.pt")
    assert models["octcube-ir"]["size_bytes"] == 3_000_000
    assert models["octcube"]["place"] == "downloaded"
    assert models["octcube"]["size_bytes"] == 5
    assert models["demo"]["place"] == "packaged"
    for absent in ("octcube-multitask", "retfound-oct", "retfound-cfp"):
        assert models[absent]["present"] is False
        assert models[absent]["size_bytes"] is None
    assert main(["models"]) == 0
    row = next(line for line in capsys.readouterr().out.splitlines() if "octcube-ir" in line)
    assert "3.0 MB" in row


def test_one_model_is_explained_with_codes_source_and_licence(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["models", "octcube-multitask"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for part in (
        "48 x 256 x 256",
        "H35.37, H35.34",
        "OCTCube_multitask_cls.pth",
        "not for diagnosis",
    ):
        assert part in out
    assert f"https://huggingface.co/{RELEASED['octcube-multitask'].repository}" in out


@pytest.mark.parametrize("name", RELEASED)
def test_reported_figures_stand_under_a_heading_that_says_so(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", name]) == 0
    before, heading, after = capsys.readouterr().out.partition(
        "Reported by the paper, not verified here"
    )
    assert bool(heading) == bool(RELEASED[name].reported)
    for figure in RELEASED[name].reported:
        assert figure.value not in before
        assert figure.value in after
        assert figure.source in after


def test_the_card_of_a_file_of_our_format_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    packaged = _models(capsys, "demo")["demo"]
    by_path = _models(capsys, packaged["path"])[packaged["path"]]
    assert by_path["labels"] == packaged["labels"]
    assert by_path["synthetic"] is True
    assert packaged["labels"][0]["icd10"]


def test_a_file_without_card_and_an_unknown_name_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "model.pth").write_bytes(b"PK\x03\x04")
    assert main(["models", str(tmp_path / "model.pth")]) == 2
    error = capsys.readouterr().err
    assert "octcube convert" in error
    assert error.count("\n") == 1
    assert main(["models", "octcub"]) == 2
    error = capsys.readouterr().err
    assert "octcube-multitask" in error
    assert error.count("\n") == 1


def test_an_address_is_explained_from_the_cache_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = "hf://lab/weights/model.safetensors"
    assert main(["models", address]) == 2
    error = capsys.readouterr().err
    assert "not on this computer" in error
    assert error.count("\n") == 1
    repository = tmp_path / "hub" / "models--lab--weights"
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    shutil.copy(PACKAGED["demo"], snapshot / "model.safetensors")
    facts = _models(capsys, address)[address]
    assert facts["labels"] == _models(capsys, "demo")["demo"]["labels"]
    assert facts["place"] == "downloaded"


def test_the_list_needs_no_torch() -> None:
    code = (
        "import sys\nfrom octcube_core.cli import main\n"
        "assert main(['models']) == 0\nassert main(['models', 'demo']) == 0\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
