"""The command ``octcube`` as a user meets it: what it prints, what it writes, how it fails."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from PIL import Image

from octcube_core import __version__
from octcube_core.checkpoints.card import (
    SALIENCY_LAYERS,
    SALIENCY_METHODS,
    Architecture,
    Label,
    ModelCard,
)
from octcube_core.cli import main


@pytest.fixture(scope="module")
def eye(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of eight B-scans with their spacing."""
    folder = tmp_path_factory.mktemp("exams") / "eye"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        bscan = rng.integers(0, 255, (48, 64), np.uint8)
        Image.fromarray(bscan).save(folder / f"oct_{number:03}.png")
    return folder


@pytest.fixture(scope="module")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small model of random weights in our format."""
    import torch

    from octcube_core.checkpoints import save_checkpoint
    from octcube_core.models.octcube import OCTCubeClassifier

    torch.manual_seed(0)
    labels = (Label("Disease A", "A", ("H35.3",)), Label("Disease B", "B"))
    architecture = Architecture(
        16, 2, 2, (3, 16, 16), (2, 2, 2), 32, final_residual=True, outputs=4
    )
    file = tmp_path_factory.mktemp("models") / "toy.safetensors"
    save_checkpoint(file, OCTCubeClassifier(ModelCard("toy", "0.1", architecture, labels)))
    return file


def _error_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr of a command that could not do its work."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("octcube: error: ")
    return captured.err


def test_info_says_what_the_exam_is(eye: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(eye)]) == 0
    captured = capsys.readouterr()
    assert "8 B-scans of 48 x 64" in captured.out
    assert "axial unknown" in captured.out
    assert "Warning: The file states no voxel spacing" in captured.out
    assert captured.err == ""


def test_info_as_json(eye: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(eye), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["shape"] == [8, 48, 64]
    assert facts["spacing_mm"] == [None, None, None]
    assert facts["modalities"] == ["OCT"]
    assert facts["laterality"] is None
    assert len(facts["warnings"]) == 1


def test_info_reads_spacing_eye_and_enface_images(
    eye: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ome = {"axes": "ZYX", "PhysicalSizeX": 12.0, "PhysicalSizeY": 3.9, "PhysicalSizeZ": 120.0}
    voxels = np.zeros((4, 30, 40), np.uint8)
    tifffile.imwrite(tmp_path / "eye.ome.tif", voxels, metadata=ome, photometric="minisblack")
    assert main(["info", str(tmp_path / "eye.ome.tif")]) == 0
    assert "between B-scans 120 um, axial 3.9 um, lateral 12 um" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["info", "nowhere/eye.dcm"], "nowhere"),
        (["analyze", "nowhere", "--model", "demo", "--out", "out"], "nowhere"),
        (["info"], "PATH"),
        ([], "COMMAND"),
        (["diagnose"], "diagnose"),
        (["info", "eye", "--colour"], "--colour"),
        (["analyze", "eye", "--out", "out"], "--model"),
        (["analyze", "eye", "--model", "demo", "--out", "o", "--device", "tpu"], "tpu"),
        (["analyze", "eye", "--model", "demo", "--out", "o", "--precision", "int4"], "int4"),
        (["analyze", "eye", "--model", "demo", "--out", "o", "--layer", "norm3"], "norm3"),
        (["bench", "--repeats", "0"], "positive"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    arguments: list[str],
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert said in _error_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_exam_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "eye.tif").write_bytes(b"II*\0 no more of it\n\n")
    assert main(["info", str(tmp_path / "eye.tif")]) == 2
    assert "eye.tif" in _error_line(capsys)


def test_an_unknown_model_is_one_line(
    eye: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["analyze", str(eye), "--model", "no-such-model", "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert "no-such-model" in _error_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_line_and_leaves_nothing(
    eye: Path,
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tifffile, "imwrite", full)
    assert (
        main(["analyze", str(eye), "--model", str(model_file), "--out", str(tmp_path / "o")]) == 2
    )
    assert "No space left" in _error_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_analyze_writes_scores_saliency_and_montage(
    eye: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["analyze", str(eye), "--model", str(model_file), "--out", str(out)]
    assert main([*arguments, "--device", "cpu", "--precision", "fp32"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""  # no progress bar where there is no terminal
    assert "toy 0.1: Research use only; not for diagnosis" in captured.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    scores = json.loads((out / "scores.json").read_text())
    leading = scores["files"]["views"].values()
    names = {"montage.png", "saliency.ome.tif", "scores.json", "embedding_OCT.npy", *leading}
    names |= {"report.html", "report.pdf"}
    assert {path.name for path in out.iterdir()} == names
    assert [disease["abbreviation"] for disease in scores["diseases"]] == ["A", "B"]
    for disease in scores["diseases"]:
        assert 0 < disease["probability"] < 1
        assert f"{disease['probability']:.3f}" in captured.out
    assert (scores["run"]["device"], scores["run"]["precision"]) == ("CPU", "fp32")
    assert tifffile.imread(out / "saliency.ome.tif").shape == (2, 2, 2, 2)
    with Image.open(out / "montage.png") as montage:
        assert min(montage.size) > 100


@pytest.fixture(scope="module")
def aligned_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small OCT-IR model of random weights with a regression target."""
    import torch

    from octcube_core.checkpoints import save_checkpoint
    from octcube_core.checkpoints.card import Alignment, Target
    from octcube_core.models.coep import COEPModel

    torch.manual_seed(0)
    volume = Architecture(16, 2, 2, (3, 16, 16), (2, 2, 2), 32, final_residual=True)
    image = Architecture(16, 2, 2, (3, 16, 16), (1, 2, 2), 32, final_residual=True, planar=True)
    card = ModelCard(
        "toy-ir",
        "0.1",
        volume,
        alignment=Alignment(image, ("IR",), 8, 4),
        targets=(Target("Visual acuity", "VA", "letters"),),
    )
    file = tmp_path_factory.mktemp("models") / "toy-ir.safetensors"
    save_checkpoint(file, COEPModel(card))
    return file


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from octcube_core.checkpoints import save_checkpoint
    from octcube_core.models.octcube import FeatureEncoder

    architecture = Architecture(16, 2, 2, (3, 16, 16), (2, 2, 2), 32, final_residual=True)
    file = tmp_path_factory.mktemp("models") / "toy-encoder.safetensors"
    save_checkpoint(file, FeatureEncoder(ModelCard("toy-encoder", "0.1", architecture)))
    return file


