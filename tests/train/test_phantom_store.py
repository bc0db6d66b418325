"""The store of synthetic eyes holds what the generator made."""

from __future__ import annotations

import numpy as np
import pytest

from octcube_core.phantom import DISEASES, make_exam
from octcube_core.preprocess import resize_volume
from train.__main__ import main
from train.data.phantoms import TRAINING_EYES, lesion_bits
from train.data.store import VolumeStore


def test_a_row_is_the_eye_as_the_model_would_see_it(small_store):
    store = VolumeStore.open(small_store)
    exam = make_exam((TRAINING_EYES, 5, 33))
    expected = resize_volume(exam.volume, (12, 64, 64)).numpy() * 255
    assert np.abs(store.read(33) - expected).max() <= 0.5
    np.testing.assert_array_equal(store.lesions(33), lesion_bits(exam, (12, 64, 64)))
    row = store.manifest.iloc[33]
    assert row[list(DISEASES)].tolist() == exam.truth.labels.tolist()
    assert row["laterality"] == exam.laterality
    assert row["spacing_y_mm"] == exam.volume.spacing_mm[1]


def test_splits_are_disjoint_and_reproducible(small_store):
    manifest = VolumeStore.open(small_store).manifest
    assert manifest["split"].value_counts().to_dict() == {"train": 37, "validation": 3}
    expected = np.random.default_rng(5).permutation(40)[:3]
    chosen = manifest.index[manifest["split"] == "validation"]
    assert sorted(chosen) == sorted(expected.tolist())


def test_the_smallest_lesion_survives_shrinking():
    exam = make_exam(0, diseases=("DR",), shape=(60, 256, 256))
    exam.truth.masks["DR"][:] = False
    exam.truth.masks["DR"][31, 100, 77] = True
    bits = lesion_bits(exam, (12, 64, 64))
    where = np.argwhere(bits)
    np.testing.assert_array_equal(where, [[31 * 12 // 60, 100 // 4, 77 // 4]])
    assert bits[tuple(where[0])] == 1 << DISEASES.index("DR")


@pytest.mark.parametrize(
    "wrong", [["--n=0"], ["--n=-3"], ["--seed=-1"], ["--workers=0"], ["--size", "0", "8", "8"]]
)
def test_bad_arguments_are_one_line_and_leave_nothing(wrong, tmp_path, capsys):
    arguments = ["phantoms", "--out", str(tmp_path / "eyes"), "--n", "2", *wrong]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("train: error:")
    assert list(tmp_path.iterdir()) == []
