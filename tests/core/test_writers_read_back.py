"""An export that does not come back as it was is said, whatever the format."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exam_strategies import scan

from octcube_core.cli import main
from octcube_core.errors import InputError
from octcube_core.exam import EnFaceImage, OCTVolume
from octcube_core.readers import read_exam
from octcube_core.writers import TARGETS, read_back, write_exam

NAMES = {"dicom": "out", "ome-tiff": "out.ome.tif", "folder": "out"}
EXAM = scan("raster")


def image(modality="IR", spacing=(0.011, 0.011), seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (96, 96), dtype=np.uint8)
    return EnFaceImage(pixels, modality, spacing)


@pytest.mark.parametrize("to", TARGETS)
def test_an_equal_export_is_not_spoken_of(tmp_path, to):
    assert write_exam(EXAM, tmp_path / NAMES[to], to) == ()


def test_lines_that_contradict_the_spacing_are_said(tmp_path):
    z, y, x = EXAM.volume.spacing_mm
    exam = replace(EXAM, volume=OCTVolume(EXAM.volume.voxels, (z, y, x / 10)))
    notes = write_exam(exam, tmp_path / "out", "dicom")
    read = read_exam(tmp_path / "out" / "oct.dcm")
    assert read.volume.spacing_mm[2] != exam.volume.spacing_mm[2]
    assert "lateral spacing" in notes[0]
    assert all(f"When the export is opened: {warning}" in notes for warning in read.warnings)


@pytest.mark.parametrize(
    "name", ["heyex_vol/raster_dummy_10x40x50.vol", "heyex_xml/test_dummy.xml"]
)
def test_a_real_scan_comes_back_or_what_does_not_is_said(tmp_path, real_data, capsys, name):
    source = real_data / name
    assert main(["export", str(source), "--to", "dicom", "--out", str(tmp_path / "out")]) == 0
    told = " ".join(capsys.readouterr().out.split())
    before, after = read_exam(source), read_exam(tmp_path / "out" / "oct.dcm")
    for index, words in enumerate(("distance between B-scans", "axial spacing", "lateral spacing")):
        here, there = before.volume.spacing_mm[index], after.volume.spacing_mm[index]
        assert (f"the {words} (" in told) == (here != there and here != pytest.approx(there))
    lost = (before.locations is None) != (after.locations is None)
    assert ("the places of the B-scans (read as unknown)" in told) == lost


CHANGED = {
    "the eye (OS, read as OD)": {"laterality": "OS"},
    "the scan pattern (radial, read as raster)": {"scan_pattern": "radial"},
    "the places of the B-scans (read as unknown)": None,
    "the FA image, which is missing": {"enface": (*EXAM.enface, image("FA"))},
    "another FAF image": {"enface": EXAM.enface[:1], "locations": None},
    "the pixels of the IR image": {"enface": (image(seed=5), EXAM.enface[1])},
    "the row spacing of the FAF image (0.02 mm, read as 0.011 mm)": {
        "enface": (EXAM.enface[0], replace(EXAM.enface[1], spacing_mm=(0.02, 0.011)))
    },
    "the device (Topcon, read as Heidelberg Spectralis)": {"device": "Topcon"},
    "the volume's intensities": {
        "volume": OCTVolume(255 - EXAM.volume.voxels, EXAM.volume.spacing_mm)
    },
    "black and white": {
        "volume": OCTVolume(EXAM.volume.voxels, EXAM.volume.spacing_mm, (0.0, 99.0))
    },
    "the volume's shape": {"volume": OCTVolume(EXAM.volume.voxels[:, 1:], EXAM.volume.spacing_mm)},
    "the axial spacing (unknown, read as 0.003872 mm)": {
        "volume": OCTVolume(EXAM.volume.voxels, (*EXAM.volume.spacing_mm[:1], None, 0.01375))
    },
}


@pytest.mark.parametrize(("words", "facts"), CHANGED.items(), ids=CHANGED)
def test_whatever_differs_is_named(tmp_path, words, facts):
    written = replace(EXAM, locations=None) if facts is None else EXAM
    write_exam(written, tmp_path / "out.ome.tif", "ome-tiff")
    exam = replace(EXAM, **(facts or {}))
    (first, *_) = read_back.differences(exam, tmp_path / "out.ome.tif", "out.ome.tif")
    assert words in first


def test_what_cannot_be_opened_is_said(tmp_path):
    (tmp_path / ".partial.ome.tif").write_bytes(b"II*\0")
    (note,) = read_back.differences(EXAM, tmp_path / ".partial.ome.tif", "exam.ome.tif")
    assert note.startswith("The export cannot be opened again: exam.ome.tif")


def test_a_very_large_one_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(read_back, "_MOST_BYTES", 1000)
    assert write_exam(EXAM, tmp_path / "out", "folder") == (read_back.TOO_LARGE,)


@pytest.mark.parametrize("to", TARGETS)
def test_a_name_that_is_too_long_is_one_sentence(tmp_path, to):
    name = "x" * 300 + (".ome.tif" if to == "ome-tiff" else "")
    with pytest.raises(InputError, match="Cannot write") as caught:
        write_exam(EXAM, tmp_path / name, to)
    assert "Errno" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_name_as_long_as_may_be_is_written(tmp_path):
    out = tmp_path / ("x" * 247 + ".ome.tif")
    assert write_exam(EXAM, out, "ome-tiff") == ()
    assert list(tmp_path.iterdir()) == [out]
