import json
import subprocess
import sys

import pytest

from napari_octcube.bench import Figure


@pytest.mark.slow
def test_plays_a_session_and_says_what_is_kept(needs_pixels, tmp_path):
    command = [
        sys.executable,
        "-m",
        "napari_octcube.bench",
        "--json",
        "--depth",
        "1",
        "--exams",
        "2",
    ]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    result = json.loads(ended.stdout)
    figures = {figure["name"]: figure for figure in result["figures"]}
    assert len(figures) == len(result["figures"]) == 9
    for figure in figures.values():
        assert isinstance(figure["value"], float)
        kept = figure["allowed"] is None or figure["value"] <= figure["allowed"]
        assert figure["ok"] == (None if figure["allowed"] is None else kept)
    assert ended.returncode == any(figure["ok"] is False for figure in figures.values())
    assert 0 < figures["slice step, nothing running"]["value"] < 5000
    assert figures["end of inference to overlay"]["value"] > 0
    assert result["details"]["inference_s"] > 0


def test_a_promise_that_is_not_kept_says_so():
    assert Figure("stall", 51, "ms", 50).ok is False
    assert Figure("stall", 50, "ms", 50).ok is True
    assert Figure("stall", 51, "ms").ok is None
