"""Saliency as a DICOM Parametric Map: values, places and references come back, and no identity unless asked."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from aligned import raster_lines, with_lines
from dicom_files import VOXELS, item, opt, sequence
from pydicom.uid import ParametricMapStorage, generate_uid

from octcube_core.errors import ExamReadError, InputError
from octcube_core.exam import Exam, OCTVolume
from octcube_core.readers import find_exams, read_exam, read_exams
from octcube_core.results import Analysis
from octcube_core.token_grid import TokenGrid
from octcube_core.writers import write_exam
from octcube_core.writers.dicom_reasons import why_no_dicom
from octcube_core.writers.dicom_saliency import write_all_saliency_dicom, write_saliency_dicom

SECRETS = (b"Zebedee", b"Quagga", b"PID-993311", b"19431127", b"20240229")


@pytest.fixture
def dicom_exam(known_exam: Exam, tmp_path: Path) -> Exam:
    """The known exam as DICOM files with identity, read again; its planes lie in a frame of reference."""
    exam = with_lines(known_exam, raster_lines())
    write_exam(exam, tmp_path / "source", "dicom", keep_identity=True)
    return read_exam(tmp_path / "source" / "oct.dcm")


def analysis_of(exam: Exam, analysis: Analysis) -> Analysis:
    """The known maps with a value of its own in every token, on the volume of an exam."""
    saliency = np.random.default_rng(1).random(analysis.saliency.shape, np.float32)
    grid = TokenGrid(exam.volume.shape, analysis.grid.input_shape, analysis.grid.cube)
    return dataclasses.replace(analysis, grid=grid, saliency=saliency)


def places_and_values(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Where the centre of every token lies in mm, shape (z, y, x, 3), and its value."""
    volume = hd.imread(path).get_volume(dtype=np.float32)
    indices = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), axis=-1)
    places = indices @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    return places, volume.array


def test_every_value_lies_where_its_token_lies(
    dicom_exam: Exam, known_analysis: Analysis, tmp_path: Path
) -> None:
    analysis = analysis_of(dicom_exam, known_analysis)
    write_saliency_dicom(tmp_path / "map.dcm", dicom_exam, analysis, "DME")
    places, values = places_and_values(tmp_path / "map.dcm")
    # the volume of the source: frames along -z, rows along y, columns along x
    source = pydicom.dcmread(dicom_exam.source)
    first, second = (
        np.array(group.PlanePositionSequence[0].ImagePositionPatient, float)
        for group in source.PerFrameFunctionalGroupsSequence[:2]
    )
    index = analysis.index("DME")
    assert values.size == analysis.saliency[index].size
    for token in np.ndindex(analysis.saliency[index].shape):
        z, y, x = analysis.grid.voxel_of_token(token)
        place = first + z * (second - first) + np.array([x * 0.012, y * 0.004, 0.0])
        away = np.linalg.norm(places - place, axis=-1)
        assert away.min() < 1e-6
        assert values.ravel()[away.argmin()] == analysis.saliency[(index, *token)]


def test_sizes_and_the_meaning_of_values_are_stated(
    dicom_exam: Exam, known_analysis: Analysis, tmp_path: Path
) -> None:
    write_saliency_dicom(tmp_path / "map.dcm", dicom_exam, known_analysis, "AMD")
    dataset = pydicom.dcmread(tmp_path / "map.dcm")
    assert dataset.SOPClassUID == ParametricMapStorage
    (group,) = dataset.SharedFunctionalGroupsSequence
    (measures,) = group.PixelMeasuresSequence
    np.testing.assert_allclose(measures.PixelSpacing, [32 * 0.004, 32 * 0.012])
    assert float(measures.SliceThickness) == pytest.approx(2 * 0.12)
    assert float(measures.SpacingBetweenSlices) == pytest.approx(2 * 0.12)
    (mapping,) = group.RealWorldValueMappingSequence
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1.0, 0.0)
    assert mapping.DoubleFloatRealWorldValueFirstValueMapped == 0.0
    assert mapping.DoubleFloatRealWorldValueLastValueMapped == 1.0
    assert mapping.LUTLabel == "AMD"
    assert mapping.LUTExplanation == "Grad-CAM++ saliency, Age-related macular degeneration"
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    assert group.FrameAnatomySequence[0].FrameLaterality == "L"
    assert "Research use only; not for diagnosis" in dataset.ImageComments
    assert "toy 1.2 (synthetic)" in dataset.SeriesDescription
    assert dataset.ContentQualification == "RESEARCH"


