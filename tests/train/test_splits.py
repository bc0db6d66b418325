"""No patient is ever in two splits, every split has its share of each label, and what was drawn can be read again."""

from __future__ import annotations

import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from octcube_core.errors import InputError
from train.data.splits import Splits


def _cohort(patients: int = 200, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame]:
    """One to four exams of each patient, two diseases (30 % and 8 %), a measured value."""
    generator = np.random.default_rng(seed)
    exams = np.repeat(np.arange(patients), generator.integers(1, 5, patients))
    manifest = pd.DataFrame({"patient": [f"p{number:04}" for number in exams]})
    person = generator.random((patients, 3))[exams]
    labels = pd.DataFrame(
        {"DME": person[:, 0] < 0.3, "RNV": person[:, 1] < 0.08, "area": person[:, 2]}, dtype="f4"
    )
    return manifest, labels


COHORT, LABELS = _cohort()


def _patients(splits: pd.Series, manifest: pd.DataFrame, word: str) -> set[str]:
    return set(manifest["patient"][splits == word])


@settings(max_examples=60, deadline=None)
@given(
    patients=st.integers(10, 60),
    seed=st.integers(0, 10_000),
    folds=st.none() | st.integers(2, 5),
    test_share=st.none() | st.floats(0, 0.4),
    train_share=st.floats(0.05, 1),
    stratified=st.booleans(),
)
def test_no_patient_is_in_two_splits(patients, seed, folds, test_share, train_share, stratified):
    manifest, labels = _cohort(patients, seed)
    labels[manifest.index % 7 == 0] = np.nan
    drawn = Splits(
        seed=seed,
        folds=folds,
        fold=0 if folds is None else folds - 1,
        validation_share=0.2 if folds is None else None,
        test_share=test_share,
        train_share=train_share,
        stratify=["area"] if stratified else None,
    )
    try:
        splits = drawn.apply(manifest, labels)
    except InputError as error:
        assert stratified
        assert "too few" in str(error)  # noqa: PT017
        return
    known = splits[labels.notna().any(axis=1)]
    assert (known.groupby(manifest["patient"]).nunique() == 1).all()
    assert (splits[labels.isna().all(axis=1)] == "unused").all()
    assert _patients(splits, manifest, "train")


def test_shares_are_kept_for_patients_and_for_each_label():
    drawn = Splits(validation_share=0.1, test_share=0.2, stratify=["DME", "RNV", "area"])
    splits = drawn.apply(COHORT, LABELS)
    share = {word: len(_patients(splits, COHORT, word)) / 200 for word in ("test", "validation")}
    assert share == {"test": 0.2, "validation": 0.1}
    person = LABELS.groupby(COHORT["patient"]).max()
    for disease in ("DME", "RNV"):
        diseased = person.index[person[disease] == 1]
        testing = _patients(splits, COHORT, "test") & set(diseased)
        assert abs(len(testing) - 0.2 * len(diseased)) <= 1.5, disease
    quarter = person.index[person["area"] < person["area"].quantile(0.2)]
    assert abs(len(_patients(splits, COHORT, "test") & set(quarter)) - 8) <= 1.5


def test_every_patient_validates_in_exactly_one_fold_and_never_tests_and_trains():
    folds = [
        Splits(folds=5, fold=fold, test_share=0.2, stratify=["RNV"]).apply(COHORT, LABELS)
        for fold in range(5)
    ]
    testing = _patients(folds[0], COHORT, "test")
    validating = [_patients(splits, COHORT, "validation") for splits in folds]
    assert all(_patients(splits, COHORT, "test") == testing for splits in folds)
    assert sum(map(len, validating)) == len(set().union(*validating)) == 160
    assert not testing & set().union(*validating)
    diseased = LABELS.groupby(COHORT["patient"]).max()["RNV"] == 1
    counts = [sum(diseased[list(members)]) for members in validating]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("stratify", [None, ["DME"]])
def test_smaller_shares_of_the_training_patients_are_inside_larger_ones(stratify):
    shared = {"validation_share": 0.1, "test_share": 0.2, "stratify": stratify, "seed": 4}
    training = [
        _patients(Splits(train_share=share, **shared).apply(COHORT, LABELS), COHORT, "train")
        for share in (0.05, 0.1, 0.2, 0.5, 1.0)
    ]
    assert [len(members) for members in training] == [7, 14, 28, 70, 140]
    for smaller, larger in pairwise(training):
        assert smaller < larger
    if stratify:
        diseased = LABELS.groupby(COHORT["patient"]).max()["DME"]
        of_all = diseased[list(training[-1])].mean()
        assert abs(diseased[list(training[2])].sum() - of_all * 28) <= 1.5


def test_the_manifest_decides_what_no_share_is_given_for():
    manifest = COHORT.assign(split="train")
    manifest.loc[manifest["patient"] < "p0030", "split"] = "test"
    manifest.loc[manifest["patient"].between("p0030", "p0049"), "split"] = "validation"
    as_it_is = Splits().apply(manifest)
    assert (as_it_is == manifest["split"]).all()
    thinned = Splits(train_share=0.2).apply(manifest)
    assert (thinned[thinned != "unused"] == manifest["split"][thinned != "unused"]).all()
    assert len(_patients(thinned, manifest, "train")) == 30
    folded = Splits(folds=2).apply(manifest)
    assert _patients(folded, manifest, "test") == _patients(as_it_is, manifest, "test")
    assert len(_patients(folded, manifest, "validation")) == 85


