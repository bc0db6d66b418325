"""Exams among many DICOM files: a DICOMDIR, a folder tree, one file for each B-scan."""

from __future__ import annotations

import numpy as np
import pytest
from dicom_files import (
    SERIES,
    STUDY,
    VOXELS,
    infrared,
    item,
    opt,
    photograph,
    save,
    scan_on,
    shared,
)
from pydicom import uid
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.sequence import Sequence

from octcube_core.errors import ExamReadError
from octcube_core.readers import dicom_series, find_exams, read_exam, read_exams
from octcube_core.readers.dicom_series import exams_of
from octcube_core.readers.options import NO_OPTIONS

LINES = [(10.5 + 8 * i, 12.5, 10.5 + 8 * i, 59.5) for i in range(4)]


def two_eyes(folder):
    """Both eyes of a patient, each with its localizer, and a report."""
    files = []
    for side in "RL":
        localizer = infrared(ImageLaterality=side)
        volume = scan_on(localizer, LINES, ImageLaterality=side)
        files += [
            save(localizer, folder / "OP" / f"{side}0"),
            save(volume, folder / "OCT" / f"{side}1"),
        ]
    report = photograph(SOPClassUID=uid.EncapsulatedPDFStorage)
    del report.PixelData
    files.append(save(report, folder / "REPORT"))
    return files


