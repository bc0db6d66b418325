"""``octcube info`` of one exam and of many, and ``octcube formats``."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from octcube_core.cli import formats, info, main
from octcube_core.exam import Exam, OCTVolume, Patient
from octcube_core.readers import entry as entry_module
from octcube_core.readers import find_exams, read_exam
from octcube_core.readers.formats import ALL_FORMATS

VOXELS = np.random.default_rng(5).integers(0, 256, (3, 16, 20), dtype=np.uint8)


def output(capsys, *arguments) -> str:
    assert main([str(argument) for argument in arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


def error(capsys, *arguments) -> str:
    assert main([str(argument) for argument in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("octcube: error: ")
    return captured.err


@pytest.fixture
def eyes(tmp_path) -> Path:
    """A folder exam with an infrared image, an array and a damaged array."""
    folder = tmp_path / "eyes"
    (folder / "a").mkdir(parents=True)
    for index, bscan in enumerate(VOXELS):
        Image.fromarray(bscan).save(folder / "a" / f"oct_{index}.png")
    Image.fromarray(VOXELS[0]).save(folder / "a" / "ir.png")
    lines = [[[row, 2], [row, 18]] for row in (4, 8, 12)]
    meta = {
        "spacing_mm": [0.12, 0.004, 0.0125],
        "laterality": "left",
        "scan_pattern": "raster",
        "device": "Acme Scanner",
        "locations": {"image": "ir", "polylines": lines},
    }
    (folder / "a" / "meta.json").write_text(json.dumps(meta))
    np.save(folder / "b.npy", VOXELS.transpose(1, 2, 0))
    (folder / "c.npy").write_bytes((folder / "b.npy").read_bytes()[:-99])
    return folder


def test_one_exam_says_where_its_bscans_lie(eyes, capsys):
    told = output(capsys, "info", eyes / "a")
    assert "3 B-scans of 16 x 20 (depth x width), uint8" in told
    assert "3 places on the IR image" in told
    assert "16 x 20 pixels" in told
    facts = json.loads(output(capsys, "info", eyes / "a", "--json"))
    assert facts["sample_type"] == "uint8"
    assert facts["bscan_locations"] == {"count": 3, "image": "IR", "image_index": 0}


def test_several_exams_are_a_table(eyes, capsys):
    lines = output(capsys, "info", eyes).splitlines()
    assert len(lines) == 4
    assert lines[0].split()[:4] == ["#", "Exam", "Format", "Eye"]
    for shown in ("1", "a", "folder", "OS", "raster", "OCT, IR", "3 x 16 x 20", "120 x 4 x 12.5"):
        assert shown in lines[1]
    assert "Acme Scanner" in lines[1]
    assert lines[2].split()[:3] == ["2", "b.npy", "NumPy"]
    assert lines[3].split()[:2] == ["3", "c.npy"]
    assert "c.npy cannot be read" in lines[3] or "c.npy is truncated" in lines[3]


def test_several_exams_as_json(eyes, capsys):
    rows = json.loads(output(capsys, "info", eyes, "--json"))
    keys = (
        "exam name format laterality scan_pattern modalities shape spacing_mm device warnings error"
    )
    assert [list(row) for row in rows] == [keys.split()] * 3
    assert [row["exam"] for row in rows] == [1, 2, 3]
    assert [row["name"] for row in rows] == ["a", "b.npy", "c.npy"]
    assert rows[0]["shape"] == [3, 16, 20]
    assert rows[0]["spacing_mm"] == [0.12, 0.004, 0.0125]
    assert (rows[0]["laterality"], rows[0]["error"]) == ("OS", None)
    assert rows[2]["shape"] is None
    assert rows[2]["error"].endswith(".")


def test_the_number_of_the_table_opens_the_exam(eyes, capsys):
    facts = json.loads(output(capsys, "info", eyes, "--exam", "1", "--json"))
    assert facts["device"] == "Acme Scanner"
    facts = json.loads(output(capsys, "info", eyes, "--exam", "2", "--axes", "yxz", "--json"))
    assert facts["shape"] == [3, 16, 20]
    assert "fewer than 4" in error(capsys, "info", eyes, "--exam", "4")
    assert "fewer than" in error(capsys, "info", eyes, "--exam", "9" * 30)
    assert "positive" in error(capsys, "info", eyes, "--exam", "0")


def test_quick_reads_no_exam_that_can_be_listed(eyes, capsys, monkeypatch):
    def read(self):
        raise AssertionError(self.path)

    monkeypatch.setattr(entry_module.ExamEntry, "read", read)
    rows = json.loads(output(capsys, "info", eyes, "--quick", "--json"))
    assert [row["format"] for row in rows] == ["folder", "NumPy", "NumPy"]


def test_one_volume_at_a_time_is_in_memory(eyes, capsys, monkeypatch):
    import gc
    import weakref

    alive: list[weakref.ref[Exam]] = []
    most = 0
    whole = entry_module.ExamEntry.read

    def read(self):
        nonlocal most
        gc.collect()
        most = max(most, sum(exam() is not None for exam in alive))
        exam = whole(self)
        alive.append(weakref.ref(exam))
        return exam

    monkeypatch.setattr(entry_module.ExamEntry, "read", read)
    for number in range(3):
        np.save(eyes / f"d{number}.npy", VOXELS)
    output(capsys, "info", eyes)
    assert len(alive) == 5
    assert most == 0


def test_no_exam_that_can_be_read_is_an_error_after_the_table(tmp_path, capsys):
    for name in ("a.npy", "b.npy"):
        (tmp_path / name).write_bytes(b"damaged")
    assert main(["info", str(tmp_path)]) == 2
    captured = capsys.readouterr()
    assert "a.npy is no .npy file inside" in captured.out
    assert captured.err == f"octcube: error: None of the 2 exams in {tmp_path.name} can be read.\n"


def test_an_error_amid_the_exams_of_a_file_is_a_row(eyes, capsys, monkeypatch):
    def listing(path, **options):
        yield from list(find_exams(path, **options))[:1]
        raise info.ExamReadError("The rest is damaged.")

    monkeypatch.setattr("octcube_core.readers.find_exams", listing)
    lines = output(capsys, "info", eyes).splitlines()
    assert len(lines) == 3
    assert "The rest is damaged." in lines[2]


def test_patient_is_in_no_row(eyes, capsys, monkeypatch):
    patient = Patient("Zebedee^Quagga", "PID-993311", "19431127", "20240229")
    exam = Exam(OCTVolume(VOXELS), format="NumPy", patient=patient)
    monkeypatch.setattr(entry_module.ExamEntry, "read", lambda self: exam)
    for arguments in ([], ["--json"], ["--quick"]):
        told = output(capsys, "info", eyes, *arguments)
        for secret in ("Zebedee", "993311", "19431127", "1943", "20240229"):
            assert secret not in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a", "--axes", "yxz"], "axes"),
        (["a", "--shape", "3x16x20"], "shape"),
        ([".", "--shape", "3x16x20"], "shape"),
        (["a/oct_0.png", "--axes", "yxz"], "states its own axes"),
        (["b.npy", "--axes", "zzz"], "'zzz'"),
        (["b.npy", "--shape", "3x16x20"], "states its own shape"),
        (["b.npy", "--shape", "3x16"], "no shape"),
        (["b.npy", "--exam", "2"], "fewer than 2"),
    ],
)
def test_options_that_do_not_apply(eyes, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(eyes)
    assert said in error(capsys, "info", *arguments)
    out = ["--model", "demo", "--out", eyes / "out"]
    assert said in error(capsys, "analyze", *arguments, *out)
    assert not (eyes / "out").exists()


def test_info_agrees_with_reading(eyes, capsys):
    facts = json.loads(output(capsys, "info", eyes / "a", "--json"))
    exam = read_exam(eyes / "a")
    assert tuple(facts["shape"]) == exam.volume.shape
    assert tuple(facts["spacing_mm"]) == exam.volume.spacing_mm


def test_formats_lists_every_reader(capsys):
    told = output(capsys, "formats")
    for entry in ALL_FORMATS:
        assert entry.name in told
        assert importlib.import_module(f"octcube_core.readers.{entry.module}")
    assert "z = B-scan, y = depth, x = width" in told


def test_formats_as_json(capsys, monkeypatch):
    monkeypatch.setattr(formats, "find_spec", lambda name: None)
    told = json.loads(output(capsys, "formats", "--json"))
    assert told["axes"] == {"z": "B-scan", "y": "depth", "x": "width"}
    found = {entry["name"]: entry for entry in told["formats"]}
    assert found["Zeiss Cirrus"]["options"] == ["--shape"]
    assert found["NumPy"]["options"] == ["--axes"]
    assert found["NIfTI"]["installed"] is False
    assert found["NIfTI"]["extra"] == "formats"
    assert found["NumPy"]["installed"] is True
    assert "pip install 'napari-octcube[formats]'" in output(capsys, "formats")
