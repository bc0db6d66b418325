"""Other organs: a nodule in a lung, a beating ventricle, each with its truth."""

from __future__ import annotations

import numpy as np
import pytest

from octcube_core.phantom.organs import ORGANS, make_ct, make_ultrasound


@pytest.mark.parametrize("organ", ORGANS)
def test_the_same_seed_gives_the_same_exam(organ):
    first, second, other = (ORGANS[organ]((1, n)) for n in (0, 0, 1))
    np.testing.assert_array_equal(first.volume.voxels, second.volume.voxels)
    assert (first.volume.voxels != other.volume.voxels).mean() > 0.1
    assert "synthetic" in first.device.lower()


def test_nodules_are_where_and_as_large_as_the_truth_says():
    exams = [make_ct((2, n)) for n in range(10)]
    present = [exam for exam in exams if exam.labels["nodule"]]
    assert 2 <= len(present) <= 8
    for exam in exams:
        assert ("nodule" in exam.masks) == bool(exam.labels["nodule"])
        assert np.isnan(exam.labels["diameter_mm"]) == (not exam.labels["nodule"])
    for exam in present:
        mask = exam.masks["nodule"]
        volume_mm3 = mask.sum() * np.prod(exam.volume.spacing_mm)
        ball = np.pi / 6 * exam.labels["diameter_mm"] ** 3
        assert 0.5 * ball < volume_mm3 < 1.7 * ball
        lung = np.percentile(exam.volume.voxels, 20)
        assert exam.volume.voxels[mask].mean() > 1.5 * lung
    sizes = {
        kind: np.mean([e.labels["diameter_mm"] for e in present if e.labels["malignant"] == kind])
        for kind in (0.0, 1.0)
    }
    assert sizes[1.0] > sizes[0.0]


def _volume_ml(cavity: np.ndarray, pitch_mm: float) -> float:
    """Area-length method: 8 area^2 / (3 pi length)."""
    rows, columns = np.nonzero(cavity)
    points = np.column_stack([rows, columns]) * pitch_mm
    spread = np.cov(points.T)
    axis = np.linalg.eigh(spread)[1][:, -1]
    length = np.ptp(points @ axis) + pitch_mm
    area = cavity.sum() * pitch_mm**2
    return 8 * area**2 / (3 * np.pi * length) / 1000


def test_the_ventricle_beats_with_its_ejection_fraction():
    for number in range(4):
        exam = make_ultrasound((3, number))
        volumes = [_volume_ml(f, exam.volume.spacing_mm[1]) for f in exam.masks["ventricle"]]
        labels = exam.labels
        assert labels["ef"] == pytest.approx(100 * (1 - labels["esv_ml"] / labels["edv_ml"]))
        assert max(volumes) == pytest.approx(labels["edv_ml"], rel=0.15)
        assert min(volumes) == pytest.approx(labels["esv_ml"], rel=0.2)
        cavity = exam.masks["ventricle"]
        wall = np.roll(cavity, 12, axis=2) & ~cavity
        assert exam.volume.voxels[cavity].mean() < 0.75 * exam.volume.voxels[wall].mean()
