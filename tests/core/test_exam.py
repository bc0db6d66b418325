from __future__ import annotations

import numpy as np
import pytest

from octcube_core.errors import ExamReadError
from octcube_core.exam import BScanLocations, EnFaceImage, Exam, OCTVolume, Patient

VOXELS = np.zeros((3, 4, 5), np.uint8)


@pytest.mark.parametrize("shape", [(4, 5), (0, 4, 5), (3, 4, 0), (3, 4, 5, 3)])
def test_volume_needs_three_axes_that_are_not_empty(shape):
    with pytest.raises(ExamReadError, match="three axes"):
        OCTVolume(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("bad", [0.0, -0.1, float("nan"), float("inf")])
def test_spacing_must_be_positive(bad):
    with pytest.raises(ExamReadError, match="must be positive"):
        OCTVolume(VOXELS, (0.1, bad, 0.01))


def test_unknown_spacing_stays_unknown():
    partly = OCTVolume(VOXELS, (None, 0.004, 0.006))
    assert partly.spacing_mm == (None, 0.004, 0.006)
    assert not partly.is_metric
    assert OCTVolume(VOXELS, (0.1, 0.004, 0.006)).is_metric


@pytest.mark.parametrize(
    ("voxels", "expected"),
    [
        (np.ones((1, 2, 2), np.uint8), (0, 255)),
        (np.ones((1, 2, 2), np.uint16), (0, 65535)),
        (np.full((1, 2, 2), 0.3, np.float32), (0, 1)),
        (np.array([[[-2.0, 7.0]]], np.float32), (-2, 7)),
    ],
)
def test_black_and_white_follow_the_data_type(voxels, expected):
    assert OCTVolume(voxels).black_white == expected


def test_black_is_always_below_white():
    black, white = OCTVolume(np.full((1, 2, 2), 5.0, np.float32)).black_white
    assert black < white  # else the contrast of a constant image divides by zero
    with pytest.raises(ExamReadError, match="black"):
        OCTVolume(VOXELS, value_range=(10, 10))


def test_not_a_number_is_refused():
    with pytest.raises(ExamReadError, match="not numbers"):
        OCTVolume(np.array([[[1.0, np.nan]]], np.float32))
    with pytest.raises(ExamReadError, match="numbers"):
        OCTVolume(np.zeros((1, 2, 2), complex))


def test_enface_image_is_grey_or_rgb():
    assert EnFaceImage(np.zeros((6, 7, 3), np.uint8), "CFP").shape == (6, 7)
    with pytest.raises(ExamReadError, match="grey or RGB"):
        EnFaceImage(np.zeros((6, 7, 4), np.uint8), "CFP")
    with pytest.raises(ExamReadError, match="modality"):
        EnFaceImage(np.zeros((6, 7), np.uint8), "MRI")  # type: ignore[arg-type]


def test_every_bscan_has_its_place():
    infrared = EnFaceImage(np.zeros((9, 9), np.uint8), "IR")
    line = np.array([[1.0, 0.0], [1.0, 8.0]])
    exam = Exam(OCTVolume(VOXELS), (infrared,), BScanLocations((line, line + 1, line + 2)))
    assert exam.modalities == ("OCT", "IR")
    assert exam.image("IR") is infrared
    assert exam.image("FAF") is None
    with pytest.raises(ExamReadError, match="3 B-scans but 2 places"):
        Exam(OCTVolume(VOXELS), (infrared,), BScanLocations((line, line)))
    with pytest.raises(ExamReadError, match="does not hold"):
        Exam(OCTVolume(VOXELS), (infrared,), BScanLocations((line,) * 3, image=1))
    with pytest.raises(ExamReadError, match="two"):
        BScanLocations((line[:1],))
    with pytest.raises(ExamReadError, match="not a number"):
        BScanLocations((line * np.nan,))


def test_patient_does_not_leak_into_logs():
    patient = Patient("Doe^Jane", "4711", "1950-01-01", "2024-02-03")
    exam = Exam(OCTVolume(VOXELS), patient=patient)
    for secret in ("Doe", "4711", "1950", "2024"):
        assert secret not in repr(patient)
        assert secret not in repr(exam)
