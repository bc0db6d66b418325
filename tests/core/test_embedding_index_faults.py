"""An index that is locked, read-only, on a full disk, elsewhere, or of others: one sentence, and nothing is lost."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from index_records import MODEL, OTHER_MODEL, contents, filled, found_by, records

from octcube_core.errors import EmbeddingIndexError, InputError
from octcube_core.results import ExamEmbedding
from octcube_core.retrieval import EmbeddingIndex, Filters
from octcube_core.retrieval.records import Location
from octcube_core.retrieval.sqlite_database import SQLiteDatabase

HELD = records(30)
QUERY = HELD[3].embeddings["OCT"]
NOBODY = 65534


@pytest.fixture
def index_file(tmp_path, configuration) -> Path:
    path = tmp_path / "eyes.octindex"
    filled(path, len(HELD))
    return path


def sentence(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def assert_nothing_lost(path: Path) -> None:
    with EmbeddingIndex(path, create=False) as index:
        index.check()
        assert contents(index) == {each.identity.content for each in HELD}
        assert found_by(index, QUERY, "OCT", 1, Filters(leave_out=None), None)[0][0] == "c0-3"


def test_locked_by_another_program(index_file, monkeypatch):
    with EmbeddingIndex(index_file) as index:
        index._database._connection.execute("PRAGMA busy_timeout = 100")
        other = sqlite3.connect(index_file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for write in (
            lambda: index.add_records(records(2, seed=1), MODEL),
            lambda: index.remove([1]),
            lambda: index.label(1, ["AMD"]),
        ):
            with pytest.raises(EmbeddingIndexError, match="locked") as caught:
                write()
            sentence(caught.value)
        assert found_by(index, QUERY, "OCT", 1, Filters(), None)[0][0] == "c0-3"  # reading goes on
        other.execute("ROLLBACK")
        other.close()
        assert index.add_records(records(2, seed=1), MODEL) == 2
        index.remove([n for n, c, _, _ in index.places() if c.startswith("c1")])
    assert_nothing_lost(index_file)


def test_locked_while_it_is_opened(index_file):
    other = sqlite3.connect(index_file, isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(EmbeddingIndexError, match="locked for 0 seconds") as caught:
        SQLiteDatabase(index_file, patience_s=0.1)
    sentence(caught.value)
    other.close()
    assert_nothing_lost(index_file)


_READ_ONLY = """
import os, sys
from index_records import MODEL, records
from octcube_core.errors import EmbeddingIndexError
from octcube_core.retrieval import EmbeddingIndex
held = records({count})
with EmbeddingIndex({scratch!r}) as index:  # what is imported on the way, another user may not read
    index.add_records(held, MODEL)
    index.search(held[3].embeddings["OCT"])
if os.getuid() == 0:
    os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
with EmbeddingIndex({path!r}) as index:
    assert index.read_only
    found = index.search(held[3].embeddings["OCT"], k=1)
    assert found[0].identity.content == "c0-3", found
    assert len(index) == {count}
    index.check()
    for write in (lambda: index.remove([1]), lambda: index.label(1, ["AMD"])):
        try:
            write()
        except EmbeddingIndexError as error:
            print(error)
        else:
            raise SystemExit("written")
