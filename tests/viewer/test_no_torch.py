"""The viewer as a user starts it, with a real model in the real model process."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.xvfb, pytest.mark.slow]

PATIENCE_S = 120


@pytest.fixture(scope="module")
def model_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    script = Path(__file__).with_name("tiny_model.py")
    subprocess.run([sys.executable, script, path], check=True, timeout=PATIENCE_S)
    return path


@pytest.fixture
def viewer(needs_pixels, tmp_path):
    def run(*arguments, code="from napari_octcube.__main__ import main; sys.exit(main())", **env):
        return subprocess.run(
            [sys.executable, "-c", f"import sys\n{textwrap.dedent(code)}", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            env={**os.environ, "NAPARI_CONFIG": str(tmp_path / "settings.yaml"), **env},
        )

    return run


def test_no_torch_in_the_viewer_after_an_analysis(viewer, model_file, tmp_path):
    picture = tmp_path / "demo.png"
    code = """
        from napari_octcube.__main__ import main
        code = main()
        guilty = sorted(name for name in sys.modules if name.split(".")[0] == "torch")
        assert not guilty, guilty[:3]
        sys.exit(code)
    """
    result = viewer("--demo", "--model", model_file, "--screenshot", picture, code=code)
    assert result.returncode == 0, result.stderr
    pixels = np.asarray(Image.open(picture).convert("RGB")).astype(int)
    assert pixels.shape[1] >= 1000
    middle = pixels[100:650, 380:980]
    colourful = middle.max(axis=-1) - middle.min(axis=-1) > 60
    assert colourful.sum() > 500  # the overlay
    assert (
        middle.min(axis=-1) > 120
    ).sum() > 500  # the bright layers, through the overlay of random weights
    assert [path.name for path in tmp_path.glob("*.png*")] == ["demo.png"]


def test_path_and_analyze(viewer, model_file, tmp_path):
    exam = tmp_path / "eye.npy"
    np.save(exam, np.random.default_rng(0).integers(0, 255, (8, 64, 64), np.uint8))
    picture = tmp_path / "eye.png"
    result = viewer(exam, "--analyze", "--model", model_file, "--screenshot", picture)
    assert result.returncode == 0, result.stderr
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize("arguments", [("nowhere",), ("--demo", "--model", "nowhere.safetensors")])
def test_failure_is_one_line_and_no_picture(viewer, arguments, tmp_path):
    picture = tmp_path / "x.png"
    result = viewer(*arguments, "--screenshot", picture)
    assert result.returncode == 2
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("octcube-viewer: error: ")
    assert "nowhere" in line
    assert not picture.exists()


def test_unwritable_picture_is_one_line(viewer, tmp_path):
    result = viewer("--screenshot", tmp_path / "no" / "folder.png")
    assert result.returncode == 2
    assert "could not be written" in result.stderr


def test_a_picture_of_the_report_waits_for_it_and_is_made_without_torch(
    viewer, model_file, tmp_path
):
    picture = tmp_path / "report.png"
    code = """
        from napari_octcube.__main__ import main
        code = main()
        assert "reportlab" in sys.modules
        guilty = sorted(name for name in sys.modules if name.split(".")[0] == "torch")
        assert not guilty, guilty[:3]
        sys.exit(code)
    """
    arguments = ("--demo", "--model", model_file, "--tab", "report", "--screenshot", picture)
    result = viewer(*arguments, code=code)
    assert result.returncode == 0, result.stderr
    tab = np.asarray(Image.open(picture).convert("RGB"))[100:600, 1000:].astype(int)
    white = tab.min(axis=-1) > 240
    rows, columns = (np.flatnonzero(white.mean(axis=axis) > 0.3) for axis in (1, 0))
    page = tab[rows[0] : rows[-1], columns[0] : columns[-1]]
    assert min(page.shape[:2]) > 200
    assert 0.02 < (page.max(axis=-1) < 120).mean() < 0.5  # what is on it
