"""What is written as DICOM stands the test of dciodvfy (Debian package dicom3tools)."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from exam_strategies import SIDE, scan

from octcube_core.exam import EnFaceImage, OCTVolume, Patient
from octcube_core.writers import TRANSFER_SYNTAXES, write_exam

pytestmark = pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy is missing: install dicom3tools"
)

# PS3.3 C.8.17.7 demands the three of every Ophthalmic Tomography image, as 0, 1 and 1. dciodvfy 2022 says that they are
# missing if they are, and that they should not be there if they are there: no such image passes without an error.
CONCATENATION = {
    "ConcatenationFrameOffsetNumber",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
}


def complaints(folder):
    """Errors of dciodvfy about the files of a folder, but those that no file can avoid."""
    found = []
    for file in sorted(folder.glob("*.dcm")):
        run = subprocess.run(["dciodvfy", file], capture_output=True, text=True, check=False)
        told = run.stderr + run.stdout
        assert ("OphthalmicTomographyImage" in told) == (file.name == "oct.dcm")
        assert ("OphthalmicPhotography" in told) == (file.name != "oct.dcm")
        for line in told.splitlines():
            unavoidable = "Concatenation" in line and any(
                f"<{name}>" in line for name in CONCATENATION
            )
            if line.startswith("Error") and not unavoidable:
                found.append(f"{file.name}: {line}")
    return found


def pictures(dtype):
    random = np.random.default_rng(2)
    return tuple(
        EnFaceImage(
            random.integers(0, 255, (SIDE, SIDE, 3) if modality == "CFP" else (SIDE, SIDE)).astype(
                dtype
            ),
            modality,
            (0.011, 0.011),
        )
        for modality in ("IR", "FAF", "CFP", "FA", "ICGA", "OCT")
    )


@pytest.mark.parametrize("syntax", TRANSFER_SYNTAXES)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_every_syntax_and_type(tmp_path, syntax, dtype):
    exam = scan("raster", enface=pictures(dtype))
    volume = OCTVolume(exam.volume.voxels.astype(dtype), exam.volume.spacing_mm)
    write_exam(replace(exam, volume=volume), tmp_path / "out", "dicom", transfer_syntax=syntax)
    assert len(list((tmp_path / "out").iterdir())) == 7
    assert complaints(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("pattern", "rotation"),
    [("raster", 90.0), ("raster", 30.0), ("radial", 0), ("circle", 0), ("line", 0), (None, 0)],
)
def test_every_scan_pattern(tmp_path, pattern, rotation):
    write_exam(scan(pattern, rotation_deg=rotation), tmp_path / "out", "dicom")
    assert complaints(tmp_path / "out") == []


SPARSE = {
    "no spacing": {"volume": OCTVolume(np.zeros((6, 4, 5), np.uint8))},
    "axial spacing alone": {
        "volume": OCTVolume(np.zeros((6, 4, 5), np.uint8), (None, 0.004, None))
    },
    "12 bits": {
        "volume": OCTVolume(np.zeros((6, 4, 5), np.uint16), value_range=(0, 4095)),
    },
    "one voxel": {"volume": OCTVolume(np.zeros((1, 1, 1), np.uint8)), "locations": None},
    "no fundus image": {"enface": (), "locations": None},
    "no place": {"locations": None},
    "no eye": {"laterality": None},
    "left eye": {"laterality": "OS"},
    "no device": {"device": None},
    "synthetic": {"format": "synthetic"},
}


@pytest.mark.parametrize("facts", SPARSE.values(), ids=SPARSE)
def test_whatever_is_known(tmp_path, facts):
    write_exam(scan("raster", **facts), tmp_path / "out", "dicom")
    assert complaints(tmp_path / "out") == []


def test_with_identity(tmp_path):
    patient = Patient("Müller^Zoë", "PID-1", "1950-01-02", "2024-02-29")
    write_exam(scan("raster", patient=patient), tmp_path / "out", "dicom", keep_identity=True)
    assert complaints(tmp_path / "out") == []
