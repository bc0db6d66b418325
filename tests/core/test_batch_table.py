"""Many exams into a table: a row for each whatever becomes of it, and what an interrupted run leaves."""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
import pyarrow.parquet as pq
import pytest
from batch_exams import (
    PATIENT,
    SHAPE,
    arrays,
    classifier,
    eye,
    mixed_folder,
    read_in_this_process,
)

from octcube_core.analysis import analyze
from octcube_core.batch import run as batch_run
from octcube_core.batch.columns import Columns
from octcube_core.batch.journal import Journal, journal_of
from octcube_core.batch.listing import list_exams
from octcube_core.batch.run import analyze_table
from octcube_core.batch.table_file import read_table
from octcube_core.checkpoints.card import Architecture, Label, ModelCard
from octcube_core.embedding import model_identity
from octcube_core.errors import ExamReadError, InputError
from octcube_core.models.octcube import OCTCubeClassifier
from octcube_core.models.random_weights import random_model
from octcube_core.readers import find_exams


@pytest.fixture(scope="module")
def model():
    return classifier()


@pytest.fixture(scope="module")
def mixed(tmp_path_factory, model):
    """(folder, table, its rows, its report): one run, whose processes take a while to start."""
    folder = mixed_folder(tmp_path_factory.mktemp("exams"))
    out = tmp_path_factory.mktemp("results") / "below" / "table.parquet"
    told = []
    report = analyze_table(folder, model, out, workers=1, on_row=told.append)
    return folder, out, told, report


@pytest.fixture
def in_process(monkeypatch):
    """Read in this process; gives the numbers of the exams that were read."""
    return read_in_this_process(monkeypatch)


def errors(out):
    return {row["path"].rpartition("/")[2]: row["error"] for row in table(out)}


def names(folder):
    return sorted(item.name for item in folder.iterdir())


def table(out):
    return pq.ParquetFile(out).read().to_pylist()


def test_a_row_for_every_exam_in_their_order(mixed):
    folder, out, told, report = mixed
    rows = table(out)
    assert rows == told
    assert [(row["path"], row["part"]) for row in rows] == [
        (str(entry.path.resolve()), entry.part or None) for entry in find_exams(folder)
    ]
    assert [row["eye"] for row in rows][1:3] == ["OD", "OS"]
    dicom = rows[0]
    assert (dicom["format"], dicom["modalities"], dicom["bscans"]) == ("DICOM", "OCT IR FAF", 6)
    assert (dicom["depth"], dicom["width"]) == (64, 48)
    assert dicom["spacing_depth_mm"] == pytest.approx(eye().volume.spacing_mm[1])
    assert (dicom["bscan_locations_known"], rows[3]["bscan_locations_known"]) == (True, False)
    assert "no voxel spacing" in rows[3]["warnings"]
    assert (report.analysed, report.known, report.rows) == (4, 0, 6)
    assert not journal_of(out).exists()


def test_what_cannot_be_analysed_says_why_and_is_known_as_far_as_it_was_read(mixed):
    _, out, _, report = mixed
    *good, damaged, holes = table(out)
    assert [row["error"] for row in good] == [None] * 4
    assert "truncated, damaged" in damaged["error"]
    assert "not numbers (NaN" in holes["error"]
    for row in (damaged, holes):
        assert row["probability_D1"] is row["normal_probability"] is row["key_bscan"] is None
        assert row["error"].count(".") >= 1
        assert "\n" not in row["error"]
    assert [text for _, text in report.failures] == [damaged["error"], holes["error"]]


def test_what_a_model_cannot_look_at_is_known_all_the_same(mixed, in_process, tmp_path):
    labels = (Label("Disease A", "A"), Label("Disease B", "B"))
    architecture = Architecture(
        48, 2, 2, (3, 16, 16), (1, 4, 4), 96, outputs=4, final_residual=True, planar=True
    )
    of_images = OCTCubeClassifier(ModelCard("images", "1", architecture, labels)).eval()
    out = tmp_path / "table.parquet"
    analyze_table(mixed[0], of_images, out)
    first, *_, array, _, _ = table(out)
    assert (first["error"], first["key_bscan"]) == (None, None)
    assert 0 < first["probability_A"] < 1
    assert "looks at en-face images, and this exam has none" in array["error"]
    assert (array["bscans"], array["probability_A"]) == (6, None)


def test_the_numbers_are_those_of_analyze(mixed, model):
    folder, out, _, _ = mixed
    for entry, row in zip(find_exams(folder), table(out), strict=True):
        if row["error"]:
            continue
        analysis = analyze(entry.read(), model)
        for score in analysis.scores:
            assert row[f"probability_{score.abbreviation}"] == score.probability
        assert row["normal_probability"] == analysis.normal_probability
        present = [score.abbreviation for score in analysis.scores if score.present]
        assert (row["present"] or "") == "; ".join(present)
        assert row["top_target"] == analysis.top_target
        assert row["key_bscan"] == next(iter(analysis.key_bscans(analysis.top_target, 1)), None)
        assert row["warnings"] == (" ".join(analysis.warnings) or None)
        assert (row["run_device"], row["precision"]) == (analysis.device, analysis.precision)