def test_it_refers_to_the_file_it_was_computed_from(
    dicom_exam: Exam, known_analysis: Analysis, tmp_path: Path
) -> None:
    write_saliency_dicom(tmp_path / "map.dcm", dicom_exam, known_analysis, "AMD")
    made, source = pydicom.dcmread(tmp_path / "map.dcm"), pydicom.dcmread(dicom_exam.source)
    (series,) = made.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == source.SeriesInstanceUID
    for (reference,) in (made.SourceImageSequence, series.ReferencedInstanceSequence):
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert reference.ReferencedSOPClassUID == source.SOPClassUID
    assert made.StudyInstanceUID == source.StudyInstanceUID
    assert made.FrameOfReferenceUID == source.FrameOfReferenceUID
    assert made.SeriesInstanceUID != source.SeriesInstanceUID
    assert made.SOPInstanceUID != source.SOPInstanceUID


def test_no_identity_unless_it_is_asked_for(
    dicom_exam: Exam, known_analysis: Analysis, tmp_path: Path
) -> None:
    assert dicom_exam.patient.id == "PID-993311"
    write_saliency_dicom(tmp_path / "plain.dcm", dicom_exam, known_analysis, "AMD")
    content = (tmp_path / "plain.dcm").read_bytes()
    assert not [secret for secret in SECRETS if secret in content]
    plain = pydicom.dcmread(tmp_path / "plain.dcm")
    assert (plain.PatientName, plain.PatientID, plain.StudyDate) == ("", "", "")
    assert plain.PatientIdentityRemoved == "YES"
    write_saliency_dicom(tmp_path / "kept.dcm", dicom_exam, known_analysis, "AMD", True)
    content = (tmp_path / "kept.dcm").read_bytes()
    assert all(secret in content for secret in SECRETS)
    kept = pydicom.dcmread(tmp_path / "kept.dcm")
    assert kept.PatientName == "Zebedee^Quagga"
    assert kept.PatientIdentityRemoved == "NO"


@pytest.mark.skipif(
    shutil.which("dciodvfy") is None, reason="dciodvfy is missing: install dicom3tools"
)
@pytest.mark.parametrize("keep_identity", [False, True])
def test_it_conforms(
    dicom_exam: Exam, known_analysis: Analysis, tmp_path: Path, keep_identity: bool
) -> None:
    path = tmp_path / "map.dcm"
    write_saliency_dicom(path, dicom_exam, known_analysis, "AMD", keep_identity)
    run = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    told = (run.stderr + run.stdout).splitlines()
    assert "ParametricMap" in told
    assert [line for line in told if line.startswith("Error")] == []


def test_all_targets_are_one_series(
    dicom_exam: Exam, known_analysis: Analysis, tmp_path: Path
) -> None:
    names = write_all_saliency_dicom(tmp_path, dicom_exam, known_analysis)
    assert names == ("saliency_AMD.dcm", "saliency_DME.dcm", "saliency_ERM.dcm")
    files = [pydicom.dcmread(tmp_path / name) for name in names]
    assert len({file.SeriesInstanceUID for file in files}) == 1
    assert len({file.SOPInstanceUID for file in files}) == 3
    assert [int(file.InstanceNumber) for file in files] == [1, 2, 3]


def test_a_map_is_no_exam(dicom_exam: Exam, known_analysis: Analysis) -> None:
    folder = dicom_exam.source.parent
    write_saliency_dicom(folder / "map.dcm", dicom_exam, known_analysis, "AMD")
    assert [entry.path.name for entry in find_exams(folder)] == ["oct.dcm"]
    with pytest.raises(ExamReadError, match="an analysis, not B-scans"):
        read_exam(folder / "map.dcm")


UIDS = {
    "StudyInstanceUID": generate_uid(),
    "SeriesInstanceUID": generate_uid(),
    "FrameOfReferenceUID": generate_uid(),
}


