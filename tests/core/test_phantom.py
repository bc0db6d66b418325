"""Synthetic eyes: reproducible, anatomically sane, truthful about their lesions, and not trivial."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import pytest

from octcube_core.errors import InputError
from octcube_core.phantom import DISEASES, make_exam
from octcube_core.phantom.alignment import Alignment
from octcube_core.phantom.anatomy import Anatomy
from octcube_core.phantom.diseases import DISEASE_MODELS
from octcube_core.phantom.lesions import Lesions
from octcube_core.phantom.retina import healthy_retina

SMALL = (30, 128, 128)


def test_the_same_seed_gives_the_same_eye():
    first, second, other = make_exam(3), make_exam(3), make_exam(4)
    np.testing.assert_array_equal(first.volume.voxels, second.volume.voxels)
    np.testing.assert_array_equal(first.enface[0].pixels, second.enface[0].pixels)
    assert first.truth.diseases == second.truth.diseases
    assert (first.volume.voxels != other.volume.voxels).mean() > 0.3


def test_a_seed_may_be_a_sequence():
    eyes = [make_exam((1, n), shape=SMALL).volume.voxels for n in (0, 0, 1)]
    np.testing.assert_array_equal(eyes[0], eyes[1])
    assert (eyes[0] != eyes[2]).any()


def test_an_eye_has_what_an_exam_has():
    exam = make_exam(0, laterality="OS")
    assert exam.volume.shape == (60, 256, 256)
    assert exam.volume.voxels.dtype == np.uint8
    np.testing.assert_allclose(exam.volume.spacing_mm, (0.1, 0.0075, 6 / 256))
    assert exam.modalities == ("OCT", "IR", "FAF")
    assert exam.laterality == "OS"
    assert exam.scan_pattern == "raster"
    assert "synthetic" in f"{exam.device} {exam.format}".lower()


def test_bscans_lie_on_the_fundus_image_at_their_true_distance():
    exam = make_exam(0)
    lines = np.array(exam.locations.polylines)
    pitch = exam.enface[0].spacing_mm[0]
    rows = lines[:, 0, 0]
    np.testing.assert_allclose(np.diff(rows) * pitch, exam.volume.spacing_mm[0], rtol=1e-9)
    lengths = (lines[:, 1, 1] - lines[:, 0, 1]) * pitch
    np.testing.assert_allclose(lengths, 255 * exam.volume.spacing_mm[2], rtol=1e-9)
    assert lines.min() > 0
    assert lines.max() < exam.enface[0].shape[0] - 1


@pytest.mark.parametrize(("laterality", "side"), [("OD", 1), ("OS", -1)])
def test_the_disc_is_nasal(laterality, side):
    ir = make_exam(1, diseases=(), laterality=laterality).image("IR").pixels.astype(float)
    quarter = ir.shape[1] // 8
    middle = ir[ir.shape[0] // 2 - 30 : ir.shape[0] // 2 + 10]
    right, left = middle[:, -quarter:].mean(), middle[:, :quarter].mean()
    assert (right - left) * side > 5


def _bright_voxels(exam) -> tuple[float, float]:
    """Mean number of bright voxels per A-scan at the fovea and 1 mm beside it: a measure of thickness."""
    fovea_x, fovea_z = exam.truth.fovea_mm
    pitch_z, _, pitch_x = exam.volume.spacing_mm
    bscan, at = round((fovea_z + 3) / pitch_z - 0.5), round((fovea_x + 3) / pitch_x - 0.5)
    voxels = exam.volume.voxels[bscan - 1 : bscan + 2].mean(axis=0)
    bright = (voxels > 0.35 * voxels.max()).sum(axis=0)
    ring = np.r_[bright[at - 48 : at - 38], bright[at + 39 : at + 49]]
    return bright[at - 3 : at + 4].mean(), ring.mean()


def test_the_fovea_is_a_pit():
    centre, ring = np.mean([_bright_voxels(make_exam(n, diseases=())) for n in range(6)], axis=0)
    assert centre < 0.9 * ring


@pytest.mark.parametrize("disease", DISEASES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_disease_changes_the_eye_where_its_mask_says(disease, seed):
    healthy = make_exam(seed, diseases=(), laterality="OD")
    sick = make_exam(seed, diseases=(disease,), laterality="OD")
    assert healthy.truth.masks == {}
    assert sick.truth.diseases == (disease,)
    mask = sick.truth.masks[disease]
    assert 20 <= mask.sum() < 0.15 * mask.size
    difference = np.abs(sick.volume.voxels.astype(float) - healthy.volume.voxels)
    assert difference[mask].mean() > 2 * difference[~mask].mean()


def test_lesions_stay_in_their_layer_when_another_disease_moves_it():
    rng = np.random.default_rng(4)
    alignment = Alignment.sample(rng, 1920.0, still=True)
    retina = healthy_retina(Anatomy.sample(rng), rng, alignment, (20, 64), "OD")
    lesions = Lesions()
    DISEASE_MODELS["DME"](retina, lesions, rng)
    before = retina.top("inl")
    DISEASE_MODELS["CRAO/CRVO"](retina, lesions, rng)
    edema = lesions.regions[0]
    assert edema.disease == "DME"
    assert np.abs(retina.top("inl") - before).max() > 20  # micrometres: the layer has moved
    np.testing.assert_array_equal(edema.top(retina), retina.top("inl"))
    np.testing.assert_array_equal(edema.bottom(retina), retina.top("elm"))


def test_the_hyaloid_stays_in_front_of_a_swollen_retina():
    masks = make_exam(6, diseases=("PVD", "CRAO/CRVO")).truth.masks
    assert (masks["PVD"] & masks["CRAO/CRVO"]).sum() < 0.02 * masks["PVD"].sum()


def test_labels_follow_the_order_of_the_released_classifier():
    exam = make_exam(5, diseases=("RNV", "DME"), shape=SMALL)
    assert exam.truth.diseases == ("DME", "RNV")
    assert exam.truth.labels.tolist() == [1, 0, 0, 0, 0, 0, 0, 1]


def test_unknown_diseases_and_tiny_shapes_are_refused():
    with pytest.raises(InputError, match=r"'FLU'.*DME"):
        make_exam(0, diseases=("FLU",))
    with pytest.raises(InputError, match="64 x 16 voxels"):
        make_exam(0, shape=(10, 8, 8))


def _trivial_features(number: int) -> tuple[np.ndarray, np.ndarray]:
    exam = make_exam((3, 77, number), shape=(20, 256, 128))
    voxels = exam.volume.voxels
    histogram = np.bincount((voxels >> 2).ravel(), minlength=64) / voxels.size
    profile = voxels.mean(axis=(0, 2)) / 255
    return np.concatenate([np.log(histogram + 1e-5), profile]), exam.truth.labels


@pytest.mark.slow
def test_brightness_and_mean_profile_do_not_give_the_diseases_away(monkeypatch):
    linear_model = pytest.importorskip("sklearn.linear_model", reason="needs scikit-learn")
    from sklearn.metrics import roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # A process per core: threads of their own would only wait for each other.
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(_trivial_features, range(500), chunksize=20))
    features = np.array([row[0] for row in rows])
    labels = np.array([row[1] for row in rows])
    best = 0.0
    for strength in (0.01, 0.1, 1.0):
        aurocs = []
        for disease in range(len(DISEASES)):
            model = make_pipeline(
                StandardScaler(), linear_model.LogisticRegression(C=strength, max_iter=2000)
            )
            model.fit(features[:250], labels[:250, disease])
            scores = model.decision_function(features[250:])
            aurocs.append(roc_auc_score(labels[250:, disease], scores))
        best = max(best, float(np.mean(aurocs)))
    assert best <= 0.70
