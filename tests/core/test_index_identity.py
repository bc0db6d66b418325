"""The database of an index holds neither who a patient is nor when an exam was, whatever the files and folders say."""

from __future__ import annotations

import dataclasses
import datetime
import json
import re
import shutil
import sqlite3
from pathlib import Path

import psycopg
import pytest
from indexed_archive import told

from octcube_core.cli import main
from octcube_core.exam import Patient
from octcube_core.identity import shifted_day
from octcube_core.phantom import make_exam
from octcube_core.readers import find_exams, read_exam
from octcube_core.retrieval import EmbeddingIndex
from octcube_core.retrieval.postgres_address import split_address
from octcube_core.writers import write_exam

PEOPLE = {
    "Quagga_Zebedee_PID-993311": [
        Patient("Quagga^Zebedee", "PID-993311", "1943-11-27", "2024-02-29"),
        Patient("Quagga^Zebedee", "PID-993311", "1943-11-27", "2024-05-17"),
    ],
    "Okapi_Wilhelmina_Q7788": [Patient("Okapi^Wilhelmina", "Q7788X55", "1951-07-03", "2023-12-31")],
    "Nameless": [Patient("Tapir^Ludmilla", None, "1960-10-21", "2022-08-09")],
}
DAYS_APART = 78


@pytest.fixture(scope="module")
def exams(tmp_path_factory) -> Path:
    """DICOM files that name their patients, in folders that do as well."""
    folder = tmp_path_factory.mktemp("clinic") / "Doctor_Gnu"
    number = 0
    for person, visits in PEOPLE.items():
        for patient in visits:
            number += 1
            made = make_exam(number, shape=(3, 64, 48), laterality="OD")
            out = folder / person / f"seen_{patient.exam_date}_{patient.exam_date.replace('-', '')}"
            out.parent.mkdir(parents=True, exist_ok=True)
            write_exam(dataclasses.replace(made, patient=patient), out, "dicom", keep_identity=True)
    return folder


def secrets(exams: Path) -> set[str]:
    """All that must not be found, in every usual spelling."""
    words = {"doctor_gnu", "seen_", "clinic", "nameless", ".dcm", "volume.", str(exams.name)}
    for person, visits in PEOPLE.items():
        words |= {person, *person.split("_")}
        for patient in visits:
            words |= {*patient.name.split("^"), patient.name.replace("^", " ")}
            words |= {patient.id, patient.id.partition("-")[2]} if patient.id else set()
            for text in (patient.birth_date, patient.exam_date):
                day = datetime.date.fromisoformat(text)
                midnight = datetime.datetime(day.year, day.month, day.day, tzinfo=datetime.UTC)
                words |= {
                    text,
                    text.replace("-", ""),
                    f"{day:%d.%m.%Y}",
                    f"{day:%m/%d/%Y}",
                    f"{day:%d/%m/%Y}",
                    f"{day:%Y/%m/%d}",
                    str(day.toordinal()),
                    str(int(midnight.timestamp())),
                    str(day.toordinal() + 1721425),  # Julian day
                }
    for entry in find_exams(exams):
        words |= {part for part in entry.path.parts if len(part) > 3}
    return {word.lower() for word in words if word} - {"data"}


def found_in(content: bytes, exams: Path) -> list[str]:
    """The words in bytes, in 8 and in 16 bits; digits only where they are not part of a longer hash."""
    lower = content.lower()
    found = []
    for word in sorted(secrets(exams)):
        for encoding in ("ascii", "utf-16-le", "utf-16-be"):
            pattern = re.escape(word.encode(encoding))
            if re.fullmatch("[0-9a-f]+", word) and encoding == "ascii":
                pattern = b"(?<![0-9a-f])" + pattern + b"(?![0-9a-f])"
            if re.search(pattern, lower) and word not in found:
                found.append(word)
    return found


@pytest.fixture(scope="module")
def indexed(exams, tmp_path_factory) -> Path:
    """Two indices of the exams, one.octindex and two.octindex, and the configuration with their salts."""
    folder = tmp_path_factory.mktemp("indexed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCTCUBE_CONFIG", str(folder / "configuration"))
        for name in ("one", "two"):
            arguments = ["index", exams, "--db", folder / f"{name}.octindex", "--workers", 1]
            assert main([str(each) for each in (*arguments, "--model", "demo-coep")]) == 0
    return folder


@pytest.fixture
def path(indexed, monkeypatch, tmp_path) -> Path:
    """An index of this test's own, whose salt the user has."""
    monkeypatch.setenv("OCTCUBE_CONFIG", str(indexed / "configuration"))
    return Path(shutil.copy(indexed / "one.octindex", tmp_path / "eyes.octindex"))