def test_without_planes_it_has_a_frame_of_reference_of_its_own(
    known_analysis: Analysis, tmp_path: Path
) -> None:
    opt(**UIDS).save_as(tmp_path / "oct.dcm")
    exam = read_exam(tmp_path / "oct.dcm")
    analysis = analysis_of(exam, known_analysis)
    write_saliency_dicom(tmp_path / "map.dcm", exam, analysis, "AMD")
    assert pydicom.dcmread(tmp_path / "map.dcm").FrameOfReferenceUID not in UIDS.values()
    places, values = places_and_values(tmp_path / "map.dcm")
    z, y, x = analysis.grid.voxel_of_token((0, 0, 0)) * np.array([0.122, 0.00387, 0.0058])
    at = np.linalg.norm(places - np.array([x, y, z]), axis=-1)
    assert at.min() < 1e-5
    assert values.ravel()[at.argmin()] == analysis.saliency[0, 0, 0, 0]


def test_planes_that_contradict_the_spacing_are_not_used(
    known_analysis: Analysis, tmp_path: Path, dicom_exam: Exam
) -> None:
    volume = OCTVolume(dicom_exam.volume.voxels, (0.2, 0.004, 0.012))
    exam = dataclasses.replace(dicom_exam, volume=volume)
    write_saliency_dicom(tmp_path / "map.dcm", exam, known_analysis, "AMD")
    source = pydicom.dcmread(dicom_exam.source)
    made = pydicom.dcmread(tmp_path / "map.dcm")
    assert made.FrameOfReferenceUID != source.FrameOfReferenceUID


def series_of_files(folder: Path) -> list[str]:
    """A volume in files of one B-scan each; their UIDs."""
    uids = []
    folder.mkdir()
    for number, voxels in enumerate(VOXELS):
        measures = item(
            PixelMeasuresSequence=sequence(
                PixelSpacing=[0.00387, 0.0058], SpacingBetweenSlices=0.122
            )
        )
        file = opt(
            voxels[np.newaxis],
            InstanceNumber=number + 1,
            SharedFunctionalGroupsSequence=[measures],
            **UIDS,
        )
        file.save_as(folder / f"{number}.dcm")
        uids.append(file.SOPInstanceUID)
    return uids


def test_a_volume_in_many_files_refers_to_all(known_analysis: Analysis, tmp_path: Path) -> None:
    uids = series_of_files(tmp_path / "series")
    (exam,) = read_exams(tmp_path / "series")
    assert exam.volume.shape == VOXELS.shape
    analysis = analysis_of(exam, known_analysis)
    write_saliency_dicom(tmp_path / "map.dcm", exam, analysis, "AMD")
    made = pydicom.dcmread(tmp_path / "map.dcm")
    assert {item.ReferencedSOPInstanceUID for item in made.SourceImageSequence} == set(uids)
    (tmp_path / "series" / "2.dcm").unlink()
    with pytest.raises(InputError, match="not where they were"):
        write_saliency_dicom(tmp_path / "map.dcm", exam, analysis, "AMD")


def test_what_cannot_be_is_one_sentence(
    known_exam: Exam, dicom_exam: Exam, known_analysis: Analysis, tmp_path: Path
) -> None:
    voxels = dicom_exam.volume.voxels
    for exam, words in (
        (dataclasses.replace(known_exam, format="Heidelberg .vol"), "another format"),
        (dataclasses.replace(dicom_exam, scan_pattern="radial"), "a radial scan do not"),
        (dataclasses.replace(dicom_exam, volume=OCTVolume(voxels)), "all distances in mm"),
    ):
        assert words in why_no_dicom(exam)
        assert why_no_dicom(exam).count(".") <= 2
        with pytest.raises(InputError, match=words):
            write_saliency_dicom(tmp_path / "map.dcm", exam, known_analysis, "AMD")
    assert why_no_dicom(dicom_exam) == ""
    dicom_exam.source.unlink()
    with pytest.raises(InputError, match="not where they were"):
        write_saliency_dicom(tmp_path / "map.dcm", dicom_exam, known_analysis, "AMD")
    assert not (tmp_path / "map.dcm").exists()


def test_no_library_warns_with_a_patients_name(
    dicom_exam: Exam, known_analysis: Analysis, tmp_path: Path, recwarn, capfd
) -> None:
    write_saliency_dicom(tmp_path / "map.dcm", dicom_exam, known_analysis, "AMD", True)
    assert [str(warning.message) for warning in recwarn] == []
    told = capfd.readouterr()
    assert "Zebedee" not in told.out + told.err
