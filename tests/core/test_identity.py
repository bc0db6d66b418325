"""Who the patient is shows in nothing that a command prints, writes or logs, nor in an error about a damaged file."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from dicom_files import infrared, opt, save
from heyex_files import raster, write_vol

from octcube_core.cli import main
from octcube_core.errors import ExamReadError
from octcube_core.readers import find_exams, read_exam

SECRETS = ("zebedee", "quagga", "993311", "19431127", "1943-11-27", "20240229", "2024-02-29")
PATIENT = {
    "PatientName": "Zebedee^Quagga",
    "PatientID": "PID-993311",
    "PatientBirthDate": "19431127",
    "StudyDate": "20240229",
    "AcquisitionDateTime": "20240229101010",
    "StudyInstanceUID": "1.2.3.993311",
}
VOXELS = np.random.default_rng(1).integers(0, 256, (6, 48, 64), dtype=np.uint8)


def told(text: str) -> list[str]:
    return [secret for secret in SECRETS if secret in text.lower()]


def told_in(folder: Path) -> list[str]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    content = b"".join(path.read_bytes() for path in files).lower()
    written = (secret for secret in SECRETS if secret.encode() in content)
    wide = (secret for secret in SECRETS if secret.encode("utf-16-le") in content)
    return [*written, *wide]


@pytest.fixture
def archive(tmp_path) -> Path:
    """Two exams of the patient, in files whose names tell nothing."""
    folder = tmp_path / "archive"
    (folder / "one").mkdir(parents=True)
    save(opt(VOXELS, **PATIENT), folder / "one" / "oct.dcm")
    save(infrared(**PATIENT), folder / "one" / "ir.dcm")
    write_vol(folder / "scan.vol", raster())
    return folder


def test_the_files_do_name_the_patient(archive):
    exam = read_exam(archive / "one" / "oct.dcm")
    assert exam.patient.name == "Zebedee^Quagga"
    assert exam.patient.id == "PID-993311"
    assert (exam.patient.birth_date, exam.patient.exam_date) == ("1943-11-27", "2024-02-29")
    assert told_in(archive / "one") != []


def test_no_command_prints_logs_or_writes_the_identity(archive, tmp_path, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    volume = str(archive / "one" / "oct.dcm")
    for command in (
        ["info", volume],
        ["info", volume, "--json"],
        ["info", str(archive)],
        ["info", str(archive), "--json"],
        ["analyze", volume, "--model", "demo", "--out", str(tmp_path / "results")],
        ["export", volume, "--to", "dicom", "--out", str(tmp_path / "dicom")],
        ["export", volume, "--to", "folder", "--out", str(tmp_path / "folder")],
        ["export", volume, "--to", "ome-tiff", "--out", str(tmp_path / "tiff.ome.tif")],
    ):
        assert main(command) == 0, command
        printed = capfd.readouterr()
        assert told(printed.out + printed.err) == [], command
    assert told(caplog.text) == []
    for written in ("results", "dicom", "folder"):
        assert told_in(tmp_path / written) == [], written
    assert told((tmp_path / "tiff.ome.tif").read_bytes().decode("latin-1")) == []


def test_no_error_about_a_damaged_file_tells_the_identity(archive, tmp_path, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    whole = (archive / "one" / "oct.dcm").read_bytes()
    rng = np.random.default_rng(2)
    damaged = tmp_path / "damaged.dcm"
    errors = []
    for number in range(120):
        content = bytearray(whole[: len(whole) - 7 * number] if number % 2 else whole)
        for position in rng.integers(132, 1200, 4):
            content[position] = rng.integers(256)
        damaged.write_bytes(content)
        try:
            exam = read_exam(damaged)
        except ExamReadError as error:
            errors.append(str(error))
        else:
            errors += [*exam.warnings, repr(exam.patient)]
    assert told(" ".join(errors)) == []
    assert len(errors) > 60
    printed = capfd.readouterr()
    assert told(printed.out + printed.err + caplog.text) == []


def test_a_listed_exam_tells_nothing_of_the_patient(archive):
    for entry in find_exams(archive):
        assert told(f"{entry} {entry.name} {entry.part} {entry.device}") == []
        assert told(repr(entry.read())) == []