def test_the_search_itself_finds_what_is_there(exams):
    content = b"".join(file.read_bytes() for file in exams.rglob("*") if file.is_file())
    found = found_in(content, exams)
    for word in ("zebedee", "pid-993311", "19431127", "20240229", "ludmilla", "q7788x55"):
        assert word in found
    assert found_in("x 738945 y".encode("utf-16-le"), exams) == ["738945"]  # 2024-02-29 as a day


def test_no_byte_of_a_file_tells_who_or_when(exams, path, tmp_path):
    with EmbeddingIndex(path) as index:
        assert len(index) == 4
        for _, content, where, _ in index.places():
            assert where is not None  # this user finds every exam again
            assert index.secret.content(read_exam(where.path)) == content
        # With its log, as it lies on the disk while somebody works with it.
        index.label(1, ["AMD"])
        index.remove([4])
        files = [file for file in tmp_path.iterdir() if file.name.startswith("eyes.octindex")]
        assert {file.name for file in files} >= {"eyes.octindex", "eyes.octindex-wal"}
        for file in files:
            assert found_in(file.read_bytes(), exams) == [], file.name
    assert found_in(path.read_bytes(), exams) == []
    for table, column in (("exams", "visit_day"), ("exams", "id")):
        with sqlite3.connect(path) as connection:
            values = connection.execute(f"SELECT {column} FROM {table}").fetchall()
        connection.close()
        assert found_in(" ".join(str(value) for (value,) in values).encode(), exams) == []


def test_no_column_of_a_server_tells_who_or_when(exams, postgres_url, capsys):
    told(capsys, "index", exams, "--db", postgres_url, "--model", "demo-coep", "--workers", 1)
    address, schema = split_address(postgres_url)
    dumped = []
    with psycopg.connect(address) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s", (schema,)
        ).fetchall()
        assert {name for (name,) in tables} >= {"exams", "items", "labels", "thumbnails", "about"}
        for (table,) in tables:
            rows = connection.execute(f'SELECT * FROM "{schema}"."{table}"').fetchall()
            dumped += [
                bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
                for row in rows
                for value in row
            ]
            columns = connection.execute(f'SELECT t::text FROM "{schema}"."{table}" t').fetchall()
            # Not the numbers of embeddings, whose digits are anything.
            dumped += [text.encode() for (text,) in columns if table not in ("items", "thumbnails")]
    assert len(dumped) > 40
    assert (
        found_in(b" | ".join(part for part in dumped if not part.startswith(b"HalfV")), exams) == []
    )


def test_the_report_tells_whose_an_exam_is_to_who_has_the_salt(exams, indexed, path, capsys):
    paths = [path, indexed / "two.octindex"]
    folder = indexed / "configuration" / "salts"
    assert [file.stat().st_mode & 0o777 for file in folder.iterdir()] == [0o600, 0o600]
    assert len({file.read_text() for file in folder.iterdir()}) == 2
    first, second = sorted((exams / "Quagga_Zebedee_PID-993311").iterdir())
    facts = json.loads(
        told(capsys, "search", first, "--db", paths[0], "--json", "--leave-out", "exam")
    )
    related = {
        each["path"]: (each["same_patient"], each["days_apart"]) for each in facts["neighbours"]
    }
    (same,) = [path for path in related if Path(path).is_relative_to(second)]
    assert related.pop(same) == (True, DAYS_APART)
    assert sorted(related.values()) == [(False, None), (False, None)]
    hashes = []
    for path in paths:
        with EmbeddingIndex(path) as index:
            hashes.append(index.identity(read_exam(first)))
    assert hashes[0].patient != hashes[1].patient
    assert hashes[0].content != hashes[1].content
    assert hashes[0].visit_day != hashes[1].visit_day
    with EmbeddingIndex(paths[0]) as index:
        # A name and a birth date together are as good as an id.
        nameless = read_exam(next((exams / "Nameless").iterdir()))
        assert index.identity(nameless).patient is not None


def test_a_copy_of_the_database_alone_finds_nobody(exams, path, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OCTCUBE_CONFIG", str(tmp_path / "thief"))
    first = next((exams / "Okapi_Wilhelmina_Q7788").iterdir())
    facts = json.loads(told(capsys, "search", first, "--db", path, "--json"))
    assert len(facts["neighbours"]) == 4  # the exam itself is not known to be itself
    for each in facts["neighbours"]:
        assert (each["path"], each["days_apart"]) == (None, None)
        assert each["same_patient"] is not True
    assert found_in(json.dumps(facts["neighbours"]).encode(), exams) == []


def test_days_move_by_patient_and_salt_and_keep_their_distance():
    patient, salt = "PID-993311", "a" * 64
    first, second = (shifted_day(date, patient, salt) for date in ("20240229", "2024-05-17"))
    assert second - first == DAYS_APART
    assert first != datetime.date(2024, 2, 29).toordinal()
    assert shifted_day("20240229", patient, "b" * 64) != first
    assert shifted_day("20240229", "another", salt) != first
    assert shifted_day("00000000", patient, salt) is None
    assert shifted_day(None, patient, salt) is None
