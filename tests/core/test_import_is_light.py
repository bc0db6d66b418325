"""Importing the core, or reading an exam with it, must not cost the import of torch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import octcube_core

HEAVY = {"torch", "napari", "qtpy", "lightning", "scipy", "matplotlib", "pandas", "sklearn"}


def _imported_after(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after some code."""
    code += "\nimport sys; print(' '.join({name.partition('.')[0] for name in sys.modules}))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.splitlines()[-1].split())


def test_importing_the_core_imports_nothing_heavy() -> None:
    loaded = _imported_after("import octcube_core; octcube_core.__version__")
    assert loaded & (HEAVY | {"numpy", "pydicom", "tifffile", "PIL", "rich"}) == set()


def test_exams_errors_and_results_come_without_torch() -> None:
    loaded = _imported_after(
        "import octcube_core as oc\n"
        "oc.Exam, oc.OCTVolume, oc.Analysis, oc.DiseaseScore, oc.OCTCubeError, oc.read_exam"
    )
    assert "octcube_core" in loaded
    assert loaded & HEAVY == set()


def test_what_the_viewer_saves_is_made_without_torch() -> None:
    loaded = _imported_after(
        "import octcube_core.report.fonts as fonts, octcube_core.writers.dicom_saliency, highdicom\n"
        "import octcube_core.export, octcube_core.scores_csv, pypdfium2\n"
        "fonts.load_fonts()"
    )
    assert "reportlab" in loaded
    assert loaded & HEAVY == set()


def test_octcube_info_runs_without_torch(tmp_path) -> None:
    np.save(tmp_path / "eye.npy", np.zeros((2, 8, 8), np.uint8))
    path = str(tmp_path / "eye.npy")
    loaded = _imported_after(
        f"from octcube_core.cli import main; assert main(['info', {path!r}]) == 0"
    )
    assert loaded & HEAVY == set()


def test_the_command_line_starts_without_numpy() -> None:
    loaded = _imported_after("import octcube_core.cli as cli; cli._parser()")
    assert loaded & (HEAVY | {"numpy", "pydicom", "tifffile", "PIL", "rich"}) == set()


@pytest.mark.parametrize("name", octcube_core.__all__)
def test_every_public_name_can_be_had(name: str) -> None:
    assert getattr(octcube_core, name) is not None
    assert name in dir(octcube_core)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError):
        _ = octcube_core.diagnose