"""


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("what", ["file", "folder", "file, which another has open"])
def test_read_only(tmp_path_factory, configuration, what):
    # Of a user to whom permissions apply, so not below tmp_path, which is its owner's alone.
    folder = tmp_path_factory.mktemp("shared")
    for parent in (folder, *folder.parents[:3]):
        if parent.stat().st_uid == os.getuid():
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    path = folder / "eyes.octindex"
    filled(path, len(HELD))
    opened = EmbeddingIndex(path) if "open" in what else None
    path.chmod(0o444 if what != "folder" else 0o666)
    (folder / "mine").mkdir()
    folder.chmod(0o555 if what == "folder" else 0o755)
    program = textwrap.dedent(_READ_ONLY).format(
        nobody=NOBODY, path=str(path), count=len(HELD), scratch=str(folder / "mine" / "scratch")
    )
    places = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[2])])
    try:
        ran = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": places, "OCTCUBE_CONFIG": str(folder / "no salts")},
            capture_output=True,
            text=True,
            cwd="/",
            timeout=100,
        )
    finally:
        folder.chmod(0o755)
        path.chmod(0o644)
        if opened is not None:
            opened.close()
    assert ran.returncode == 0, ran.stderr
    told = ran.stdout.splitlines()
    assert len(told) == 2
    assert all("is read-only" in line for line in told)
    assert_nothing_lost(path)


def test_a_full_disk(index_file):
    with EmbeddingIndex(index_file) as index:
        connection = index._database._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(EmbeddingIndexError, match="disk is full") as caught:
            index.add_records(records(200, seed=1), MODEL)
        sentence(caught.value)
        assert len(index) == len(HELD)
        assert found_by(index, QUERY, "OCT", 1, Filters(), None)[0][0] == "c0-3"
        connection.execute(f"PRAGMA max_page_count = {100 * pages}")
        assert index.add_records(records(200, seed=1), MODEL) == 200
        index.remove([n for n, c, _, _ in index.places() if c.startswith("c1")])
    assert_nothing_lost(index_file)


def test_a_disk_that_is_full_at_the_first_exams_binds_the_index_to_no_model(
    tmp_path, configuration, monkeypatch
):
    path = tmp_path / "new.octindex"
    with EmbeddingIndex(path) as index:

        def full(features: int) -> None:  # within the transaction that states the model
            raise EmbeddingIndexError("The disk is full.")

        with monkeypatch.context() as patch:
            patch.setattr(index._database, "set_features", full)
            with pytest.raises(EmbeddingIndexError, match="full"):
                index.add_records(HELD, MODEL)
        assert index.model is None
        index.add_records(HELD, MODEL)
    with EmbeddingIndex(path) as index:
        assert index.model == MODEL
    assert_nothing_lost(path)


def test_a_folder_that_is_missing_or_a_folder_itself(tmp_path, configuration):
    for path in (tmp_path / "no" / "such" / "file", tmp_path):
        with pytest.raises(EmbeddingIndexError) as caught:
            EmbeddingIndex(path)
        assert "folder" in sentence(caught.value)
    with pytest.raises(EmbeddingIndexError, match="There is no index") as caught:
        EmbeddingIndex(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()
    assert not configuration.exists()


def test_closed(index_file):
    index = EmbeddingIndex(index_file)
    index.close()
    with pytest.raises(EmbeddingIndexError, match="closed"):
        index.search(QUERY)
    with pytest.raises(EmbeddingIndexError, match="closed"):
        index.add_records(HELD, MODEL)


def test_another_models_query(index_file):
    with EmbeddingIndex(index_file) as index:
        with pytest.raises(EmbeddingIndexError, match=r"Toy 1\.0 \(01234567\).*Other") as caught:
            index.search(ExamEmbedding({"OCT": QUERY}, OTHER_MODEL))
        sentence(caught.value)
    assert_nothing_lost(index_file)


def test_without_the_salt_an_index_is_searched_but_not_written(
    index_file, configuration, tmp_path, monkeypatch
):
    with EmbeddingIndex(index_file) as index:
        index.relocate("c0-3", Location(tmp_path / "exam"))
        salt = index.salt_file
    monkeypatch.setenv("OCTCUBE_CONFIG", str(tmp_path / "another user"))
    with EmbeddingIndex(index_file) as index:
        (found,) = index.search(QUERY, k=1)
        assert (found.identity.content, found.location) == ("c0-3", None)
        with pytest.raises(EmbeddingIndexError, match="has not the salt") as caught:
            index.add_records(records(1, seed=1), MODEL)
        assert salt.name in sentence(caught.value)
        wrong = tmp_path / "wrong.txt"
        wrong.write_text("0" * 64)
        for file, words in (
            (wrong, "is not that of the index"),
            (tmp_path / "none.txt", "cannot be read"),
        ):
            with pytest.raises(InputError, match=words) as caught:
                index.take_salt(file)
            sentence(caught.value)
        wrong.write_text("short")
        with pytest.raises(InputError, match="no salt"):
            index.take_salt(wrong)
        assert not index.salt_file.exists()
        index.take_salt(salt)
        assert index.search(QUERY, k=1)[0].location == Location(tmp_path / "exam")
        assert index.add_records(records(1, seed=1), MODEL) == 1
    with EmbeddingIndex(index_file) as index:
        assert index.search(QUERY, k=1)[0].location == Location(tmp_path / "exam")


def test_the_salt_of_another_index_under_its_name_is_refused(index_file, tmp_path):
    with EmbeddingIndex(index_file) as index, EmbeddingIndex(tmp_path / "other") as other:
        index.salt_file.write_text(other.salt_file.read_text())
        file = index.salt_file
    with pytest.raises(InputError, match="not that of the index") as caught:
        EmbeddingIndex(index_file)
    assert str(file) in sentence(caught.value)