def test_the_columns_are_described_in_the_file(mixed, model):
    _, out, _, _ = mixed
    about = json.loads(pq.read_schema(out).metadata[b"octcube"])
    assert about["model_hash"] == model_identity(model).hash
    assert "not for diagnosis" in about["disclaimer"]
    assert about["columns"]["probability_D1"]["threshold"] == model.card.labels[0].threshold


def test_nobody_is_named_unless_asked(mixed, model, in_process, tmp_path):
    folder, out, _, _ = mixed
    words = [word.encode() for word in (PATIENT.name, PATIENT.id, PATIENT.birth_date)]
    for word in (*words, PATIENT.exam_date.encode()):
        assert word not in out.read_bytes()
    asked = tmp_path / "asked.csv"
    analyze_table(folder / "a dicom", model, asked, with_patient=True)
    (row,) = read_table(asked, Columns.of(model.card, with_patient=True))
    assert row["patient_id"] == PATIENT.id
    assert row["exam_date"].replace("-", "") == PATIENT.exam_date
    assert PATIENT.name.encode() not in asked.read_bytes()


def test_csv_holds_the_same(mixed, model, in_process, tmp_path):
    folder, out, _, _ = mixed
    other = tmp_path / "table.CSV"
    analyze_table(folder, model, other)
    timings = ("seconds", "reading_seconds")
    rows = [{**row, **dict.fromkeys(timings)} for row in table(out)]
    again = read_table(other, Columns.of(model.card))
    assert [{**row, **dict.fromkeys(timings)} for row in again] == rows


def test_resuming_reads_only_what_is_new_changed_or_failed(mixed, model, in_process, tmp_path):
    folder = arrays(tmp_path / "exams", 4)
    out = tmp_path / "table.parquet"
    (folder / "1.npy").write_bytes(b"\x93NUMPY damaged")
    analyze_table(folder, model, out)
    assert len(in_process) == 4
    before = {row["path"]: row for row in table(out)}
    # Repaired, changed, new, gone.
    voxels = np.full((4, 24, 32), 7, np.uint8)
    np.save(folder / "1.npy", voxels)
    np.save(folder / "2.npy", voxels)
    os.utime(folder / "2.npy", ns=(1, 1))
    np.save(folder / "9.npy", voxels)
    (folder / "3.npy").unlink()
    told = []
    in_process.clear()
    report = analyze_table(folder, model, out, resume=True, on_row=told.append)
    assert (len(in_process), report.analysed, report.known, report.rows) == (3, 3, 1, 5)
    rows = {row["path"].rpartition("/")[2]: row for row in table(out)}
    assert list(rows) == ["0.npy", "1.npy", "2.npy", "9.npy", "3.npy"]  # what is gone is kept
    for kept in ("0.npy", "3.npy"):
        assert rows[kept] == before[str(folder / kept)]
    assert rows["1.npy"]["probability_D1"] == rows["2.npy"]["probability_D1"]
    assert rows["1.npy"]["error"] is None
    assert rows["2.npy"] != before[str(folder / "2.npy")]
    told_names = [row["path"].rpartition("/")[2] for row in told]
    assert told_names == ["0.npy", "3.npy", "1.npy", "2.npy", "9.npy"]
    # Nothing is left to do.
    in_process.clear()
    assert analyze_table(folder, model, out, resume=True).known == 4
    assert in_process == []


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupted_run_leaves_a_table_that_goes_on(model, in_process, tmp_path, stop):
    folder, out = arrays(tmp_path / "exams", 5), tmp_path / "table.parquet"

    def on_progress(words, fraction):
        if words.startswith("2 of 5"):
            raise stop

    with pytest.raises(stop):
        analyze_table(folder, model, out, on_progress=on_progress)
    assert [row["path"].rpartition("/")[2] for row in table(out)] == ["0.npy", "1.npy"]
    assert names(tmp_path) == ["exams", "table.parquet"]
    in_process.clear()
    analyze_table(folder, model, out, resume=True)
    assert len(in_process) == 3
    assert [row["path"].rpartition("/")[2] for row in table(out)] == [f"{n}.npy" for n in range(5)]


def test_interrupted_before_the_first_result_nothing_is_left(model, in_process, tmp_path):
    folder, out = arrays(tmp_path / "exams", 2), tmp_path / "table.parquet"

    def interrupted(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_run, "score", interrupted)
        with pytest.raises(KeyboardInterrupt):
            analyze_table(folder, model, out)
    assert names(tmp_path) == ["exams"]


