"""``octcube index`` as it is run: processes that read, a run that is killed, its output and its refusals."""

from __future__ import annotations

import json
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

from indexed_archive import archive, refused, told

from octcube_core.cli import index as command
from octcube_core.cli import main
from octcube_core.retrieval import EmbeddingIndex


def test_fill_look_and_fill_again(tmp_path, configuration, capsys, monkeypatch):
    folder, db = tmp_path / "exams", tmp_path / "eyes.octindex"
    files = archive(folder, 3)
    files[2].write_bytes(files[2].read_bytes()[:-9])
    (folder / "labels.csv").write_text("path,AMD,DME\nvisit 0,1,0\nvisit 1/eye 1.npy,1,1\n")
    assert "--model" in refused(capsys, "index", folder, "--db", db)
    filling = ("index", folder, "--db", db, "--labels", folder / "labels.csv")
    lines = told(capsys, *filling, "--model", "demo-coep", "--workers", 2).splitlines()
    assert lines[0] == f"2 exams added, 0 were there, 1 could not be read; {db} holds 2."
    assert len(lines) == 2
    assert "eye 2.npy" in lines[1]
    shown = told(capsys, "index", "--db", db, "--check")
    for words in ("2 OCT", "AMD, DME", "demo COEP"):
        assert words in shown
    facts = json.loads(told(capsys, "index", "--db", db, "--json"))
    assert facts["counts"] == {"exams": 2, "OCT": 2}
    assert facts["labels"] == ["AMD", "DME"]
    assert facts["read_only"] is False
    # Known again without a model; new labels count.
    files[2].unlink()
    (folder / "labels.csv").write_text("path\tlabels\nvisit 0\tCNV; ERM\n")
    monkeypatch.setattr(command, "_load", lambda *_: 1 / 0)
    (line,) = told(capsys, *filling).splitlines()
    assert line == f"0 exams added, 2 were there, 1 labelled anew; {db} holds 2."
    shutil.rmtree(files[0].parent)
    *steps, last = told(capsys, *filling, "--sync", "--json").splitlines()
    assert all({"stage", "fraction"} == json.loads(step).keys() for step in steps)
    report = json.loads(last)
    assert report["index"] == {"exams": 1, "OCT": 1}
    assert (report["report"]["removed"], report["report"]["known"]) == (1, 1)
    assert json.loads(told(capsys, "index", "--db", db, "--json"))["labels"] == ["AMD", "DME"]


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path, configuration, capsys):
    folder, db = tmp_path / "exams", tmp_path / "eyes.octindex"
    archive(folder, 60)
    arguments = ["index", str(folder), "--db", str(db), "--model", "demo-coep", "--workers", "1"]
    running = subprocess.Popen(
        [sys.executable, "-m", "octcube_core.cli", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    held = 0
    while held < 8 and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
        if db.exists():
            connection = sqlite3.connect(db)
            try:
                (held,) = connection.execute("SELECT COUNT(*) FROM exams").fetchone()
            except sqlite3.OperationalError:
                pass  # its tables are being made
            finally:
                connection.close()
    running.send_signal(signal.SIGKILL)
    assert running.wait(60) == -signal.SIGKILL
    with EmbeddingIndex(db) as index:
        index.check()
        before = {number: content for number, content, _, _ in index.places()}
    assert 8 <= len(before) < 60
    report = json.loads(told(capsys, *arguments, "--json").splitlines()[-1])
    assert report["report"]["known"] == len(before)
    assert report["report"]["added"] == 60 - len(before)
    with EmbeddingIndex(db) as index:
        places = index.places()
        assert before.items() <= {number: content for number, content, _, _ in places}.items()
        assert len({where for _, _, where, _ in places}) == 60


def test_what_is_wrong_is_one_line(tmp_path, configuration, capsys):
    folder, db = tmp_path / "exams", tmp_path / "eyes.octindex"
    archive(folder, 1)
    (folder / "labels.csv").write_text("path,AMD\neye,perhaps\n")
    (folder / "empty.csv").write_text("path,AMD\n,1\n")
    (folder / "none.csv").write_text("a,b\n1,2\n")
    (folder / "binary.csv").write_bytes(b"path,\xff\xfe\n")
    ours = ("index", folder, "--db", db, "--model", "demo-coep")
    for arguments, words in (
        (("index", "--db", db), "There is no index"),
        (("index", "--db", db, "--sync"), "Name the folders"),
        (("index", "--db", db, "--rebuild"), "needs the folders"),
        (("index", folder, "--db", "postgresql://host/db", "--rebuild"), "--rebuild is for"),
        ((*ours, "--labels", folder / "labels.csv"), "'perhaps'"),
        ((*ours, "--labels", folder / "empty.csv"), "Line 2"),
        ((*ours, "--labels", folder / "none.csv"), "needs a column 'path'"),
        ((*ours, "--labels", folder / "binary.csv"), "no table of labels"),
        ((*ours, "--labels", folder / "gone.csv"), "cannot be read"),
        ((*ours, "--scores", "demo-mae"), "scores no diseases"),
        (("index", folder, "--db", db, "--model", "no-such-model"), "no-such-model"),
        ((*ours, "--salt", folder / "gone.txt"), "cannot be read"),
        (("index", folder, "--db", folder / "visit 0" / "eye 0.npy"), "is no index"),
    ):
        assert words in refused(capsys, *arguments), arguments
    # Where nothing at all could be read, the report is followed by why.
    assert main(["index", str(tmp_path / "gone"), "--db", str(db), "--model", "demo-coep"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "does not exist" in line


def test_a_name_of_a_file_that_a_terminal_would_obey(tmp_path, configuration, capsys):
    folder, db = tmp_path / "exams", tmp_path / "eyes.octindex"
    (file,) = archive(folder, 1)
    file.with_name("bad\x1b[31m\udcff.npy").write_bytes(file.read_bytes()[:-9])
    printed = told(capsys, "index", folder, "--db", db, "--model", "demo-coep", "--workers", 1)
    assert "1 could not be read" in printed
    assert "\x1b" not in printed
    printed.encode()  # as a terminal of UTF-8 takes it


def test_the_salt_comes_from_where_the_index_was_made(tmp_path, configuration, capsys, monkeypatch):
    folder, db = tmp_path / "exams", tmp_path / "eyes.octindex"
    archive(folder, 1)
    told(capsys, "index", folder, "--db", db, "--model", "demo-coep", "--workers", 1)
    salt = json.loads(told(capsys, "index", "--db", db, "--json"))["salt"]
    monkeypatch.setenv("OCTCUBE_CONFIG", str(tmp_path / "colleague"))
    archive(folder, 1, first=3)
    assert "has not the salt" in refused(capsys, "index", folder, "--db", db)
    assert json.loads(told(capsys, "index", "--db", db, "--json"))["salt"] is None
    assert "--salt FILE takes it" in told(capsys, "index", "--db", db)
    shown = json.loads(told(capsys, "index", "--db", db, "--salt", salt, "--json"))
    assert shown["salt"].startswith(str(tmp_path / "colleague"))
