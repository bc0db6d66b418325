"""Labels find their exams, whatever the table calls yes and no, and contradictions are refused in one sentence."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from octcube_core.errors import InputError
from octcube_core.identity import patient_hash
from train.data.labels import Labels

SALT = "5a17"


@pytest.fixture
def store():
    """Three patients: "007" with both eyes and two visits of one, "b" with one eye, "c" with a side unknown."""
    patients = [patient_hash(name, SALT) for name in ("007", "007", "007", "b", "c")]
    manifest = pd.DataFrame(
        {
            "patient": patients,
            "laterality": ["OD", "OS", "OD", "OS", None],
            "visit": [1, 1, 2, 1, 1],
            "DME": [0, 1, 0, 1, np.nan],
        }
    )
    return SimpleNamespace(manifest=manifest, salt=SALT)


@pytest.fixture
def table(tmp_path):
    def write(text: str) -> str:
        path = tmp_path / "labels.csv"
        path.write_text(text)
        return str(path)

    return write


def _column(labels: Labels, store, name: str) -> list[float]:
    found = labels.table(store)
    assert found.dtypes.eq(np.float32).all()
    assert found.index.equals(store.manifest.index)
    return found[name].tolist()


def test_raw_ids_are_found_by_their_hash_and_other_exams_stay_unknown(store, table):
    file = table("patient,stroke\n007,yes\n b ,No\nx,yes\n")
    found = _column(Labels("binary", ["stroke"], file), store, "stroke")
    np.testing.assert_array_equal(found, [1, 1, 1, 0, np.nan])


def test_ids_that_are_hashed_already_are_found_too(store, table):
    file = table(f"patient,stroke\n{store.manifest['patient'][3]},1\n")
    found = _column(Labels("binary", ["stroke"], file), store, "stroke")
    np.testing.assert_array_equal(found, [np.nan] * 3 + [1, np.nan])


def test_a_key_of_several_columns_tells_eyes_and_visits_apart(store, table):
    file = table("patient,laterality,visit,DME\n007,R,1,0\n007,left,1.0,true\n007,OD,2,1\n")
    labels = Labels("binary", ["DME"], file, key=["patient", "laterality", "visit"])
    np.testing.assert_array_equal(_column(labels, store, "DME"), [0, 1, 1, np.nan, np.nan])


def test_parquet_with_numbers(store, tmp_path):
    file = tmp_path / "labels.parquet"
    pd.DataFrame({"visit": [1.0, 2.0], "area": [0.5, np.nan]}).to_parquet(file)
    labels = Labels("regression", ["area"], str(file), key=["visit"])
    np.testing.assert_array_equal(_column(labels, store, "area"), [0.5, 0.5, np.nan, 0.5, 0.5])


def test_columns_of_the_manifest(store):
    found = _column(Labels("binary", ["DME"]), store, "DME")
    np.testing.assert_array_equal(found, [0, 1, 0, 1, np.nan])


def test_classes_are_found_in_their_order_and_written_down(store, table):
    file = table("patient,stage\n007,10\nb,2\nc,\n")
    labels = Labels("multiclass", ["stage"], file)
    np.testing.assert_array_equal(_column(labels, store, "stage"), [1, 1, 1, 0, np.nan])
    assert labels.classes == ["2", "10"]
    listed = Labels("multiclass", ["stage"], file, classes=["10", "5", "2"])
    np.testing.assert_array_equal(_column(listed, store, "stage"), [0, 0, 0, 2, np.nan])


def test_none_is_a_class_and_a_listed_class_is_never_unknown(store, table):
    file = table("patient,stage\n007,none\nb,mild\nc,NA\n")
    labels = Labels("multiclass", ["stage"], file)
    np.testing.assert_array_equal(_column(labels, store, "stage"), [1, 1, 1, 0, np.nan])
    listed = Labels("multiclass", ["stage"], file, classes=["none", "mild", "NA"])
    np.testing.assert_array_equal(_column(listed, store, "stage"), [0, 0, 0, 1, 2])


def test_auxiliary_targets_stand_after_the_main_ones(store, table):
    file = table("patient,EF,ESV\n007,55.5,40\nb,,60\n")
    labels = Labels("regression", ["EF"], file, auxiliary={"ESV": 0.2})
    found = labels.table(store)
    assert list(found.columns) == ["EF", "ESV"]
    np.testing.assert_array_equal(found.loc[3], [np.nan, 60])


def test_no_columns_means_all_of_the_file(store, table):
    labels = Labels("binary", [], table("patient,E11,I10\n007,1,0\n"))
    assert list(labels.table(store).columns) == labels.columns == ["E11", "I10"]


def test_lines_of_one_key_may_complete_each_other(store, table):
    file = table("patient,E11,I10\n007,1,\n007,1,0\n")
    found = Labels("binary", ["E11", "I10"], file).table(store)
    assert found.loc[0].tolist() == [1, 0]


def test_how_many_exams_have_labels_is_said(store, table, caplog):
    with caplog.at_level("INFO"):
        Labels("binary", ["stroke"], table("patient,stroke\n007,1\nx,1\n")).table(store)
        text = "patient,E11,I10,stage\n007,1,none,none\nb,0,1,mild\nc,1,NA,\n"
        Labels("binary", ["E11", "I10"], table(text)).table(store)
        Labels("multiclass", ["stage"], table(text)).table(store)
    assert "labels for 3 of 5 exams; 1 of its rows" in caplog.text
    assert "labels for 5 of 5 exams, fewer for I10 1." in caplog.text  # none is no answer here ...
    assert "labels for 4 of 5 exams (mild 1, none 3)." in caplog.text  # ... and a class there


@pytest.mark.parametrize(
    ("text", "options", "sentence"),
    [
        ("patient,stroke\n007,1\n", {"columns": ["strok"]}, "no column 'strok' of labels"),
        ("person,stroke\n007,1\n", {}, "no column 'patient', which labels.key"),
        ("patient,stroke\n007,1\n007,0\n", {}, "lines 2 and 3 have the same key"),
        ("patient,stroke\nx,1\n", {}, "No row of .* an exam of the store"),
        ("patient,stroke\n007,maybe\n", {}, "line 2: stroke is 'maybe' where 0 or 1"),
        ("patient,stroke\n007,many\n", {"kind": "regression"}, "where a number belongs"),
        ("patient,stroke\n007,inf\n", {"kind": "regression"}, "where a number belongs"),
        ("patient,stroke\n007,\n", {}, "no known label"),
        ("patient,stroke\n", {}, "has no rows"),
        ("", {}, "no table of CSV or Parquet"),
        ("patient,stroke\n007,C\n", {"kind": "multiclass", "classes": ["A", "B"]}, "one of A, B"),
        ("patient,stroke\n007,C\n", {"kind": "multiclass"}, "at least two distinct classes"),
        ("patient,stroke\n007,1\n", {"auxiliary": {"x": 1.0}}, "belongs to kind: regression"),
        ("patient,stroke\n007,1\n", {"columns": ["stroke", "stroke"]}, "named twice"),
    ],
)
def test_what_is_wrong_with_labels_is_said_in_one_sentence(store, table, text, options, sentence):
    settings = {"kind": "binary", "columns": ["stroke"], "file": table(text), **options}
    with pytest.raises(InputError, match=sentence) as error:
        Labels(**settings).table(store)
    assert str(error.value).count(". ") == 0


def test_a_missing_file(store):
    with pytest.raises(InputError, match="no file"):
        Labels("binary", ["stroke"], "nowhere.csv").table(store)