def directory(folder, files, *, extra=(), **classes):
    """A DICOMDIR in ``folder`` that lists files (paths below it, or given components)."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = uid.MediaStorageDirectoryStorage
    meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    listed = [list(path.relative_to(folder).parts) for path in files] + [list(e) for e in extra]
    records = [item(DirectoryRecordType="PATIENT", PatientName="Secretname^Jane")]
    records += [
        item(DirectoryRecordType="IMAGE", ReferencedFileID=parts, **classes) for parts in listed
    ]
    dataset.DirectoryRecordSequence = Sequence(records)
    return save(dataset, folder / "DICOMDIR")


def test_headers_of_the_exams_in_a_folder(tmp_path):
    entries = exams_of(two_eyes(tmp_path))
    assert [(entry.path.name, entry.laterality) for entry in entries] == [
        ("L1", "OS"),
        ("R1", "OD"),
    ]
    for entry in entries:
        assert entry.modalities == ("OCT", "IR")
        assert entry.shape == (4, 40, 48)
        assert entry.device == "Heidelberg Engineering Spectralis"
        assert entry.scan_pattern == "raster"
        exam = entry.produce()
        assert exam.laterality == entry.laterality
        assert exam.locations is not None


def test_listing_decodes_no_pixels(tmp_path, monkeypatch):
    files = two_eyes(tmp_path)
    monkeypatch.setattr("octcube_core.readers.dicom_exam.build_exam", None)
    monkeypatch.setattr(np, "fromfile", None)
    assert len(exams_of(files)) == 2


def test_images_of_the_same_eye_are_shared_by_its_volumes(tmp_path):
    files = [
        save(opt(ImageLaterality=side, StudyInstanceUID=STUDY), tmp_path / f"{side}{number}.dcm")
        for side in "LR"
        for number in range(2)
    ]
    files.append(save(photograph(SeriesDescription="FAF"), tmp_path / "faf.dcm"))
    kinds = [(entry.laterality, entry.modalities) for entry in exams_of(files)]
    assert kinds == [("OS", ("OCT", "FAF"))] * 2 + [("OD", ("OCT",))] * 2


def test_other_films_are_no_exams(tmp_path):
    film = save(
        opt(SOPClassUID=uid.UltrasoundMultiFrameImageStorage, Modality="US"), tmp_path / "us.dcm"
    )
    plain = save(
        opt(SOPClassUID=uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage, Modality="OT"),
        tmp_path / "plain.dcm",
    )
    (tmp_path / "broken.dcm").write_bytes(b"no DICOM at all")
    assert [e.path for e in exams_of([film, plain, tmp_path / "broken.dcm"])] == [plain]


def test_damaged_volume_says_so_when_read(tmp_path):
    path = save(opt(), tmp_path / "oct.dcm")
    path.write_bytes(path.read_bytes()[:-4000])
    (entry,) = exams_of([path])
    with pytest.raises(ExamReadError, match=r"oct\.dcm.*truncated"):
        entry.read()


class TestDirectory:
    def test_lists_its_exams(self, tmp_path):
        medium = directory(tmp_path, two_eyes(tmp_path))
        found = list(find_exams(medium))
        assert [entry.laterality for entry in found] == ["OS", "OD"]
        assert [exam.laterality for exam in read_exams(medium)] == ["OS", "OD"]
        with pytest.raises(ExamReadError, match="holds 2 exams"):
            read_exam(medium)
        assert read_exam(medium, exam=2).locations is not None

    def test_names_in_small_letters(self, tmp_path):
        path = save(opt(), tmp_path / "oct" / "im01")
        medium = directory(tmp_path, [], extra=[("OCT", "IM01")])
        assert read_exam(medium).source == path

    def test_a_missing_file_is_an_error_of_its_own(self, tmp_path):
        files = two_eyes(tmp_path)
        medium = directory(tmp_path, files, ReferencedSOPClassUIDInFile=opt().SOPClassUID)
        files[1].unlink()
        errors = []
        exams = list(read_exams(medium, on_error=lambda entry, error: errors.append(str(error))))
        assert [exam.laterality for exam in exams] == ["OS"]
        assert any("R1 is missing" in error for error in errors)

    @pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
    @pytest.mark.parametrize(
        "parts", [("..", "SECRET"), ("/etc/passwd",), ("A/../../SECRET",), ("..\\SECRET",)]
    )
    def test_files_outside_are_refused(self, tmp_path, parts):
        save(opt(), tmp_path / "SECRET")
        inside = save(opt(), tmp_path / "medium" / "OCT")
        medium = directory(tmp_path / "medium", [inside])
        content = medium.read_bytes()
        assert b"OCT" in content
        medium = directory(tmp_path / "medium", [inside], extra=[parts])
        errors = []
        exams = list(read_exams(medium, on_error=lambda entry, error: errors.append(str(error))))
        assert [exam.source.name for exam in exams] == ["OCT"]
        assert len(errors) <= 1
        assert all("outside" in error or "missing" in error for error in errors)

    def test_link_to_the_outside_is_refused(self, tmp_path):
        save(opt(), tmp_path / "SECRET")
        (tmp_path / "medium").mkdir()
        (tmp_path / "medium" / "OCT").symlink_to(tmp_path / "SECRET")
        medium = directory(tmp_path / "medium", [], extra=[("OCT",)])
        with pytest.raises(ExamReadError, match="outside"):
            read_exam(medium)

    def test_cut_off(self, tmp_path):
        medium = directory(tmp_path, two_eyes(tmp_path))
        medium.write_bytes(medium.read_bytes()[:-60])
        with pytest.raises(ExamReadError, match="DICOMDIR is truncated"):
            list(dicom_series.entries(medium, NO_OPTIONS))


class TestOneFileForEachBscan:
    VOXELS = np.random.default_rng(1).integers(0, 256, (5, 40, 48), dtype=np.uint8)

    def files(self, folder, numbers=(1, 2, 3, 4, 5), **elements):
        localizer = infrared(PixelSpacing=[0.01, 0.01])
        found = [save(localizer, folder / "ir.dcm")]
        for index, number in enumerate(numbers):
            row = 10.5 + 8 * index
            dataset = scan_on(
                localizer,
                [(row, 12.5, row, 59.5)],
                self.VOXELS[index : index + 1],
                InstanceNumber=number,
                SharedFunctionalGroupsSequence=shared(PixelSpacing=[0.004, 0.01]),
                **elements,
            )
            # names in another order than the B-scans
            found.append(save(dataset, folder / f"{(7 * index) % 5}.dcm"))
        return found

    def test_become_one_volume(self, tmp_path):
        (entry,) = exams_of(self.files(tmp_path))
        assert entry.shape == (5, 40, 48)
        assert "5 files" in entry.name
        exam = entry.produce()
        np.testing.assert_array_equal(exam.volume.voxels, self.VOXELS)
        assert exam.volume.spacing_mm == pytest.approx((0.08, 0.004, 0.01), rel=1e-5)
        assert [line[0, 0] for line in exam.locations.polylines] == [10, 18, 26, 34, 42]
        assert exam.scan_pattern == "raster"

    @pytest.mark.parametrize(
        ("numbers", "told"),
        [((1, 2, 4, 5, 6), "number 3"), ((1, 2, 2, 3, 4), "number 2 twice")],
    )
    def test_missing_and_doubled_ones(self, tmp_path, numbers, told):
        (entry,) = exams_of(self.files(tmp_path, numbers))
        with pytest.raises(ExamReadError, match=told):
            entry.read()

    def test_late_start_is_said(self, tmp_path):
        (entry,) = exams_of(self.files(tmp_path, (7, 8, 9, 10, 11)))
        assert any("start at 7" in warning for warning in entry.produce().warnings)

    def test_positions_decide_the_order(self, tmp_path):
        files = []
        for index, z in enumerate((0.3, 0.0, 0.1, 0.4, 0.2)):
            dataset = opt(
                self.VOXELS[index : index + 1],
                SeriesInstanceUID=SERIES,
                SharedFunctionalGroupsSequence=None,
                ImagePositionPatient=[0, 0, z],
                ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            )
            files.append(save(dataset, tmp_path / f"{index}.dcm"))
        (entry,) = exams_of(files)
        exam = entry.produce()
        np.testing.assert_array_equal(exam.volume.voxels, self.VOXELS[[1, 2, 4, 0, 3]])
        assert exam.volume.spacing_mm[0] == pytest.approx(0.1)

    def test_other_series_and_eyes_stay_apart(self, tmp_path):
        files = self.files(tmp_path / "one")
        other = opt(self.VOXELS[:1], SeriesInstanceUID=SERIES, ImageLaterality="R")
        files.append(save(other, tmp_path / "other.dcm"))
        assert sorted(entry.shape[0] for entry in exams_of(files)) == [1, 5]


def test_entries_tell_no_identity(tmp_path):
    told = str([(e.name, e.part, e.device) for e in exams_of(two_eyes(tmp_path))])
    assert "Secret" not in told


@pytest.mark.parametrize(
    "damaged", [b"1.2.840.10008.5.1.4.1.1.77.1.5.4", b"Secretname^Jane", b"ID4711"]
)
def test_a_damaged_header_in_a_folder_is_not_quoted(tmp_path, damaged, recwarn, capfd):
    files = two_eyes(tmp_path)
    for path in files:
        content = path.read_bytes()
        path.write_bytes(content.replace(damaged, b"\xff" + damaged[1:]))
    list(read_exams(tmp_path, on_error=lambda entry, error: None))
    told = [str(warning.message) for warning in recwarn] + list(capfd.readouterr())
    assert told == ["", ""]


def test_copies_of_a_single_bscan_are_one_exam(tmp_path):
    scan = opt(VOXELS[:1], SeriesInstanceUID=uid.generate_uid(), InstanceNumber=1)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        save(scan, tmp_path / folder / "oct.dcm")
    (entry,) = find_exams(tmp_path)
    assert entry.read().volume.shape == (1, 40, 48)