@pytest.fixture(scope="module")
def eye_with_infrared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from octcube_core.exam import BScanLocations, EnFaceImage, Exam, OCTVolume
    from octcube_core.writers import write_exam

    rng = np.random.default_rng(0)
    exam = Exam(
        OCTVolume(rng.integers(0, 255, (8, 48, 64), np.uint8), (0.12, 0.004, 0.012)),
        (EnFaceImage(rng.integers(0, 255, (96, 96), np.uint8), "IR", (0.012, 0.012)),),
        BScanLocations(
            tuple(np.array([[10.0 + 10 * n, 16], [10.0 + 10 * n, 79]]) for n in range(8))
        ),
        scan_pattern="raster",
    )
    folder = tmp_path_factory.mktemp("exams") / "with-ir"
    write_exam(exam, folder, "dicom")
    return folder


def test_saliency_as_dicom_refers_to_the_exams_file(
    eye_with_infrared: Path, model_file: Path, tmp_path: Path
) -> None:
    eye, out = eye_with_infrared / "oct.dcm", tmp_path / "out"
    arguments = ["analyze", str(eye), "--model", str(model_file), "--out", str(out), "--dicom"]
    assert main(arguments) == 0
    source = pydicom.dcmread(eye)
    for target in ("A", "B"):
        made = pydicom.dcmread(out / f"saliency_{target}.dcm")
        (reference,) = made.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID


def test_saliency_as_dicom_of_another_format_is_refused_before_the_model_is_loaded(
    eye: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["analyze", str(eye), "--model", "no-such", "--out", str(tmp_path / "out")]
    assert main([*arguments, "--dicom"]) == 2
    assert "read from another format" in _error_line(capsys)
    assert main([*arguments[:-1], str(tmp_path / "table.csv"), "--dicom"]) == 2
    assert "leave --dicom out" in _error_line(capsys)
    assert list(tmp_path.iterdir()) == []


def test_an_aligned_model_prints_its_measurements_and_writes_the_image_map(
    eye_with_infrared: Path,
    aligned_file: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    assert (
        main(["analyze", str(eye_with_infrared), "--model", str(aligned_file), "--out", str(out)])
        == 0
    )
    printed = capsys.readouterr().out
    scores = json.loads((out / "scores.json").read_text(encoding="utf-8"))
    for measurement in scores["measurements"]:
        assert f"{measurement['name']} ({measurement['abbreviation']})" in printed
        assert f"{measurement['value']:.3f}" in printed
    assert "letters" in printed
    assert "Disease" not in printed
    assert "Normal" not in printed
    assert set(scores["embeddings"]) == {"OCT", "IR"}
    assert (out / scores["files"]["enface_saliency"]["IR"]).is_file()
    assert (out / scores["files"]["views"]["OCT~IR"]).is_file()


def test_an_encoder_says_that_it_gives_no_scores(
    eye: Path, encoder_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["analyze", str(eye), "--model", str(encoder_file), "--out", str(out)]) == 0
    assert "gives no scores; its result is the embedding of OCT (16 features)" in (
        capsys.readouterr().out
    )
    assert np.load(out / "embedding_OCT.npy").shape == (16,)


@pytest.mark.parametrize(
    ("method", "layer"), list(zip(SALIENCY_METHODS, SALIENCY_LAYERS * 3, strict=True))
)
def test_method_and_layer_are_those_asked_for(
    eye: Path, model_file: Path, tmp_path: Path, method: str, layer: str
) -> None:
    out = tmp_path / "out"
    arguments = ["analyze", str(eye), "--model", str(model_file), "--out", str(out)]
    assert main([*arguments, "--saliency", method, "--layer", layer]) == 0
    run = json.loads((out / "scores.json").read_text())["run"]
    assert (run["saliency"], run["layer"]) == (SALIENCY_METHODS[method], layer)


def test_notes_of_the_run_are_printed(
    eye: Path,
    model_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import octcube_core.analysis

    original = octcube_core.analysis.analyze

    def with_note(*arguments: object, **options: object) -> object:
        analysis = original(*arguments, **options)
        return dataclasses.replace(analysis, run_notes=("Memory ran out; ran in bf16.",))

    monkeypatch.setattr(octcube_core.analysis, "analyze", with_note)
    main(["analyze", str(eye), "--model", str(model_file), "--out", str(tmp_path / "out")])
    assert "Note: Memory ran out; ran in bf16." in capsys.readouterr().out


def test_a_warning_is_given_once(
    eye: Path, model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["analyze", str(eye), "--model", str(model_file), "--out", str(tmp_path / "out")])
    assert capsys.readouterr().out.count("Warning: The file states no voxel spacing") == 1


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, expected in ((["--version"], __version__), (["--help"], "analyze")):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 0
        assert expected in capsys.readouterr().out


SLOW_ANALYSIS = """
import sys
import time
from pathlib import Path
from octcube_core.cli import main

write_scores = Path.write_text

def write_slowly(path, *rest, **options):
    write_scores(path, *rest, **options)
    print("half written", flush=True)
    time.sleep(60)

Path.write_text = write_slowly
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no POSIX signals")
@pytest.mark.parametrize(("stop", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_it_leaves_no_partial_file(
    eye: Path, model_file: Path, tmp_path: Path, stop: signal.Signals, code: int
) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-c", SLOW_ANALYSIS, "analyze", str(eye)]
    command += ["--model", str(model_file), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "half written\n"
        assert list(tmp_path.rglob("scores.json"))  # somewhere, but not in its place yet
        assert not out.exists()
        started = time.monotonic()
        process.send_signal(stop)
        _, error = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == code
    assert time.monotonic() - started < 20
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="no closed pipes")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", [["info", "EYE"], ["info", "EYE", "--json"], ["--help"]])
def test_a_closed_pipe_is_no_traceback(eye: Path, arguments: list[str], unbuffered: str) -> None:
    arguments = [str(eye) if argument == "EYE" else argument for argument in arguments]
    process = subprocess.Popen(
        [sys.executable, "-m", "octcube_core.cli", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=30) in (0, 1)
    assert error == b""