def test_a_bug_and_a_lost_process_are_rows(model, in_process, tmp_path, monkeypatch):
    folder, out = arrays(tmp_path / "exams", 3), tmp_path / "table.parquet"
    answers = iter([RuntimeError("the patient's name"), None, None])
    real = batch_run.score

    def score(*arguments):
        if error := next(answers):
            raise error
        return real(*arguments)

    monkeypatch.setattr(batch_run, "score", score)
    real_prepare = batch_run.prepared.prepare
    monkeypatch.setattr(
        batch_run.prepared,
        "prepare",
        lambda number: batch_run.prepared.lost(number) if number == 1 else real_prepare(number),
    )
    analyze_table(folder, model, out)
    assert errors(out) == {
        "0.npy": "It cannot be analysed (RuntimeError); open it by itself.",
        "1.npy": "It ended the process that read it; the file is damaged, or memory ran out.",
        "2.npy": None,
    }
    assert table(out)[0]["bscans"] == 4


def test_what_may_not_be_mixed_is_refused_and_stays(model, in_process, tmp_path):
    folder, out = arrays(tmp_path / "exams", 1), tmp_path / "table.parquet"
    analyze_table(folder, model, out)
    before = out.read_bytes()
    other = classifier()
    next(other.parameters()).data += 1
    (tmp_path / "text.csv").write_text("path,age\n1,2\n")
    (tmp_path / "text.parquet").write_text("no table")
    (tmp_path / "folder.csv").mkdir()
    for words, changes in (
        ("exists; --resume goes on", {}),
        ("other weights", {"resume": True, "model": other}),
        ("without --fast", {"resume": True, "fast": True}),
        ("other columns", {"resume": True, "with_patient": True}),
        ("other columns", {"resume": True, "out": tmp_path / "text.csv"}),
        ("cannot be read as a table", {"resume": True, "out": tmp_path / "text.parquet"}),
        ("is a folder", {"resume": True, "out": tmp_path / "folder.csv"}),
        ("cannot be written", {"out": out / "below" / "table.csv"}),
    ):
        arguments = {"model": model, "out": out, **changes}
        with pytest.raises(InputError, match=words):
            analyze_table(folder, **arguments)
        assert out.read_bytes() == before
        assert not journal_of(out).exists()
    encoder = random_model(2, 64, 2, SHAPE)
    encoder.card = dataclasses.replace(encoder.card, labels=())
    with pytest.raises(InputError, match="gives no scores for a table"):
        analyze_table(folder, encoder, tmp_path / "encoder.csv")
    with pytest.raises(ExamReadError, match="does not exist"):
        analyze_table(tmp_path / "gone", model, tmp_path / "gone.csv")
    assert not (tmp_path / "gone.csv").exists()


def test_a_journal_outlives_a_kill_in_the_middle_of_a_line(model, in_process, tmp_path):
    folder, out = arrays(tmp_path / "exams", 3), tmp_path / "table.parquet"
    analyze_table(folder, model, out)
    rows = table(out)
    out.unlink()
    columns, identity = Columns.of(model.card), model_identity(model)
    journal = Journal(out, columns, identity, fast=False)
    journal.add(rows[0])
    journal.add(rows[1])
    with pytest.raises(InputError, match="Another run is writing"):
        Journal(out, columns, identity, fast=False)
    journal._file.close()  # killed
    with journal_of(out).open("ab") as file:
        file.write(b'{"path": "torn')
    with pytest.raises(InputError, match="A run that was to write"):
        analyze_table(folder, model, out)
    in_process.clear()
    report = analyze_table(folder, model, out, resume=True)
    assert (len(in_process), report.known) == (1, 2)
    assert [row["path"] for row in table(out)] == [row["path"] for row in rows]
    assert table(out)[:2] == rows[:2]
    assert not journal_of(out).exists()


def test_a_damaged_journal_is_one_sentence(model, in_process, tmp_path):
    folder, out = arrays(tmp_path / "exams", 1), tmp_path / "table.parquet"
    journal_of(out).write_bytes(b"\x00\xff\n{}\n")
    with pytest.raises(InputError, match="is damaged"):
        analyze_table(folder, model, out, resume=True)
    assert journal_of(out).read_bytes() == b"\x00\xff\n{}\n"


def test_several_sources_and_a_table_among_the_exams(model, in_process, tmp_path):
    folder = mixed_folder(tmp_path)
    out = folder / "table.parquet"
    sources = [folder / "c.npy", folder, folder / "b.E2E"]
    report = analyze_table(sources, model, out)
    assert (report.rows, table(out)[0]["path"]) == (6, str(folder / "c.npy"))
    assert analyze_table(sources, model, out, resume=True).known == 4  # the two failed again
    with pytest.raises(ExamReadError):
        list_exams([folder, folder / "gone"])
