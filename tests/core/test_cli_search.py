"""``octcube search`` finds what the embeddings of the same exams say, by every filter, and prints it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from indexed_archive import refused, told

import octcube_core as oc
from octcube_core.cli import main
from octcube_core.exam import Patient
from octcube_core.phantom import make_exam
from octcube_core.results import DISCLAIMER
from octcube_core.writers import write_exam

COUNT = 6


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    """DICOM exams of three patients, both eyes of each, with IR and FAF images, and their index."""
    folder = tmp_path_factory.mktemp("archive")
    rows = ["path,labels"]
    for number in range(COUNT):
        side = ("OD", "OS")[number % 2]
        made = make_exam(number, shape=(3, 64, 48), laterality=side)
        patient = Patient("Name", f"id{number // 2}", "1950-01-01", f"2024-01-{1 + 7 * number:02}")
        made = dataclasses.replace(made, patient=patient)
        write_exam(made, folder / "exams" / f"{number}", "dicom", keep_identity=True)
        rows.append(f"exams/{number},{('AMD', 'AMD;DME', '')[number % 3]}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCTCUBE_CONFIG", str(folder / "configuration"))
        arguments = ["index", folder / "exams", "--db", folder / "eyes", "--model", "demo-coep"]
        more = ["--labels", folder / "labels.csv", "--workers", 1, "--precision", "fp32"]
        assert main([str(each) for each in (*arguments, *more)]) == 0
    return folder


@pytest.fixture(autouse=True)
def user(archive, monkeypatch) -> None:
    monkeypatch.setenv("OCTCUBE_CONFIG", str(archive / "configuration"))


@pytest.fixture(scope="module")
def embeddings(archive) -> list[dict[str, np.ndarray]]:
    model = oc.load_model("demo-coep", device="cpu", precision="fp32")
    return [
        dict(oc.embed(oc.read_exam(archive / "exams" / str(number)), model).vectors)
        for number in range(COUNT)
    ]


def wanted(embeddings, query, by, to, keep) -> list[tuple[int, float]]:
    def unit(vector):
        return vector.astype(float) / np.linalg.norm(vector)

    found = [
        (number, float(unit(embeddings[query][by]) @ unit(each[to])))
        for number, each in enumerate(embeddings)
        if keep(number)
    ]
    return sorted(found, key=lambda pair: -pair[1])


@pytest.mark.parametrize(
    ("options", "by", "to", "keep"),
    [
        ([], "OCT", "OCT", lambda n: n != 1),
        (["--to", "ir"], "OCT", "IR", lambda n: n != 1),
        (["--by", "ir", "--to", "oct"], "IR", "OCT", lambda n: n != 1),
        (["--by", "ir"], "IR", "IR", lambda n: n != 1),
        (["--leave-out", "none"], "OCT", "OCT", lambda n: True),
        (["--leave-out", "patient"], "OCT", "OCT", lambda n: n not in (0, 1)),
        (["--leave-out", "eye", "--eye", "OD"], "OCT", "OCT", lambda n: n % 2 == 0),
        (["--leave-out", "visit", "--label", "DME"], "OCT", "OCT", lambda n: n == 4),
        (["--label", "AMD", "-k", "2"], "OCT", "OCT", lambda n: n in (0, 3, 4)),
        (["--only-device", "nobody's"], "OCT", "OCT", lambda n: False),
    ],
)
def test_what_is_found_is_what_brute_force_finds(
    archive, embeddings, capsys, options, by, to, keep
):
    query = archive / "exams" / "1"
    precision = ["--device", "cpu", "--precision", "fp32", "--json"]
    facts = json.loads(
        told(capsys, "search", query, "--db", archive / "eyes", *options, *precision)
    )
    expected = wanted(embeddings, 1, by, to, keep)[: 2 if "-k" in options else 10]
    found = facts["neighbours"]
    assert [each["rank"] for each in found] == list(range(1, len(expected) + 1))
    places = [int(Path(each["path"]).relative_to(archive / "exams").parts[0]) for each in found]
    assert places == [number for number, _ in expected]
    np.testing.assert_allclose(
        [each["similarity"] for each in found], [s for _, s in expected], atol=1e-3
    )
    assert (facts["by"], facts["to"], facts["disclaimer"]) == (by, to, DISCLAIMER)
    for number, each in zip(places, found, strict=True):
        assert each["eye"] == ("OD", "OS")[number % 2]
        assert each["labels"] == [["AMD"], ["AMD", "DME"], []][number % 3]
        assert each["same_patient"] is (number // 2 == 0)
        assert each["days_apart"] == (7 * (number - 1) if number < 2 else None)
    labelled = [each["labels"] for each in found if each["labels"]]
    assert {vote["label"]: vote["count"] for vote in facts["votes"]} == {
        label: sum(label in labels for labels in labelled)
        for labels in labelled
        for label in labels
    }


def test_the_table(archive, capsys):
    query = archive / "exams" / "1"
    lines = told(capsys, "search", query, "--db", archive / "eyes").splitlines()
    assert DISCLAIMER in lines[0]
    assert lines[1] == f"OCT to OCT, among the eyes of {archive / 'eyes'}"
    assert lines[2].split() == ["Similarity", "Eye", "Labels", "Patient", "Exam"]
    assert len(lines) == 3 + 5 + 1
    (same,) = [line for line in lines if "same, -7 days" in line]
    assert str(archive / "exams" / "0") in same
    assert lines[-1] == "Labels among 3 labelled neighbours: AMD 3, DME 1"
    alone = told(capsys, "search", query, "--db", archive / "eyes", "--label", "unheard of")
    assert "No eye passes the filters." in alone


def test_what_is_wrong_is_one_line(archive, capsys, tmp_path):
    query, db = archive / "exams" / "1", archive / "eyes"
    for arguments, words in (
        ((query, "--db", tmp_path / "none"), "There is no index"),
        ((query, "--db", db, "--to", "cfp"), "not of CFP"),
        ((query, "--db", db, "--by", "fa"), "not FA"),
        ((query, "--db", db, "--model", "demo-mae"), "was made by"),
        ((query, "--db", db, "--model", "no-such-model"), "no-such-model"),
        ((tmp_path / "no exam", "--db", db), "does not exist"),
        ((query, "--db", archive / "labels.csv"), "is no index"),
    ):
        assert words in refused(capsys, "search", *arguments), arguments
    assert not (tmp_path / "none").exists()
    for arguments in (("-k", "0"), ("--leave-out", "all"), ("--eye", "left"), ("--to", "mri")):
        assert arguments[0] in refused(capsys, "search", query, "--db", db, *arguments)


def test_an_exam_that_moved_away_is_still_found(archive, capsys, tmp_path):
    query = archive / "exams" / "1"
    other = archive / "exams" / "0"
    other.rename(tmp_path / "0")
    try:
        facts = json.loads(told(capsys, "search", query, "--db", archive / "eyes", "--json"))
    finally:
        (tmp_path / "0").rename(other)
    assert len(facts["neighbours"]) == COUNT - 1
