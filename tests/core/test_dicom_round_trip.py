"""Exams go out to DICOM and come back."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from exam_strategies import DEVICES, assert_same_exam, exams, localizer_first, scan
from hypothesis import given, settings
from hypothesis import strategies as st

from octcube_core.exam import EnFaceImage, OCTVolume
from octcube_core.phantom import make_exam
from octcube_core.readers import read_exam
from octcube_core.writers import TRANSFER_SYNTAXES, write_exam

PATTERNS = [
    pytest.param("raster", 0.0, id="raster"),
    pytest.param("raster", 90.0, id="vertical raster"),
    pytest.param("raster", 30.0, id="rotated raster"),
    pytest.param("radial", 0.0, id="radial"),
    pytest.param("circle", 0.0, id="circle"),
    pytest.param("line", 0.0, id="line"),
]


@pytest.mark.parametrize(("pattern", "rotation"), PATTERNS)
def test_every_scan_pattern_comes_back(tmp_path, pattern, rotation):
    bscans = 1 if pattern in ("circle", "line") else 6
    exam = scan(pattern, bscans=bscans, rotation_deg=rotation)
    write_exam(exam, tmp_path / "exam", "dicom")
    for path in (tmp_path / "exam", tmp_path / "exam" / "oct.dcm"):
        read = read_exam(path)
        assert_same_exam(read, localizer_first(exam))
        assert read.device == exam.device
        assert read.warnings == ()


@pytest.mark.parametrize(("pattern", "rotation"), PATTERNS)
def test_a_synthetic_eye_of_every_pattern_comes_back(tmp_path, pattern, rotation):
    exam = make_exam(3, shape=(5, 64, 32), scan_pattern=pattern, rotation_deg=rotation)
    write_exam(exam, tmp_path / "exam", "dicom")
    assert_same_exam(read_exam(tmp_path / "exam" / "oct.dcm"), localizer_first(exam))


@settings(max_examples=40, deadline=None)
@given(exams(), st.sampled_from(TRANSFER_SYNTAXES))
def test_any_exam_in_any_transfer_syntax_comes_back(exam, syntax):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "exam"
        notes = write_exam(exam, out, "dicom", transfer_syntax=syntax)
        read = read_exam(out / "oct.dcm")
    low, high = exam.volume.black_white
    voxels = exam.volume.voxels
    floating = voxels.dtype.kind == "f"
    span = max(high, voxels.max()) - min(low, voxels.min())
    assert_same_exam(read, localizer_first(exam), float_step=span / 65535 if floating else 0.0)
    assert any("floating point" in note for note in notes) == floating
    assert any("which eye" in note for note in notes) == (exam.laterality is None)
    assert not any("opened" in note for note in notes)


@pytest.mark.parametrize(
    ("modality", "shape"),
    [(modality, (30, 41)) for modality in ("IR", "FAF", "CFP", "FA", "ICGA", "OCT")]
    + [(modality, (30, 41, 3)) for modality in ("IR", "FAF", "CFP", "FA", "ICGA")],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_every_modality_is_recognised(tmp_path, modality, shape, dtype):
    exam = scan("raster")
    pixels = np.random.default_rng(1).integers(0, np.iinfo(dtype).max, shape, dtype=dtype)
    image = EnFaceImage(pixels, modality, (0.01, 0.02))
    exam = replace(exam, enface=(exam.enface[0], exam.enface[1], image))
    write_exam(exam, tmp_path / "exam", "dicom")
    assert_same_exam(read_exam(tmp_path / "exam" / "oct.dcm"), localizer_first(exam))


def test_numbers_of_several_images_of_a_kind(tmp_path):
    exam = scan("raster")
    exam = replace(exam, enface=(exam.enface[1], exam.enface[1], exam.enface[0]))
    write_exam(exam, tmp_path / "exam", "dicom")
    assert sorted(file.name for file in (tmp_path / "exam").iterdir()) == [
        "faf.dcm",
        "faf_2.dcm",
        "ir.dcm",
        "oct.dcm",
    ]
    assert_same_exam(read_exam(tmp_path / "exam" / "oct.dcm"), localizer_first(exam))


TEXTS = ("SeriesDescription", "ImageComments", "OphthalmicImageTypeDescription")


@pytest.mark.parametrize("without", ["texts", "texts and Image Type"])
@pytest.mark.parametrize("modality", ["IR", "FAF", "CFP", "FA", "ICGA", "OCT"])
def test_codes_alone_tell_the_modality(tmp_path, modality, without):
    exam = scan("raster", locations=None)
    exam = replace(exam, enface=(EnFaceImage(exam.enface[0].pixels, modality),))
    write_exam(exam, tmp_path, "dicom")
    (path,) = (file for file in tmp_path.iterdir() if file.name != "oct.dcm")
    dataset = pydicom.dcmread(path)
    for element in list(dataset.iterall()):
        if element.keyword == "CodeMeaning":
            element.value = "?"
    for keyword in (*TEXTS, "ImageType") if "Type" in without else TEXTS:
        dataset.pop(keyword, None)
    dataset.save_as(path)
    read = read_exam(tmp_path / "oct.dcm")
    assert read.modalities == ("OCT", modality)
    assert read.warnings == ()


@pytest.mark.parametrize(
    ("device", "maker", "model"),
    [
        ("Heidelberg Engineering", "Heidelberg Engineering", "unknown"),
        ("Heidelberg Engineering Spectralis", "Heidelberg Engineering", "Spectralis"),
        ("heidelberg Spectralis", "heidelberg", "Spectralis"),
        ("Carl Zeiss Meditec CIRRUS HD-OCT 5000", "Carl Zeiss Meditec", "CIRRUS HD-OCT 5000"),
        ("TOPCON 3D OCT-1 Maestro2", "TOPCON", "3D OCT-1 Maestro2"),
        ("Topcon", "Topcon", "unknown"),
        ("Topconia One", "Topconia One", "unknown"),
        ("word " * 15 + "end", "word " * 12 + "word", "word word end"),
        ("x" * 90, "x" * 64, "x" * 26),
        (None, "unknown", "unknown"),
    ],
)
def test_maker_and_model(tmp_path, device, maker, model):
    notes = write_exam(scan("raster", device=device), tmp_path, "dicom")
    dataset = pydicom.dcmread(tmp_path / "oct.dcm")
    assert (dataset.Manufacturer, dataset.ManufacturerModelName) == (maker, model)
    in_one_word = device == "x" * 90  # which comes back as two
    assert (read_exam(tmp_path / "oct.dcm").device == device) is not in_one_word
    assert any("the device" in note for note in notes) is in_one_word


@pytest.mark.parametrize("device", DEVICES)
def test_the_device_comes_back(tmp_path, device):
    write_exam(scan("raster", device=device), tmp_path / "exam", "dicom")
    assert read_exam(tmp_path / "exam" / "oct.dcm").device == device


def test_spacing_of_many_digits_comes_back(tmp_path):
    exam = scan("raster", locations=None)
    spacing = (0.12345678901234567, 0.0038712345678901, 0.011819876543210987)
    exam = replace(exam, volume=OCTVolume(exam.volume.voxels, spacing))
    write_exam(exam, tmp_path / "exam", "dicom")
    np.testing.assert_allclose(
        read_exam(tmp_path / "exam" / "oct.dcm").volume.spacing_mm, spacing, rtol=0, atol=1e-12
    )
