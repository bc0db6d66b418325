"""A folder laid out like the AI-READI data set: each OCT with its own photographs, and with no other's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset

from octcube_core.errors import ExamReadError, InputError
from octcube_core.readers import aireadi, find_exams, read_exam, read_exams

RNG = np.random.default_rng(3)
DEVICES = {"heidelberg_spectralis": ("Heidelberg", "Spectralis"), "icare_eidon": ("iCare", "Eidon")}
OCT_COLUMNS = """
person_id manufacturer manufacturers_model_name anatomic_region imaging laterality height width
number_of_frames pixel_spacing slice_thickness sop_instance_uid filepath reference_instance_uid
reference_filepath
"""
PHOTOGRAPHY_COLUMNS = """
person_id manufacturer manufacturers_model_name laterality anatomic_region imaging height width
color_channel_dimension sop_instance_uid filepath
"""


def save(path: Path, pixels, sop_class, person, eye, **elements):
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid.generate_uid()
    dataset.PatientID, dataset.PatientName = person, person
    dataset.StudyInstanceUID, dataset.ImageLaterality = uid.generate_uid(), eye
    dataset.Manufacturer, dataset.ManufacturerModelName = "Heidelberg Engineering", "Spectralis"
    if pixels.ndim == 3:
        dataset.NumberOfFrames = len(pixels)
    dataset.Rows, dataset.Columns = pixels.shape[-2:]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 8, 8, 7
    dataset.PixelRepresentation = 0
    dataset.PixelData = pixels.tobytes()
    dataset["PixelData"].VR = "OB"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return str(dataset.SOPInstanceUID)


def frame_groups(reference: str, frames: int):
    """Shared spacing, and for each frame a horizontal line on the photograph."""
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.004, 0.012], 0.12
    shared = Dataset()
    shared.PixelMeasuresSequence = [measures]
    groups = []
    for frame in range(frames):
        location = Dataset()
        location.ReferencedSOPClassUID = uid.OphthalmicPhotography8BitImageStorage
        location.ReferencedSOPInstanceUID = reference
        row = 10.0 + 10 * frame
        location.ReferenceCoordinates = [row, 4.0, row, 36.0]
        location.OphthalmicImageOrientation = "LINEAR"
        group = Dataset()
        group.OphthalmicFrameLocationSequence = [location]
        groups.append(group)
    return {
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": groups,
    }


class DataSet:
    """Writes a copy of the layout, row by row."""

    def __init__(self, root: Path):
        self.root = root
        self.octs: list[dict[str, str]] = []
        self.photographs: list[dict[str, str]] = []

    def photograph(self, person, eye, kind="ir", region="Macula", grey=7, listed_eye=None):
        imaging = {
            "ir": "Infrared Reflectance",
            "faf": "Autofluorescence",
            "cfp": "Color Photography",
        }[kind]
        device = "icare_eidon" if kind == "faf" else "heidelberg_spectralis"
        number = len(self.photographs)
        where = f"retinal_photography/{kind}/{device}/{person}/{person}_{number}_{kind}_{eye.lower()}.dcm"
        pixels = np.full((40, 40), grey, np.uint8)
        sop = uid.OphthalmicPhotography8BitImageStorage
        instance = save(self.root / where, pixels, sop, person, eye)
        maker, model = DEVICES[device]
        self.photographs.append(
            {
                "person_id": person,
                "manufacturer": maker,
                "manufacturers_model_name": model,
                "laterality": listed_eye or eye,
                "anatomic_region": region,
                "imaging": imaging,
                "sop_instance_uid": instance,
                "filepath": f"/{where}",
            }
        )
        return instance, where

    def oct(self, person, eye, reference=("", ""), region="Macula", **row):
        voxels = RNG.integers(0, 256, (3, 16, 20), dtype=np.uint8)
        name = f"{person}_spectralis_{len(self.octs)}_oct_{eye.lower()}.dcm"
        where = f"retinal_oct/structural_oct/heidelberg_spectralis/{person}/{name}"
        sop = uid.OphthalmicTomographyImageStorage
        groups = frame_groups(reference[0], 3) if reference[0] else {}
        instance = save(self.root / where, voxels, sop, person, eye, **groups)
        stated = {
            "person_id": person,
            "manufacturer": "Heidelberg",
            "manufacturers_model_name": "Spectralis",
            "anatomic_region": region,
            "imaging": "OCT",
            "laterality": eye,
            "height": "16",
            "width": "20",
            "number_of_frames": "3",
            "pixel_spacing": "[0.004, 0.012]",
            "slice_thickness": "0.12",
            "sop_instance_uid": instance,
            "filepath": f"/{where}",
            "reference_instance_uid": reference[0],
            "reference_filepath": f"/{reference[1]}" if reference[1] else "",
        }
        self.octs.append(stated | row)
        return self.root / where

    def write(self, suffix="tsv", separator="\t", line="\n", encoding="utf-8", rename=()):
        tables = {
            "retinal_oct": (OCT_COLUMNS, self.octs),
            "retinal_photography": (PHOTOGRAPHY_COLUMNS, self.photographs),
        }
        for folder, (names, rows) in tables.items():
            columns = names.split()
            header = [dict(rename).get(column, column) for column in columns]
            lines = [header, *([row.get(column, "") for column in columns] for row in rows)]
            quoted = [
                separator.join(f'"{cell}"' if separator in cell else cell for cell in cells)
                for cells in lines
            ]
            (self.root / folder).mkdir(parents=True, exist_ok=True)
            text = line.join(quoted) + line
            (self.root / folder / f"manifest.{suffix}").write_bytes(text.encode(encoding))
        return self.root


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
    photographs, modalities = aireadi.photographs_of(scan)
    assert [modalities[path] for path in photographs] == ["IR", "FAF"]
    assert aireadi.photographs_of(data_set.root.parent / "scan.dcm") is None


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


@pytest.mark.parametrize("content", [b"", b"a\tb\n1\t2\n", b"\x00\xff" * 500, b'"' * 200_000])
def test_a_damaged_manifest_is_one_sentence(data_set, content):
    data_set.oct("1001", "R", data_set.photograph("1001", "R"))
    manifest = data_set.write() / "retinal_oct" / "manifest.tsv"
    manifest.write_bytes(content)
    with pytest.raises(ExamReadError, match="manifest") as caught:
        read_exam(data_set.root)
    assert "\n" not in str(caught.value)


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
