"""Diagnosis codes become the ICD-10 categories that a clinician would write down."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from octcube_core.checkpoints.card import Label
from octcube_core.errors import InputError
from octcube_core.identity import patient_hash
from tests.train.tiny_store import make_tiny_store
from train.__main__ import main
from train.data.icd import categories, category_name
from train.data.icd_labels import code_labels


@pytest.mark.parametrize(
    ("code", "category"),
    [
        ("250.00", "E11"),
        ("25000", "E11"),
        ("362.01", "E11"),
        ("401.9", "I10"),
        ("i10", "I10"),
        ("e11.319", "E11"),
        ("E11319", "E11"),
        (" H35.30 ", "H35"),
        ("M1A.9XX0", "M1A"),
        ("V45.81", "Z95"),  # ICD-9: aortocoronary bypass; no such code in ICD-10
        ("V45.0XXA", "V45"),  # ICD-10: occupant of a car
        ("E888.9", "W19"),  # ICD-9: an unspecified fall
        ("E88.89", "E88"),
        ("E11.311A", "E11"),  # no such code, but such a category
        ("001", "A00"),  # cut short; every kind of cholera is of one category
    ],
)
def test_a_code_has_its_category(code, category):
    assert categories(code) == (category,)


def test_a_combination_has_every_category_and_what_does_not_exist_none():
    assert categories("115.14") == ("B39", "I39")
    for code in ("999.99X", "XYZ", "", "I64", "250", "365.70"):
        assert categories(code) == (), code


def test_the_version_decides_where_both_have_the_code():
    assert categories("E8889", "9") == ("W19",)
    assert categories("E8889", "10") == categories("E8889") == ("E88",)
    assert categories("4019", "10") == ()


def test_labels_count_patients_not_codes():
    codes = pd.DataFrame(
        {
            "patient": ["a", "a", "a", "b", "c", "c"],
            "code": ["250.00", "E11.9", "401.9", "I10", "nonsense", "H40.9"],
        }
    )
    found = code_labels(codes, minimum_count=2)
    assert found.labels == (Label("Essential (primary) hypertension", "I10", ("I10",)),)
    assert found.table.set_index("patient")["I10"].to_dict() == {"a": 1, "b": 1, "c": 0}
    assert found.unmapped == {"NONSENSE": 1}
    assert found.rare == 2
    with pytest.raises(InputError, match="No ICD-10 category has 3 patients"):
        code_labels(codes, minimum_count=3)


def test_the_command_writes_labels_and_names_and_says_what_it_could_not_map(tmp_path, capsys):
    lines = ["patient,code,date", "007,25000,2020-01-02", "8,E11.9,2021-05-06", "8,what,", ",I10,"]
    (tmp_path / "codes.csv").write_text("\n".join(lines))
    out = tmp_path / "labels.parquet"
    ours = sorted(patient_hash(name, "grains") for name in ("007", "8"))
    store = make_tiny_store(
        tmp_path / "store", 4, columns={"patient": [ours[0]] * 2 + [ours[1]] * 2}
    )
    (store / "salt.txt").write_text("grains\n")
    arguments = [str(tmp_path / "codes.csv"), "--out", str(out), "--minimum-count", "2"]
    with pytest.raises(
        SystemExit, match="2"
    ):  # without a store's salt, ids would stay what they are
        main(["icd-labels", *arguments])
    assert not out.exists()
    assert main(["icd-labels", *arguments, "--store", str(store)]) == 0
    assert pd.read_parquet(out).to_dict("list") == {"patient": ours, "E11": [1, 1]}
    names = json.loads(out.with_suffix(".json").read_text())
    assert names["labels"] == [
        {
            "name": category_name("E11"),
            "abbreviation": "E11",
            "icd10": ["E11"],
            "threshold": 0.5,
        }
    ]
    assert names["unmapped"] == {"WHAT": 1}
    assert "WHAT (1)" in capsys.readouterr().err
    assert not list(tmp_path.glob("*2020*"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "codes.csv",
        "labels.json",
        "labels.parquet",
        "store",
    ]
    (store / "salt.txt").unlink()
    assert main(["icd-labels", *arguments, "--store", str(store)]) == 2
    assert "has its salt.txt" in capsys.readouterr().err


def test_a_table_without_codes_is_refused(tmp_path, capsys):
    (tmp_path / "codes.csv").write_text("person,icd\n1,I10\n")
    arguments = [str(tmp_path / "codes.csv"), "--out", str(tmp_path / "labels.parquet")]
    arguments += ["--store", str(make_tiny_store(tmp_path / "store", 4))]
    assert main(["icd-labels", *arguments]) == 2
    assert "no column 'patient'" in capsys.readouterr().err
