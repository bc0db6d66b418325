"""What is written, where, and what is never written."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile
from exam_strategies import CENTRE, RADIUS, assert_same_exam, circle_lines, exams, scan
from hypothesis import given, settings

from octcube_core.errors import InputError
from octcube_core.exam import BScanLocations, EnFaceImage, OCTVolume, Patient
from octcube_core.readers import read_exam
from octcube_core.writers import TARGETS, TRANSFER_SYNTAXES, write_exam

PATIENT = Patient("Zebedee^Quagga", "PID-993311", "1943-11-27", "2024-02-29")
SECRETS = (
    *(b"Zebedee", b"Quagga", b"993311"),
    *(b"19431127", b"1943-11-27", b"20240229", b"2024-02-29"),
)
NAMES = {"dicom": "out", "ome-tiff": "out.ome.tif", "folder": "out"}


def written_bytes(path):
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    assert files
    return b"".join(str(file).encode() + file.read_bytes() for file in files)


def of_possible_size(exam):
    return (exam.volume.spacing_mm[2] or 0.0) < 0.5  # general formats refuse other millimetres


@pytest.mark.parametrize("to", TARGETS)
def test_identity_is_nowhere(tmp_path, to):
    exam = scan("raster", patient=PATIENT, source=Path("/data/Quagga_Zebedee_19431127.vol"))
    out = tmp_path / NAMES[to]
    write_exam(exam, out, to)
    found = written_bytes(out)
    assert not [secret for secret in SECRETS if secret in found]


def test_identity_can_be_kept_in_dicom(tmp_path):
    write_exam(scan("raster", patient=PATIENT), tmp_path / "out", "dicom", keep_identity=True)
    found = written_bytes(tmp_path / "out")
    for secret in (b"Zebedee^Quagga", b"PID-993311", b"19431127", b"20240229"):
        assert found.count(secret) >= 3  # in each of the three files
    read = read_exam(tmp_path / "out" / "oct.dcm")
    assert read.patient == PATIENT


def test_a_removed_identity_is_said_to_be_removed(tmp_path):
    write_exam(scan("raster", patient=PATIENT), tmp_path / "out", "dicom")
    for file in (tmp_path / "out").iterdir():
        dataset = pydicom.dcmread(file)
        assert dataset.PatientIdentityRemoved == "YES"
        assert dataset.DeidentificationMethod
        assert dataset.LongitudinalTemporalInformationModified == "REMOVED"
        assert (dataset.PatientName, dataset.PatientID, dataset.StudyDate) == ("", "", "")


def test_two_exports_have_no_uid_in_common(tmp_path):
    exam = scan("raster")
    for name in ("one", "two"):
        write_exam(exam, tmp_path / name, "dicom")
    uids = [
        {str(element.value) for element in pydicom.dcmread(file).iterall() if element.VR == "UI"}
        for file in (tmp_path / "one" / "oct.dcm", tmp_path / "two" / "oct.dcm")
    ]
    own = [{uid for uid in found if not uid.startswith("1.2.840.10008.")} for found in uids]
    assert own[0]
    assert own[0].isdisjoint(own[1])


def test_places_count_from_the_corner_of_a_pixel(tmp_path):
    exam = scan("raster")
    write_exam(exam, tmp_path / "out", "dicom")
    dataset = pydicom.dcmread(tmp_path / "out" / "oct.dcm")
    faf = pydicom.dcmread(tmp_path / "out" / "faf.dcm")
    for group, line in zip(
        dataset.PerFrameFunctionalGroupsSequence, exam.locations.polylines, strict=True
    ):
        place = group.OphthalmicFrameLocationSequence[0]
        assert place.ReferencedSOPInstanceUID == faf.SOPInstanceUID
        assert place.OphthalmicImageOrientation == "LINEAR"
        np.testing.assert_allclose(place.ReferenceCoordinates, (line + 0.5).ravel(), atol=1e-4)


def test_a_raster_has_planes_in_the_patient(tmp_path):
    # From the top of the fundus image to its bottom, each from left to right: down and to the patient's left.
    exam = scan("raster")
    write_exam(exam, tmp_path / "out", "dicom")
    dataset = pydicom.dcmread(tmp_path / "out" / "oct.dcm")
    shared = dataset.SharedFunctionalGroupsSequence[0]
    np.testing.assert_allclose(
        shared.PlaneOrientationSequence[0].ImageOrientationPatient, [1, 0, 0, 0, 1, 0], atol=1e-9
    )
    last = dataset.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0]
    down = -5 * exam.volume.spacing_mm[0]
    np.testing.assert_allclose(last.ImagePositionPatient, [0, 0, down], atol=1e-6)
    assert dataset.OphthalmicVolumetricPropertiesFlag == "YES"


@pytest.mark.parametrize("pattern", ["radial", "circle", "line"])
def test_other_patterns_are_no_volume(tmp_path, pattern):
    write_exam(scan(pattern), tmp_path / "out", "dicom")
    dataset = pydicom.dcmread(tmp_path / "out" / "oct.dcm")
    assert dataset.OphthalmicVolumetricPropertiesFlag == "NO"
    shared = dataset.SharedFunctionalGroupsSequence[0]
    assert "ImageOrientationPatient" not in shared.PlaneOrientationSequence[0]
    assert "SpacingBetweenSlices" not in shared.PixelMeasuresSequence[0]


@pytest.mark.parametrize("to", TARGETS)
def test_a_synthetic_eye_says_so(tmp_path, to):
    out = tmp_path / NAMES[to]
    write_exam(scan("raster", format="synthetic", device="Synthetic eye"), out, to)
    assert b"ynthetic eye" in written_bytes(out)
    if to == "dicom":
        assert "ynthetic" in str(pydicom.dcmread(out / "ir.dcm").ImageComments)


@pytest.mark.parametrize("count", [1, 3, 4])
def test_a_tiff_of_few_bscans_is_a_stack(tmp_path, count):
    exam = scan("raster", bscans=count, locations=None)
    write_exam(exam, tmp_path / "out.ome.tif", "ome-tiff")
    with tifffile.TiffFile(tmp_path / "out.ome.tif") as tiff:
        assert tiff.is_ome
        assert len(tiff.pages) == count + 2
        assert tiff.pages[0].shape == exam.volume.shape[1:]
        assert "urn:uuid" in tiff.ome_metadata
        names = [series.name for series in tiff.series]
    assert names == ["OCT", "IR", "FAF"]


@settings(max_examples=40, deadline=None)
@given(exams().filter(of_possible_size))
def test_any_exam_comes_back_from_ome_tiff(exam):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "exam.ome.tif"
        assert write_exam(exam, out, "ome-tiff") == ()
        read = read_exam(out)
    assert_same_exam(read, exam)
    assert read.device == exam.device


@settings(max_examples=40, deadline=None)
@given(exams().filter(of_possible_size))
def test_any_exam_comes_back_from_a_folder(exam):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "exam"
        assert write_exam(exam, out, "folder") == ()
        read = read_exam(out)
    # A folder is read in the order of the modalities' names here and there.
    order = [image.modality for image in read.enface]
    assert sorted(order) == sorted(image.modality for image in exam.enface)
    enface = tuple(exam.image(modality) for modality in order)
    locations = exam.locations
    if locations is not None:
        on = order.index(exam.enface[locations.image].modality)
        locations = replace(locations, image=on)
    assert_same_exam(read, replace(exam, enface=enface, locations=locations))
    assert read.device == exam.device


def test_integers_of_other_types_are_written(tmp_path):
    exam = scan("raster")
    wide = OCTVolume(exam.volume.voxels.astype(np.int64), exam.volume.spacing_mm, (0, 255))
    write_exam(replace(exam, volume=wide), tmp_path / "out", "dicom")
    found = pydicom.dcmread(tmp_path / "out" / "oct.dcm").pixel_array
    np.testing.assert_array_equal(found, exam.volume.voxels)


def test_a_line_of_many_points_is_thinned(tmp_path):
    exam = scan("circle", bscans=1)
    many = BScanLocations(circle_lines(1, 20_001), 1)
    write_exam(replace(exam, locations=many), tmp_path / "out", "dicom")
    read = read_exam(tmp_path / "out" / "oct.dcm")
    (line,) = read.locations.polylines
    np.testing.assert_allclose(line[[0, -1]], many.polylines[0][[0, -1]], atol=1e-4)
    radii = np.hypot(*(line - CENTRE).T)
    np.testing.assert_allclose(radii, RADIUS, atol=1e-3)


def test_a_patient_of_odd_characters_is_one_value(tmp_path):
    patient = Patient("Zoë\\Q^\nK", "A\\1")
    write_exam(scan("raster", patient=patient), tmp_path / "out", "dicom", keep_identity=True)
    dataset = pydicom.dcmread(tmp_path / "out" / "oct.dcm")
    assert (dataset.PatientName, dataset.PatientID) == ("Zoë Q^ K", "A 1")


def test_values_that_are_no_numbers_are_refused(tmp_path):
    voxels = np.full((2, 3, 4), np.nan, np.float32)
    exam = scan("raster", volume=OCTVolume(voxels, value_range=(0, 1)), locations=None)
    for to in TARGETS:
        with pytest.raises(InputError, match="not numbers"):
            write_exam(exam, tmp_path / NAMES[to], to)
    assert list(tmp_path.iterdir()) == []


def test_what_a_folder_cannot_hold_is_refused(tmp_path):
    exam = scan("raster")
    twice = replace(exam, enface=(exam.enface[0], exam.enface[0]))
    with pytest.raises(InputError, match="2 IR images"):
        write_exam(twice, tmp_path / "out", "folder")
    deep = EnFaceImage(np.zeros((4, 5, 3), np.uint16), "CFP")
    with pytest.raises(InputError, match="more than 8 bits"):
        write_exam(replace(exam, enface=(*exam.enface, deep)), tmp_path / "out", "folder")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["dicom", "folder"])
def test_a_folder_that_holds_something_is_refused(tmp_path, to):
    out = tmp_path / "out"
    out.mkdir()
    write_exam(scan("raster"), out, to)  # an empty one is taken
    before = written_bytes(out)
    with pytest.raises(InputError, match="not empty"):
        write_exam(scan("raster"), out, to)
    assert written_bytes(out) == before
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(InputError, match="is a file"):
        write_exam(scan("raster"), tmp_path / "file", to)


def test_a_file_that_exists_is_refused(tmp_path):
    out = tmp_path / "out.ome.tif"
    out.write_bytes(b"mine")
    with pytest.raises(InputError, match="exists already"):
        write_exam(scan("raster"), out, "ome-tiff")
    assert out.read_bytes() == b"mine"
    with pytest.raises(InputError, match=r"\.ome\.tif"):
        write_exam(scan("raster"), tmp_path / "out.tif", "ome-tiff")
    assert [file.name for file in tmp_path.iterdir()] == ["out.ome.tif"]


@pytest.mark.parametrize("to", TARGETS)
def test_a_full_disk_leaves_nothing(tmp_path, to, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pydicom.dataset.FileDataset.save_as", full)
    monkeypatch.setattr("pathlib.Path.write_text", full)
    monkeypatch.setattr(tifffile.TiffWriter, "write", full)
    with pytest.raises(InputError, match="No space left on device"):
        write_exam(scan("raster"), tmp_path / NAMES[to], to)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("octcube_core.writers.dicom.oct_dataset", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_exam(scan("raster"), tmp_path / "out", "dicom")
    monkeypatch.setattr(tifffile.TiffWriter, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_exam(scan("raster"), tmp_path / "out.ome.tif", "ome-tiff")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("to", "options", "message"),
    [
        ("nifti", {}, "Unknown format"),
        ("dicom", {"transfer_syntax": "zip"}, "Unknown transfer syntax"),
        ("folder", {"transfer_syntax": "rle"}, "Only DICOM"),
        ("ome-tiff", {"keep_identity": True}, "Only DICOM"),
    ],
)
def test_options_that_do_not_apply_are_refused(tmp_path, to, options, message):
    with pytest.raises(InputError, match=message):
        write_exam(scan("raster"), tmp_path / "out.ome.tif", to, **options)


def test_a_volume_beyond_4_gb_asks_for_compression(tmp_path, monkeypatch):
    monkeypatch.setattr("octcube_core.writers.dicom_pixels._PIXEL_DATA_LIMIT", 11_000)
    with pytest.raises(InputError, match="jpegls"):
        write_exam(scan("raster"), tmp_path / "out", "dicom")
    for syntax in TRANSFER_SYNTAXES[2:]:
        write_exam(scan("raster"), tmp_path / syntax, "dicom", transfer_syntax=syntax)


@pytest.mark.parametrize("date", ["27. Nov. 1943", "19431399"])
def test_dates_of_no_known_form_are_left_out(tmp_path, date):
    patient = replace(PATIENT, birth_date=date)
    notes = write_exam(
        scan("raster", patient=patient), tmp_path / "out", "dicom", keep_identity=True
    )
    assert any("date" in note for note in notes)
    assert pydicom.dcmread(tmp_path / "out" / "oct.dcm").PatientBirthDate == ""