def test_few_shots_take_so_many_patients_of_each_class():
    labels = pd.DataFrame({"stage": COHORT["patient"].str[-1].astype("f4") % 3})
    shared = {"validation_share": 0.1, "test_share": 0.2}
    five = Splits(shots=5, **shared).apply(COHORT, labels)
    stage = labels.groupby(COHORT["patient"])["stage"].first()
    training = _patients(five, COHORT, "train")
    assert stage[list(training)].value_counts().to_dict() == {0: 5, 1: 5, 2: 5}
    assert training < _patients(Splits(shots=9, **shared).apply(COHORT, labels), COHORT, "train")
    several = Splits(shots=3, **shared).apply(COHORT, LABELS[["DME", "RNV"]])
    person = LABELS.groupby(COHORT["patient"]).max().loc[list(_patients(several, COHORT, "train"))]
    assert person["DME"].sum() >= 3
    assert person["RNV"].sum() >= 3


def test_the_same_seed_draws_the_same_whatever_the_order_of_the_exams():
    drawn = Splits(seed=7, validation_share=0.1, test_share=0.2, stratify=["DME"])
    splits = drawn.apply(COHORT, LABELS)
    order = np.random.default_rng(0).permutation(len(COHORT))
    again = drawn.apply(COHORT.iloc[order], LABELS.iloc[order]).sort_index()
    assert (splits == again).all()
    other = Splits(seed=8, validation_share=0.1, test_share=0.2, stratify=["DME"])
    assert (splits != other.apply(COHORT, LABELS)).any()


def test_written_splits_are_read_again_for_every_fold(tmp_path):
    file = tmp_path / "out" / "splits.json"
    shared = {"folds": 4, "test_share": 0.1, "train_share": 0.5, "seed": 3, "file": str(file)}
    first = Splits(fold=1, **shared).apply(COHORT, LABELS)
    text = file.read_text()
    assert json.loads(text)["settings"]["seed"] == 3
    fewer = COHORT[COHORT["patient"] > "p0010"]  # of the patients that were drawn, some are gone
    again = Splits(fold=1, **shared).apply(fewer, LABELS.loc[fewer.index])
    assert (again == first[fewer.index]).all()
    other = Splits(fold=2, **shared).apply(COHORT, LABELS)
    assert not _patients(first, COHORT, "validation") & _patients(other, COHORT, "validation")
    assert file.read_text() == text
    assert [path.name for path in file.parent.iterdir()] == ["splits.json"]


def test_a_file_of_other_settings_or_patients_is_refused(tmp_path):
    file = tmp_path / "splits.json"
    settings_ = {"validation_share": 0.1, "test_share": 0.2, "file": str(file)}
    Splits(seed=1, **settings_).apply(COHORT)
    with pytest.raises(InputError, match="drawn with seed 1, but the settings say 2"):
        Splits(seed=2, **settings_).apply(COHORT)
    more, _ = _cohort(210)
    with pytest.raises(InputError, match="lacks 10 of the 210 patients"):
        Splits(seed=1, **settings_).apply(more)
    content = json.loads(file.read_text())
    content["folds"][0]["test"].append(content["folds"][0]["train"][0])
    for text in (json.dumps(content), "[]", "", '{"settings": 1, "folds": [], "format": 1}'):
        file.write_text(text)
        with pytest.raises(InputError, match=r"no (sound )?file of splits"):
            Splits(seed=1, **settings_).apply(COHORT)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"test_share": 0.6, "validation_share": 0.5}, "together below 1"),
        ({"train_share": 0.0}, "train_share is above 0"),
        ({"fold": 1}, "needs splits.folds"),
        ({"folds": 3, "fold": 3}, "counts them from 0"),
        ({"folds": 3, "validation_share": 0.1}, "exclude each other"),
        ({"shots": 500, "stratify": ["DME"]}, "training patients have .*, fewer than the 500"),
        ({"shots": 5, "stratify": ["area"]}, "area has no classes"),
        ({"stratify": ["age"]}, "no label or manifest column 'age'"),
    ],
)
def test_settings_that_make_no_sense_are_refused(options, sentence):
    with pytest.raises(InputError, match=sentence):
        Splits(**options).apply(COHORT, LABELS)


def test_a_stratum_that_is_too_small_is_named():
    labels = pd.DataFrame({"rare": (COHORT["patient"] == "p0003").astype("f4")})
    with pytest.raises(InputError, match="Only 1 patients have rare = 1, too few"):
        Splits(validation_share=0.1, test_share=0.2, stratify=["rare"]).apply(COHORT, labels)


def test_a_manifest_with_a_patient_in_two_splits_is_refused():
    manifest = pd.DataFrame({"patient": ["a", "a", "b"], "split": ["train", "test", "train"]})
    with pytest.raises(InputError, match="1 patients are in several splits"):
        Splits().apply(manifest)
