"""A damaged file of an index is known as such when it is opened: nothing in it is ever silently wrong."""

from __future__ import annotations

import random
import shutil
import sqlite3
from pathlib import Path

import pytest
from index_records import MODEL, filled, records, snapshot
from indexed_archive import archive

from octcube_core.cli import main
from octcube_core.errors import EmbeddingIndexError, InputError
from octcube_core.retrieval import EmbeddingIndex

EXAMS = 40


@pytest.fixture
def index_file(tmp_path, configuration) -> Path:
    path = tmp_path / "eyes.octindex"
    filled(path, EXAMS)
    return path


def refusal(path: Path) -> str:
    """The one sentence with which opening and looking through ends."""
    with pytest.raises((EmbeddingIndexError, InputError)) as caught:
        EmbeddingIndex(path, create=False)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    return text


def test_a_file_cut_short_anywhere_is_refused_and_left_as_it_is(index_file, tmp_path):
    whole = index_file.read_bytes()
    places = random.Random(0)
    lengths = {1, 15, 16, 99, 100, 101, 4095, 4096, 4097, len(whole) - 1}
    lengths |= {places.randrange(1, len(whole)) for _ in range(60)}
    for length in sorted(lengths):
        path = tmp_path / f"cut-{length}"
        path.write_bytes(whole[:length])
        assert "damaged" in refusal(path), length
        assert path.read_bytes() == whole[:length]


def test_a_changed_byte_is_known_or_changes_nothing(index_file, tmp_path):
    whole = index_file.read_bytes()
    held = records(EXAMS)[::8]
    with EmbeddingIndex(index_file) as index:
        before = snapshot(index, held)
        facts = (index.counts(), index.model, index.places(), index.distinct("label"))
    places = random.Random(1)
    refused, told = 0, set()
    for number in range(250):
        changed = bytearray(whole)
        for _ in range(1 + number % 3):
            changed[places.randrange(len(whole))] ^= 1 << places.randrange(8)
        path = tmp_path / "changed"
        path.write_bytes(changed)
        try:
            with EmbeddingIndex(path, create=False) as index:
                assert snapshot(index, held) == before
                assert facts == (
                    index.counts(),
                    index.model,
                    index.places(),
                    index.distinct("label"),
                )
        except (EmbeddingIndexError, InputError) as error:
            refused += 1
            told.add(str(error))
        for suffix in ("", "-wal", "-shm"):
            path.with_name(f"changed{suffix}").unlink(missing_ok=True)
    assert not any("\n" in text for text in told)
    assert refused > 50  # much of the file is empty


@pytest.mark.parametrize("column", ["exams.patient", "exams.device", "exams.scores"])
def test_a_changed_text_is_found(index_file, column):
    table, name = column.split(".")
    with sqlite3.connect(index_file) as connection:
        (text,) = connection.execute(
            f"SELECT {name} FROM {table} WHERE {name} IS NOT NULL LIMIT 1"
        ).fetchone()
    connection.close()
    content = index_file.read_bytes()
    assert content.count(text.encode()) > 1
    place = content.index(text.encode())
    index_file.write_bytes(content[:place] + b"?" + content[place + 1 :])
    assert "damaged" in refusal(index_file)


def test_a_changed_thumbnail_structure_is_found_by_looking_through_everything(index_file):
    content = bytearray(index_file.read_bytes())
    with sqlite3.connect(index_file) as connection:
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'thumbnails'"
        ).fetchone()
    connection.close()
    content[(root - 1) * 4096] = 0xFF
    index_file.write_bytes(content)
    with EmbeddingIndex(index_file) as index, pytest.raises(EmbeddingIndexError, match="damaged"):
        index.check()


def test_a_damaged_log_of_a_killed_writer_costs_what_was_not_written_at_most(
    tmp_path, configuration
):
    path = tmp_path / "eyes.octindex"
    with EmbeddingIndex(path) as index:
        for first in range(0, EXAMS, 8):
            index.add_records(records(EXAMS)[first : first + 8], MODEL)
        log = path.with_name("eyes.octindex-wal").read_bytes()
        file = path.read_bytes()
    assert len(log) > 10_000
    places, told = random.Random(2), []
    for number in range(30):
        copy = tmp_path / f"copy-{number}"
        copy.write_bytes(file)
        changed = bytearray(log)
        changed[places.randrange(len(log))] ^= 0x10
        copy.with_name(f"copy-{number}-wal").write_bytes(
            changed[: places.randrange(len(log))] if number % 2 else changed
        )
        try:
            with EmbeddingIndex(copy, create=False) as index:
                assert len(index) % 8 == 0  # whole batches
                index.check()
        except EmbeddingIndexError as error:
            told.append(str(error))
    assert not any("\n" in text for text in told)


def test_an_empty_file_a_text_and_another_programs_database(tmp_path, configuration, capsys):
    empty, text, other = (tmp_path / name for name in ("empty", "text", "other"))
    empty.touch()
    text.write_text("not a database at all\n" * 99)
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE about (name TEXT, value TEXT)")
    connection.close()
    before = other.read_bytes()
    assert "no index" in refusal(empty)
    assert empty.read_bytes() == b""
    for path, words in ((text, "is no index"), (other, "no index of embeddings")):
        assert words in refusal(path)
        with pytest.raises(EmbeddingIndexError, match=words):
            EmbeddingIndex(path)
    assert other.read_bytes() == before
    assert not (tmp_path / "configuration").exists()
    with EmbeddingIndex(empty) as index:  # when one is to be made, it may be
        assert len(index) == 0


def test_a_newer_version_and_another_programs_number(index_file):
    for pragma, words in (
        ("user_version = 2", "newer version"),
        ("application_id = 7", "no index"),
    ):
        copy = index_file.with_name("copy")
        shutil.copy(index_file, copy)
        with sqlite3.connect(copy) as connection:
            connection.execute(f"PRAGMA {pragma}")
        connection.close()
        assert words in refusal(copy)


def test_rebuild_puts_the_damaged_file_aside(index_file, tmp_path, capsys):
    content = index_file.read_bytes()[:5000]
    index_file.write_bytes(content)
    source = tmp_path / "exams"
    archive(source, 1)
    arguments = ["index", str(source), "--db", str(index_file), "--workers", "1"]
    assert main(arguments) == 2
    assert "--rebuild" in capsys.readouterr().err
    # What cannot be made again stays where it is.
    assert main([*arguments, "--rebuild"]) == 2
    assert "--model" in capsys.readouterr().err
    assert index_file.read_bytes() == content
    assert main([*arguments, "--rebuild", "--model", "demo-coep"]) == 0
    assert index_file.with_name("eyes.octindex.damaged-1").read_bytes() == content
    with EmbeddingIndex(index_file, create=False) as index:
        assert [where.path for _, _, where, _ in index.places()] == archive(source, 1)
