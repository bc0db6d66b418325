"""Small archives of exams on disk, for the tests of what indexes and searches them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from octcube_core.cli import main

BSCANS, DEPTH, WIDTH = 9, 48, 48


def write_array(path: Path, seed: int) -> Path:
    """An exam as an array of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    rows = random.integers(0, 200, (BSCANS, 1, WIDTH)) + 20 * seed % 50
    voxels = np.clip(rows + random.integers(0, 50, (BSCANS, DEPTH, WIDTH)), 0, 255)
    np.save(path, voxels.astype(np.uint8))
    return path


def archive(folder: Path, count: int, first: int = 0) -> list[Path]:
    """So many arrays below a folder."""
    return [
        write_array(folder / f"visit {number}" / f"eye {number}.npy", number)
        for number in range(first, first + count)
    ]


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command prints that goes well."""
    assert main([str(argument) for argument in arguments]) == 0, capsys.readouterr().err
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a command ends with."""
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("octcube: error: ")
    return captured.err
