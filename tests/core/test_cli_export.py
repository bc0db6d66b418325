from __future__ import annotations

import pydicom
import pytest
from exam_strategies import assert_same_exam, localizer_first, scan

from octcube_core.cli import main
from octcube_core.exam import Patient
from octcube_core.readers import read_exam
from octcube_core.writers import write_exam


@pytest.fixture
def folder(tmp_path):
    write_exam(scan("radial"), tmp_path / "exam", "folder")
    return tmp_path / "exam"


@pytest.mark.parametrize(
    ("to", "name", "opened"),
    [
        ("dicom", "out", "out/oct.dcm"),
        ("ome-tiff", "out.ome.tif", "out.ome.tif"),
        ("folder", "new/out", "new/out"),
    ],
)
def test_export(folder, tmp_path, capsys, to, name, opened):
    assert main(["export", str(folder), "--to", to, "--out", str(tmp_path / name)]) == 0
    exam = scan("radial")
    written = localizer_first(exam) if to == "dicom" else exam
    assert_same_exam(read_exam(tmp_path / opened), written)
    assert f"Written: {tmp_path / name}" in capsys.readouterr().out


def test_transfer_syntax(folder, tmp_path):
    out = ["--to", "dicom", "--out", str(tmp_path / "out"), "--transfer-syntax", "jpegls"]
    assert main(["export", str(folder), *out]) == 0
    syntax = pydicom.dcmread(tmp_path / "out" / "ir.dcm").file_meta.TransferSyntaxUID
    assert syntax.name == "JPEG-LS Lossless Image Compression"


def test_an_identity_in_a_file_is_kept_only_if_asked_for(tmp_path):
    patient = Patient("Zebedee^Quagga", "PID-993311", "1943-11-27", "2024-02-29")
    source = tmp_path / "source"
    write_exam(scan("radial", patient=patient), source, "dicom", keep_identity=True)
    found = {}
    for name, options in {"removed": [], "kept": ["--keep-identity"]}.items():
        out = ["--to", "dicom", "--out", str(tmp_path / name)]
        assert main(["export", str(source / "oct.dcm"), *out, *options]) == 0
        found[name] = b"".join(file.read_bytes() for file in (tmp_path / name).iterdir())
    secrets = (b"Zebedee", b"Quagga", b"993311", b"19431127", b"20240229")
    assert [secret for secret in secrets if secret in found["removed"]] == []
    assert [secret for secret in secrets if secret in found["kept"]] == list(secrets)


def test_notes_are_printed(tmp_path, capsys):
    write_exam(scan("radial", laterality=None), tmp_path / "exam", "folder")
    out = ["--to", "dicom", "--out", str(tmp_path / "out")]
    assert main(["export", str(tmp_path / "exam"), *out]) == 0
    assert "Note: The exam does not say which eye it is" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("to", "written"),
    [("dicom", "exam-dicom"), ("folder", "exam-folder"), ("ome-tiff", "exam.ome.tif")],
)
def test_the_default_name_tells_nothing_of_the_source(folder, tmp_path, monkeypatch, to, written):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["export", str(folder), "--to", to]) == 0
    assert [path.name for path in (tmp_path / "here").iterdir()] == [written]


@pytest.mark.parametrize(
    "wrong",
    [
        ["--to", "dicom", "--out", "{folder}"],
        ["--to", "nifti", "--out", "{new}"],
        ["--to", "ome-tiff", "--out", "{new}"],
        ["--to", "folder", "--out", "{new}", "--keep-identity"],
        ["--to", "folder", "--out", "{new}", "--transfer-syntax", "rle"],
        ["--to", "dicom", "--out", "{folder}/meta.json/out"],
    ],
)
def test_errors_are_one_line(folder, tmp_path, capsys, wrong):
    arguments = [part.format(folder=folder, new=tmp_path / "new") for part in wrong]
    before = sorted(tmp_path.rglob("*"))
    assert main(["export", str(folder), *arguments]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("octcube: error: ")
    assert told.err.count("\n") == 1
    assert told.out == ""
    assert sorted(tmp_path.rglob("*")) == before
