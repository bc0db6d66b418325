"""Patients and visits by the folders and file names of the reference implementation and of AI-READI."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from octcube_core.errors import InputError
from octcube_core.exam import Patient
from octcube_core.identity import shifted_day
from octcube_core.readers import read_exam
from train.data.prepare.exam_rows import Recipe, Refusal, Row, prepare_row
from train.data.prepare.identity import without_identity
from train.data.prepare.manifest import manifest_of
from train.data.prepare.reference_layout import NAMES, name_pattern
from train.data.prepare.sources import list_exams

RNG = np.random.default_rng(6)
RECIPE = Recipe((2, 16, 16), (16, 16), ("IR",), "auto", ("raster",))


def save(path: Path, shape=(12, 14)) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = RNG.integers(0, 256, shape, np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


def test_in_house_volumes_have_a_patient_and_a_visit(tmp_path):
    for patient, visit in (("p7", "v10"), ("p7", "v9"), ("p8", "v1")):
        folder = tmp_path / "Ophthal" / patient / "macOCT" / visit
        for number in range(3):
            save(folder / f"oct-{number:03d}.png")
        save(folder / "ir.png", (20, 20))
        (folder / "oct.json").write_text("{}")
    for source in (tmp_path, tmp_path / "Ophthal", tmp_path / "Ophthal" / "p7"):
        listed = list_exams(source, NAMES)
        assert [(one.patient, one.visit) for one in listed][:2] == [("p7", "v9"), ("p7", "v10")]
    row = prepare_row(list_exams(tmp_path, NAMES)[0], RECIPE, "salt")
    assert isinstance(row, Row)
    assert row.facts["modalities"] == ["OCT", "IR"]
    assert "p7" not in row.facts["shown"]


def test_volumes_side_by_side_in_the_folder_of_a_class_are_told_apart(tmp_path):
    stored = {}
    for kind in ("AMD", "NORMAL"):
        for patient in (1, 2):
            # The ninth before the tenth, whatever the names' order as texts.
            stored[f"{kind}_{patient}"] = np.stack(
                [save(tmp_path / kind / f"{kind}_{patient}_{number}.png") for number in range(11)]
            )
    listed = list_exams(tmp_path, NAMES)
    assert [one.patient for one in listed] == list(stored)
    for one in listed:
        assert np.array_equal(one.entry.read().volume.voxels, stored[one.patient])


def test_a_missing_bscan_is_one_refused_exam(tmp_path):
    for patient in (1, 2):
        for number in range(5):
            save(tmp_path / "DME" / f"dme_oct_{patient}_{number}.png")
    (tmp_path / "DME" / "dme_oct_2_3.png").unlink()
    first, second = (prepare_row(one, RECIPE, "salt") for one in list_exams(tmp_path, NAMES))
    assert isinstance(first, Row)
    assert isinstance(second, Refusal)
    assert "number 3" in second.reason


@pytest.mark.parametrize(
    ("stem", "patient", "visit", "eye"),
    [
        ("7_stage_4_6_18", "6", "7", None),
        ("hc01_spectralis_macula_v1_s1_R_12", "hc01", "1", "OD"),
        ("ms_spectralis_macula_v2_s1_L_9_3", "ms_9", "2", "OS"),
    ],
)
def test_names_of_public_data_sets(tmp_path, stem, patient, visit, eye):
    save(tmp_path / "class" / f"{stem}.png")
    (one,) = list_exams(tmp_path, NAMES)
    assert (one.patient, one.visit, one.laterality) == (patient, visit, eye)


def test_cached_volumes_with_equal_channels(tmp_path):
    grey = RNG.integers(0, 256, (4, 12, 14), np.uint8)
    (tmp_path / "POAG").mkdir()
    for name in ("POAG-000245-2-OD", "POAG-000245-3-OD"):
        np.save(tmp_path / "POAG" / f"{name}.npy", np.repeat(grey[:, None], 3, axis=1))
    first, second = list_exams(tmp_path, NAMES)
    assert (first.patient, first.visit, first.laterality) == ("000245", "2", "OD")
    assert np.array_equal(second.entry.read().volume.voxels, grey)


def test_a_user_states_other_names(tmp_path):
    for patient in ("x", "y"):
        for number in range(3):
            save(tmp_path / f"scan-{patient}-{number}.png")
    pattern = name_pattern(r"scan-(?P<patient>\w+)-(?P<slice>\d+)")
    assert [one.patient for one in list_exams(tmp_path, (pattern, *NAMES))] == ["x", "y"]
    (whole,) = list_exams(tmp_path, NAMES)
    assert isinstance(prepare_row(whole, RECIPE, "salt"), Refusal)
    with pytest.raises(InputError, match="patient"):
        name_pattern(r"scan-(\w+)")


def test_the_first_folder_below_the_source_is_the_patient(tmp_path):
    for place in ("p1/left", "p1/right", "p2"):
        for number in range(3):
            save(tmp_path / place / f"{number}.png")
    np.save(tmp_path / "loose.npy", np.zeros((2, 9, 9), np.uint8))
    found = {one.shown: one for one in list_exams(tmp_path, NAMES)}
    assert {one.patient for one in found.values() if not one.loose} == {"p1", "p2"}
    assert found[f"{tmp_path}/p1/left"].patient == found[f"{tmp_path}/p1/right"].patient
    assert found[f"{tmp_path}/loose.npy"].loose


def test_visits_without_dates_follow_the_names_of_their_folders():
    fact = {"patient": "a", "laterality": "OD", "device": None, "day": None, "cross_device": False}
    fact |= {"spacing": [None] * 3, "modalities": ["OCT"]}
    visits = ["v10", "v9", "v9", None]
    table = manifest_of([fact] * 4, visits, (0.8, 0.1, 0.1), 0)
    assert table["visit"].tolist() == [2, 1, 1, 3]
    assert table["eye"].nunique() == 1


def test_exams_of_unknown_laterality_are_eyes_of_their_own():
    fact = {"patient": "a", "laterality": None, "device": None, "day": 5, "cross_device": False}
    fact |= {"spacing": [None] * 3, "modalities": ["OCT"]}
    table = manifest_of(
        [fact, fact | {"day": 9}, fact | {"laterality": "OD"}], [None] * 3, (1, 0, 0), 0
    )
    assert table["eye"].nunique() == 3
    assert table["visit"].tolist() == [1, 1, 1]


def test_the_shares_are_of_patients():
    fact = {"laterality": "OD", "device": None, "day": None, "cross_device": False}
    fact |= {"spacing": [None] * 3, "modalities": ["OCT"]}
    rows = [fact | {"patient": str(number // 2)} for number in range(40)]
    table = manifest_of(rows, [None] * 40, (0.5, 0.3, 0.2), 7)
    patients = table.groupby("patient")["split"].unique()
    assert (patients.map(len) == 1).all()
    assert patients.map(lambda found: found[0]).value_counts().to_dict() == {
        "train": 10,
        "validation": 6,
        "test": 4,
    }


def test_shifted_days_keep_their_distances_and_hide_the_date():
    first, second = (shifted_day(day, "A1", "salt") for day in ("2024-02-28", "20240301"))
    assert second - first == 2
    assert shifted_day("2024-02-28", "A2", "salt") != first
    assert shifted_day("2024-02-28", "A1", "other") != first
    assert shifted_day(None, "A1", "salt") is None
    assert shifted_day("2024-13-45", "A1", "salt") is None


def test_words_that_tell_the_patient_are_replaced():
    patient = Patient("Zebedee^Quagga", "77", "1943-11-27", "2024-02-29")
    told = without_identity("in/77/QUAGGA_19431127/770.dcm: 2024-02-29", patient, None, "salt")
    assert "770.dcm" in told
    for secret in ("/77/", "QUAGGA", "19431127", "2024-02-29"):
        assert secret not in told


def test_a_phantom_folder_is_a_source(tmp_path):
    from octcube_core.phantom import make_exam
    from octcube_core.writers import write_exam

    write_exam(make_exam(3), tmp_path / "eye", "folder")
    (listed,) = list_exams(tmp_path, NAMES)
    row = prepare_row(listed, RECIPE, "salt")
    assert isinstance(row, Row)
    assert row.facts["laterality"] == read_exam(tmp_path / "eye").laterality
