"""``octcube convert``: what a user types, sees and finds on the disk."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import reference_files as files
import torch
from reference_files import Dims

from octcube_core.checkpoints import load_checkpoint, load_model
from octcube_core.checkpoints.released import RELEASED
from octcube_core.cli import main

D = Dims(embed_dim=64, depth=1, width=48)


@pytest.fixture
def released(tmp_path: Path) -> Path:
    return files.save(tmp_path / "released.pth", files.classifier_weights(D), optimizer={"lr": 1})


@pytest.fixture
def ours(tmp_path: Path, released: Path) -> Path:
    path = tmp_path / "ours.safetensors"
    assert main(["convert", str(released), "--to", str(path)]) == 0
    return path


def _told(text: str) -> str:
    return " ".join(text.split())


def test_there_and_back(tmp_path: Path, released: Path, capsys) -> None:
    ours, back = tmp_path / "ours.safetensors", tmp_path / "back.pth"
    assert main(["convert", str(released), "--to", str(ours)]) == 0
    told = _told(capsys.readouterr().out)
    assert "Kind classifier" in told
    assert "Layout ours" in told
    weights = files.classifier_weights(D)
    assert f"Tensors {len(weights)}, float32" in told
    assert f"Size {ours.stat().st_size / 1e6:.1f} MB" in told
    assert f"Written{ours}" in told.replace(" ", "")  # a long path is broken over lines
    assert "Warning: Not carried over: args, optimizer." in told
    assert load_model(ours, device="cpu").card.kind == "classifier"

    assert main(["convert", str(ours), "--to", str(back)]) == 0
    told = _told(capsys.readouterr().out)
    assert "Layout the reference's" in told
    assert "Warning: Not carried over: model card" in told
    found = torch.load(back, weights_only=False)["model"]
    assert set(found) == set(weights)
    assert all(torch.equal(found[name], tensor) for name, tensor in weights.items())


def test_weights_that_nothing_here_uses_are_spoken_of(tmp_path: Path, capsys) -> None:
    source = files.save(tmp_path / "source.pth", files.retfound_weights(D, norm="fc_norm"))
    assert main(["convert", str(source), "--to", str(tmp_path / "ours")]) == 0
    told = _told(capsys.readouterr().out)
    assert "RETFound, fine-tuned, without its head" in told
    assert "2 tensors are kept for the way back and used by nothing here (head)" in told


def test_the_direction_follows_the_content_not_the_name(tmp_path: Path, released: Path) -> None:
    misnamed = tmp_path / "released.safetensors"
    shutil.copy(released, misnamed)
    assert main(["convert", str(misnamed), "--to", str(tmp_path / "ours")]) == 0
    assert load_checkpoint(tmp_path / "ours").card.kind == "classifier"


@pytest.mark.parametrize("layout", ["ours", "reference"])
def test_the_layout_may_be_said(tmp_path: Path, released: Path, ours: Path, layout: str) -> None:
    source = released if layout == "ours" else ours
    out = ["--to", str(tmp_path / "new"), "--layout", layout]
    assert main(["convert", str(source), *out]) == 0
    assert (tmp_path / "new").is_file()


def test_the_input_shape_is_taken(tmp_path: Path, released: Path) -> None:
    shape = ["--input-shape", "12", "64", "96"]
    assert main(["convert", str(released), "--to", str(tmp_path / "new"), *shape]) == 0
    assert load_checkpoint(tmp_path / "new").card.architecture.input_shape == (12, 64, 96)


def test_a_name_is_found_and_its_facts_go_into_the_card(
    tmp_path: Path, released: Path, monkeypatch
) -> None:
    model = RELEASED["octcube-multitask"]
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(released, folder / model.file)
    monkeypatch.setenv("OCTCUBE_MODELS", str(folder))
    assert main(["convert", "octcube-multitask", "--to", str(tmp_path / "new")]) == 0
    card = load_checkpoint(tmp_path / "new").card
    assert (card.name, card.licence) == (model.title, model.licence)
    assert main(["convert", str(tmp_path / "new"), "--to", str(tmp_path / "back")]) == 0
    assert torch.load(tmp_path / "back", weights_only=False)["epoch"] == 7


def test_an_existing_file_is_replaced_only_if_asked_for(
    tmp_path: Path, released: Path, capsys
) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"precious")
    assert main(["convert", str(released), "--to", str(target)]) == 2
    assert target.read_bytes() == b"precious"
    assert "--force" in capsys.readouterr().err
    assert main(["convert", str(released), "--to", str(target), "--force"]) == 0
    assert load_checkpoint(target)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["{released}", "--to", "{folder}/released.pth", "--force"], "is the source itself"),
        (["{released}", "--to", "{folder}/link.pth", "--force"], "is the source itself"),
        (["{released}", "--to", "{folder}", "--force"], "is a folder"),
        (["{released}", "--to", "{folder}/absent/new"], "no folder"),
        (["{released}", "--to", "{folder}/new.pth"], "its name belies"),
        (["{ours}", "--to", "{folder}/new.safetensors"], "its name belies"),
        (["{released}", "--to", "{folder}/" + "n" * 300], "cannot be written"),
        (["n" * 300, "--to", "{folder}/new"], "no model or file"),
        (["{released}", "--to", "{folder}/new", "--layout", "reference"], "already"),
        (["{ours}", "--to", "{folder}/new", "--layout", "ours"], "already"),
        (["{ours}", "--to", "{folder}/new", "--input-shape", "9", "32", "48"], "--input-shape"),
        (["{released}", "--to", "{folder}/new", "--input-shape", "9", "32", "50"], "cut into"),
        (["{released}", "--to", "{folder}/new", "--input-shape", "9", "32"], "input-shape"),
        (["{released}", "--to", "{folder}/new", "--input-shape", "9", "32", "-16"], "input-shape"),
        (["{folder}/absent", "--to", "{folder}/new"], "no model or file"),
        (["{folder}", "--to", "{folder}/new"], "is a folder"),
        (["{folder}/notes.txt", "--to", "{folder}/new"], "not a model file"),
        (["{folder}/foreign.safetensors", "--to", "{folder}/new"], "no OCTCube model card"),
        (["{folder}/half.pth", "--to", "{folder}/new"], "damaged"),
        (["{released}"], "--to"),
    ],
)
def test_errors_are_one_line_and_change_nothing(
    tmp_path: Path, released: Path, ours: Path, capsys, wrong: list[str], message: str
) -> None:
    from safetensors.torch import save_file

    (tmp_path / "link.pth").symlink_to(released)
    (tmp_path / "notes.txt").write_text("no model, only notes")
    (tmp_path / "half.pth").write_bytes(released.read_bytes()[:5000])
    save_file({"a": torch.zeros(1)}, tmp_path / "foreign.safetensors")
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    capsys.readouterr()
    arguments = [part.format(released=released, ours=ours, folder=tmp_path) for part in wrong]
    assert main(["convert", *arguments]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("octcube: error: ")
    assert told.err.count("\n") == 1
    assert message in told.err
    assert told.out == ""
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.skipif(sys.platform == "win32", reason="no pipes there")
def test_a_device_or_pipe_is_never_replaced(tmp_path: Path, released: Path, capsys) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert main(["convert", str(released), "--to", str(pipe), "--force"]) == 2
    assert "no ordinary file" in capsys.readouterr().err
    assert pipe.is_fifo()


def test_rows_and_columns_that_are_only_assumed_are_said(
    tmp_path: Path, released: Path, capsys
) -> None:
    said = "taken as 2 x 3 patches, give --input-shape if that is wrong."
    assert main(["convert", str(released), "--to", str(tmp_path / "a")]) == 0
    assert said in _told(capsys.readouterr().out)
    shape = ["--input-shape", "9", "32", "48"]
    assert main(["convert", str(released), "--to", str(tmp_path / "b"), *shape]) == 0
    assert "taken as" not in capsys.readouterr().out
    square = files.save(
        tmp_path / "square.pth", files.classifier_weights(Dims(embed_dim=64, depth=1, width=32))
    )
    assert main(["convert", str(square), "--to", str(tmp_path / "c")]) == 0
    assert "taken as" not in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_conversion_out_of_memory_is_one_line(
    tmp_path: Path, released: Path, ours: Path, capsys, monkeypatch, suffix: str
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("octcube_core.checkpoints.convert.check_weights", fail)
    source = released if suffix == ".safetensors" else ours
    assert main(["convert", str(source), "--to", str(tmp_path / f"new{suffix}")]) == 2
    error = capsys.readouterr().err
    assert "Memory ran out while converting" in error
    assert error.count("\n") == 1
    assert not (tmp_path / f"new{suffix}").exists()


def test_a_file_of_another_kind_gets_no_released_title(
    tmp_path: Path, released: Path, monkeypatch
) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    shutil.copy(released, folder / RELEASED["octcube"].file)  # a classifier, not the autoencoder
    monkeypatch.setenv("OCTCUBE_MODELS", str(folder))
    assert main(["convert", "octcube", "--to", str(tmp_path / "new")]) == 0
    for card in (load_checkpoint(tmp_path / "new").card, load_model("octcube", device="cpu").card):
        assert card.name != RELEASED["octcube"].title
        assert "sources" not in card.notes


def test_nothing_is_read_before_it_is_known_that_the_target_can_be_written(
    tmp_path: Path, monkeypatch
) -> None:
    """A download of gigabytes must not end in a refusal."""

    def fetched(*_: object) -> Path:
        raise AssertionError("asked for the model first")

    monkeypatch.setattr("octcube_core.checkpoints.hub.locate", fetched)
    (tmp_path / "target").touch()
    assert main(["convert", "octcube", "--to", str(tmp_path / "target")]) == 2


def test_help_costs_no_import_of_torch() -> None:
    code = (
        "import sys\nfrom octcube_core.cli import main\n"
        "try: main(['convert', '--help'])\nexcept SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--input-shape FRAMES HEIGHT WIDTH" in _told(run.stdout)
