"""A folder laid out like the AI-READI data set: each OCT with its own photographs, and with no other's."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from aireadi_files import DataSet

from octcube_core.errors import ExamReadError, InputError
from octcube_core.readers import find_exams, read_exam, read_exams


@pytest.fixture
def data_set(tmp_path):
    return DataSet(tmp_path / "dataset")


def greys(exam):
    return {image.modality: int(image.pixels.flat[0]) for image in exam.enface}


def test_oct_is_paired_with_its_photograph_and_autofluorescence(data_set):
    right = data_set.photograph("1001", "R", grey=11)
    left = data_set.photograph("1001", "L", grey=12)
    data_set.photograph("1001", "R", "faf", region="Nasal", grey=90)
    data_set.photograph("1001", "R", "faf", region="Macula", grey=91)
    data_set.photograph("1002", "L", "faf", grey=92)
    scans = [data_set.oct("1001", "R", right), data_set.oct("1001", "L", left)]
    entries = list(find_exams(data_set.write()))
    assert [entry.path for entry in entries] == scans
    assert [entry.laterality for entry in entries] == ["OD", "OS"]
    assert [entry.modalities for entry in entries] == [("OCT", "IR", "FAF"), ("OCT", "IR")]
    assert {(entry.device, entry.shape) for entry in entries} == {
        ("Heidelberg Spectralis", (3, 16, 20))
    }
    exams = [entry.read() for entry in entries]
    assert [greys(exam) for exam in exams] == [{"IR": 11, "FAF": 91}, {"IR": 12}]
    assert [exam.laterality for exam in exams] == ["OD", "OS"]
    assert exams[0].patient.id == "1001"
    # 10 rows apart; a DICOM coordinate counts from the corner, ours from the centre of the first pixel
    assert exams[0].enface[exams[0].locations.image].modality == "IR"
    np.testing.assert_allclose(
        exams[0].locations.polylines[1][[0, -1]], [[19.5, 3.5], [19.5, 35.5]]
    )
    assert exams[0].volume.spacing_mm[1:] == (0.004, 0.012)
    for exam in exams:
        assert not any("1001" in warning for warning in exam.warnings)


def test_one_file_alone_finds_the_same_photographs(data_set):
    scan = data_set.oct("1001", "R", data_set.photograph("1001", "R", grey=11))
    data_set.photograph("1001", "R", "faf", grey=91)
    data_set.write()
    assert greys(read_exam(scan)) == {"IR": 11, "FAF": 91}


def test_a_folder_inside_lists_its_own_part(data_set, monkeypatch):
    for person in ("1001", "1002", "900"):
        data_set.oct(person, "R", data_set.photograph(person, "R", grey=int(person) % 50))
    root = data_set.write()
    device = root / "retinal_oct" / "structural_oct" / "heidelberg_spectralis"
    people = [entry.path.parent.name for entry in find_exams(root / "retinal_oct")]
    assert people == ["900", "1001", "1002"]
    assert greys(read_exam(device / "1002")) == {"IR": 2}
    monkeypatch.chdir(device / "1001")
    assert greys(read_exam(".")) == {"IR": 1}
    assert len(list(find_exams(root.parent))) == 3


@pytest.mark.parametrize(
    "style",
    [
        {"suffix": "csv", "separator": ","},
        {"suffix": "csv", "separator": "\t"},
        {"line": "\r\n", "encoding": "utf-8-sig"},
        {"rename": {"person_id": "participant_id"}},
        {"rename": {"reference_instance_uid": "reference_retinal_photography_image_instance_uid"}},
        {"rename": {"filepath": "File Path", "laterality": "Laterality "}},
    ],
)
def test_every_style_of_manifest(data_set, style):
    photograph = data_set.photograph("1001", "R", grey=11)
    data_set.oct("1001", "R", photograph, region="Macula, 6 x 6", reference_filepath="")
    data_set.photograph("1001", "R", "faf", grey=91)
    assert greys(read_exam(data_set.write(**style))) == {"IR": 11, "FAF": 91}


def test_path_pairs_where_the_uid_is_unknown(data_set):
    instance, where = data_set.photograph("1001", "R", "cfp", grey=11)
    data_set.oct("1001", "R", (instance, where), reference_instance_uid="Not reported")
    assert greys(read_exam(data_set.write())) == {"CFP": 11}


def test_the_files_own_reference_pairs_where_the_manifest_is_silent(data_set):
    photograph = data_set.photograph("1001", "R", grey=11)
    data_set.photograph("1001", "R", grey=12)
    data_set.oct(
        "1001", "R", photograph, reference_instance_uid="nan", reference_filepath="Not reported"
    )
    exam = read_exam(data_set.write())
    assert greys(exam) == {"IR": 11}
    assert exam.locations is not None
    (data_set.root / "retinal_photography" / "manifest.tsv").unlink()
    assert list(greys(read_exam(data_set.root)).values()) == [11]


def test_never_a_photograph_of_the_other_eye(data_set):
    data_set.oct("1001", "R", data_set.photograph("1001", "L", grey=12))
    data_set.photograph("1001", "L", "faf", grey=92)
    exam = read_exam(data_set.write())
    assert exam.enface == ()
    assert exam.locations is None
    assert any("other eye" in warning for warning in exam.warnings)


def test_eyes_that_differ_are_left_unknown(data_set):
    data_set.oct("1001", "R", data_set.photograph("1001", "R", grey=11), laterality="L")
    data_set.photograph("1001", "L", "faf", grey=92)
    exam = read_exam(data_set.write())
    assert exam.laterality is None
    assert 92 not in greys(exam).values()
    assert any("eye" in warning for warning in exam.warnings)


def test_what_was_not_downloaded(data_set):
    here = data_set.oct("1001", "R", data_set.photograph("1001", "R"))
    gone = data_set.oct("1001", "L", data_set.photograph("1001", "L"))
    for person in ("1002", "1003"):
        elsewhere = data_set.oct(person, "R")
        elsewhere.unlink()
        elsewhere.parent.rmdir()
    gone.unlink()
    told: list[str] = []
    exams = list(
        read_exams(data_set.write(), on_error=lambda entry, error: told.append(str(error)))
    )
    assert [exam.source for exam in exams] == [here]
    assert len(told) == 2
    assert gone.name in told[0]
    assert "lacks the folders of 2 exams" in told[1]


def test_an_oct_that_the_manifest_lacks_is_listed_too(data_set):
    data_set.oct("1001", "R", data_set.photograph("1001", "R"))
    data_set.oct("1002", "L", data_set.photograph("1002", "L"))
    data_set.octs.pop()
    exams = list(read_exams(data_set.write()))
    assert [exam.laterality for exam in exams] == ["OD", "OS"]
    assert [len(exam.enface) for exam in exams] == [1, 1]
    assert len(read_exam(exams[1].source).enface) == 1


@pytest.mark.parametrize("stated", ["/../outside.dcm", "/retinal_oct/../../outside.dcm"])
def test_a_path_that_leads_out_of_the_data_set_is_not_followed(data_set, stated):
    data_set.oct("1001", "R", data_set.photograph("1001", "R", grey=11))
    data_set.oct("1001", "R", filepath=stated).rename(data_set.root.parent / "outside.dcm")
    found = [entry.path for entry in find_exams(data_set.write())]
    assert [path.name for path in found] == ["1001_spectralis_0_oct_r.dcm"]


DAMAGED = [b"", b"a\tb\n1\t2\n", b"\x00\xff" * 500, b'"' * 200_000]


@pytest.mark.parametrize("content", DAMAGED)
@pytest.mark.parametrize("folder", ["retinal_oct", "retinal_photography"])
def test_a_damaged_manifest_leaves_the_files(data_set, content, folder):
    scans = [
        data_set.oct("1001", eye, data_set.photograph("1001", eye, grey=grey))
        for eye, grey in (("L", 12), ("R", 11))
    ]
    (data_set.write() / folder / "manifest.tsv").write_bytes(content)
    listed = list(read_exams(data_set.root))
    assert sorted(exam.source for exam in listed) == sorted(scans)
    for exam in [*listed, *map(read_exam, scans)]:
        assert list(greys(exam).values()) == [12 if exam.laterality == "OS" else 11]
        (told,) = [warning for warning in exam.warnings if "manifest" in warning]
        assert "1001" not in told


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_manifest_with_no_file_is_one_sentence(data_set, content):
    data_set.oct("1001", "R", data_set.photograph("1001", "R")).unlink()
    manifest = data_set.write() / "retinal_oct" / "manifest.tsv"
    manifest.write_bytes(content)
    with pytest.raises(ExamReadError, match="manifest") as caught:
        read_exam(data_set.root)
    assert "\n" not in str(caught.value)


def test_rows_before_the_damage_hold(data_set):
    scan = data_set.oct("1001", "R", data_set.photograph("1001", "R", grey=11))
    data_set.photograph("1001", "R", "faf", grey=91)
    manifest = data_set.write() / "retinal_oct" / "manifest.tsv"
    manifest.write_bytes(manifest.read_bytes() + b"x" * 200_000 + b"\t1\n")
    assert greys(read_exam(data_set.root)) == greys(read_exam(scan)) == {"IR": 11, "FAF": 91}


def test_a_file_that_is_listed_twice_is_one_exam(data_set):
    data_set.oct("1001", "R", data_set.photograph("1001", "R", grey=11))
    data_set.photograph("1001", "L", "faf", grey=92)
    where = data_set.octs[0]["filepath"].replace("/structural_oct/", "//structural_oct/")
    data_set.octs.append(data_set.octs[0] | {"filepath": where})
    (entry,) = find_exams(data_set.write())
    assert entry.laterality == "OD"
    assert greys(entry.read()) == {"IR": 11}
    data_set.octs.append(data_set.octs[0] | {"laterality": "L"})
    (entry,) = find_exams(data_set.write())
    assert entry.laterality is None  # the rows contradict each other
    exam = entry.read()
    assert (exam.laterality, greys(exam)) == ("OD", {"IR": 11})  # as the file itself says


def test_options_do_not_apply(data_set):
    data_set.oct("1001", "R", data_set.photograph("1001", "R"))
    with pytest.raises(InputError, match="axes"):
        read_exam(data_set.write(), axes="yxz")


def test_a_large_manifest_is_listed_in_seconds(data_set):
    scan = data_set.oct("1001", "R", data_set.photograph("1001", "R", grey=11))
    for number in range(30_000):
        row = data_set.octs[0] | {
            "filepath": f"/retinal_oct/structural_oct/x/{number}/{number}.dcm"
        }
        data_set.octs.append(row)
        data_set.photographs.append(data_set.photographs[0] | {"filepath": f"/x/{number}.dcm"})
    root = data_set.write()
    entries = list(find_exams(root))
    assert [entry.path for entry in entries] == [scan, root]
    assert "30000 exams" in entries[1].name
    assert greys(read_exam(scan)) == {"IR": 11}


def test_pydicom_reads_what_this_file_writes(data_set):
    scan = data_set.oct("1001", "R", data_set.photograph("1001", "R"))
    assert pydicom.dcmread(scan).pixel_array.shape == (3, 16, 20)
