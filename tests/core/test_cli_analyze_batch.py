"""``octcube analyze DIR --out table`` as it is run: killed, interrupted, resumed, refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
import pytest
from batch_exams import arrays, classifier_file, read_in_this_process
from indexed_archive import refused, told

from octcube_core.batch.journal import journal_of
from octcube_core.cli import main

EXAMS = 40


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return classifier_file(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    return arrays(tmp_path_factory.mktemp("many"), EXAMS)


@pytest.fixture
def in_process(monkeypatch):
    return read_in_this_process(monkeypatch)


def paths(out):
    return [row["path"] for row in pq.ParquetFile(out).read().to_pylist()]


def started(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "octcube_core.cli", "analyze", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def read_rows(running, count):
    """The first rows that a run tells of."""
    rows = []
    for line in running.stdout:
        if "row" in (message := json.loads(line)):
            rows.append(message["row"]["path"])
            if len(rows) == count:
                break
    return rows


def journaled(out):
    """How many exams the journal holds."""
    return journal_of(out).read_text().count('"path"') - 1  # its first line names the columns


@pytest.mark.slow
def test_killed_then_ended_and_resumed_every_exam_is_analysed_once(
    model, many, in_process, tmp_path, capsys
):
    out = tmp_path / "table.parquet"
    arguments = (many, "--model", model, "--out", out, "--workers", 1, "--json")
    running = started(*arguments)
    first = read_rows(running, 5)
    running.send_signal(signal.SIGKILL)
    running.communicate(timeout=60)
    assert not out.exists()
    kept = journaled(out)
    assert 5 <= kept < EXAMS
    again = started(*arguments, "--resume")
    told_of = read_rows(again, kept + 5)
    assert told_of[:5] == first
    assert len(set(told_of)) == kept + 5
    again.terminate()
    again.communicate(timeout=60)
    if sys.platform == "win32":  # which ends a process without telling it
        kept = journaled(out)
    else:
        assert again.returncode == 143
        assert not journal_of(out).exists()
        kept = len(paths(out))
    assert len(told_of) <= kept < EXAMS
    last = told(capsys, "analyze", *arguments, "--resume").splitlines()[-1]
    report = json.loads(last)["report"]
    assert (report["known"], report["analysed"]) == (kept, EXAMS - kept) == (kept, len(in_process))
    assert paths(out) == [str(many / f"{number}.npy") for number in range(EXAMS)]
    assert not journal_of(out).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such signal to a process")
def test_after_ctrl_c_the_table_is_written(model, many, tmp_path):
    out = tmp_path / "table.csv"
    running = started(many, "--model", model, "--out", out, "--workers", 1, "--json")
    rows = read_rows(running, 3)
    running.send_signal(signal.SIGINT)
    output, errors = running.communicate(timeout=60)
    assert (running.returncode, errors) == (130, "")
    lines = [json.loads(line) for line in output.splitlines()]
    report = lines[-1]["report"]
    rows += [line["row"]["path"] for line in lines if "row" in line]
    assert report["stopped"] is True
    assert 3 <= len(rows) == report["rows"] < EXAMS
    written = out.read_text().splitlines()[1:]
    assert all(line.startswith(path) for path, line in zip(rows, written, strict=True))
    assert not journal_of(out).exists()


def test_what_is_told(model, in_process, tmp_path, capsys):
    folder, out = arrays(tmp_path / "exams", 2), tmp_path / "table.parquet"
    (folder / "bad\x1b[31m.npy").write_bytes(b"\x93NUMPY damaged")
    arguments = ("analyze", folder, "--model", model, "--out", out, "--workers", 1)
    first, bad = told(capsys, *arguments).splitlines()
    assert first == f"2 exams analysed, 1 could not be; {out} holds 3."
    assert bad.startswith(str(folder))
    assert "\x1b" not in bad
    assert "--resume goes on" in refused(capsys, *arguments)
    first, _ = told(capsys, *arguments, "--resume").splitlines()
    assert first == f"0 exams analysed, 1 could not be, 2 were there; {out} holds 3."
    lines = [
        json.loads(line) for line in told(capsys, *arguments, "--resume", "--json").split("\n")[:-1]
    ]
    assert {"stage", "fraction"} == lines[0].keys()
    assert [line["row"]["error"] is None for line in lines if "row" in line] == [True, True, False]
    assert lines[-1]["report"] == {
        "analysed": 0,
        "known": 2,
        "failed": 1,
        "rows": 3,
        "out": str(out),
        "stopped": False,
    }


def test_a_single_exam_is_a_row_or_a_results_folder(model, in_process, tmp_path, capsys):
    folder = arrays(tmp_path / "exams", 1)
    exam = folder / "0.npy"
    told(capsys, "analyze", exam, "--model", model, "--out", tmp_path / "t.csv", "--workers", 1)
    row = (tmp_path / "t.csv").read_text().splitlines()[1]
    told(capsys, "analyze", exam, "--model", model, "--out", tmp_path / "results")
    scores = json.loads((tmp_path / "results" / "scores.json").read_text())
    for disease in scores["diseases"]:
        assert str(disease["probability"]) in row


def test_axes_are_as_stated(model, in_process, tmp_path, capsys):
    np.save(tmp_path / "eye.npy", np.zeros((24, 32, 4), np.uint8))
    out = tmp_path / "table.parquet"
    arguments = ("analyze", tmp_path / "eye.npy", "--model", model, "--out", out, "--workers", 1)
    told(capsys, *arguments, "--axes", "yxz")
    (row,) = pq.ParquetFile(out).read().to_pylist()
    assert (row["bscans"], row["depth"], row["width"]) == (4, 24, 32)


def test_what_is_wrong_is_one_line(model, in_process, tmp_path, capsys):
    folder, table = arrays(tmp_path / "exams", 2), tmp_path / "table.parquet"
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "0.npy").write_bytes(b"\x93NUMPY damaged")
    ours = ("analyze", folder, "--model", model)
    for arguments, words in (
        ((*ours, "--out", table, "--exam", 1), "leave --exam out"),
        ((*ours, "--out", table, "--saliency", "gradcam"), "leave --saliency out"),
        ((*ours, "--out", table, "--dicom"), "leave --dicom out"),
        ((*ours, "--out", tmp_path / "results", "--resume"), "--resume is for a table"),
        ((*ours, "--out", tmp_path / "results", "--json"), "end --out in .parquet or .csv"),
        ((*ours, "--out", tmp_path / "results"), "holds 2 exams"),
        (("analyze", tmp_path / "gone", "--model", model, "--out", table), "does not exist"),
        (("analyze", tmp_path / "empty", "--model", model, "--out", table), "empty"),
        (("analyze", folder, "--model", "demo-mae", "--out", table), "gives no scores"),
        (("analyze", folder, "--model", "no-such", "--out", table), "no-such"),
    ):
        assert words in refused(capsys, *arguments), arguments
        assert not table.exists()
    # Where nothing at all could be analysed, the report is followed by why.
    nothing = ("analyze", tmp_path / "bad", "--model", model, "--out", table, "--workers", 1)
    assert main([str(argument) for argument in nothing]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "No exam could be analysed: 0.npy cannot be read" in line
