"""The store of synthetic eyes: what goes in comes out, and a half-made one is not used."""

from __future__ import annotations

import numpy as np
import pytest

from octcube_core.errors import InputError
from octcube_core.phantom import DISEASES, make_exam
from octcube_core.preprocess import resize_volume
from train.__main__ import main
from train.data.phantoms import TRAINING_EYES, lesion_bits, make_store
from train.data.store import MANIFEST, VolumeStore, new_store
from train.data.volumes import VolumeDataset


def test_a_row_is_the_eye_as_the_model_would_see_it(small_store):
    store = VolumeStore.open(small_store)
    exam = make_exam((TRAINING_EYES, 5, 33))
    volume, _ = store.read(33)
    expected = resize_volume(exam.volume, (12, 64, 64)).numpy() * 255
    assert np.abs(volume - expected).max() <= 0.5
    row = store.manifest.iloc[33]
    assert row[list(DISEASES)].tolist() == exam.truth.labels.tolist()
    assert row["laterality"] == exam.laterality


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


def test_a_store_is_never_overwritten(small_store):
    with pytest.raises(InputError, match="exists already"):
        make_store(small_store, count=2, size=(12, 64, 64), seed=1, workers=1)


def test_an_unfinished_store_is_refused(small_store, tmp_path):
    with pytest.raises(InputError, match=f"no {MANIFEST}"):
        VolumeStore.open(tmp_path)


@pytest.mark.parametrize(
    "wrong", [["--n=0"], ["--n=-3"], ["--seed=-1"], ["--workers=0"], ["--size", "0", "8", "8"]]
)
def test_bad_arguments_are_one_line_and_leave_nothing(wrong, tmp_path, capsys):
    arguments = ["phantoms", "--out", str(tmp_path / "eyes"), "--n", "2", *wrong]
    assert main(arguments) == 2
    assert capsys.readouterr().err.startswith("train: error:")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_run_leaves_nothing(tmp_path):
    def fail_in_the_middle():
        with new_store(tmp_path / "eyes", 4, (3, 16, 16)) as folder:
            assert (folder / "volumes.zarr").is_dir()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_in_the_middle()
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_label_is_named(small_store):
    with pytest.raises(InputError, match="'FLU'"):
        VolumeDataset(VolumeStore.open(small_store), "train", ["DME", "FLU"])
