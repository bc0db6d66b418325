"""The file of an index: its tables, and whether it is one."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from octcube_core.errors import EmbeddingIndexError
from octcube_core.retrieval.database import VERSION
from octcube_core.retrieval.faults import damaged, newer

APPLICATION_ID = 0x0C7CBE01  # in the header, by which a file is known as ours
_MAGIC = b"SQLite format 3\0"

_TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE INDEX about_value ON about (value);
CREATE TABLE exams (
    id INTEGER PRIMARY KEY AUTOINCREMENT, content TEXT NOT NULL UNIQUE, patient TEXT, laterality TEXT,
    visit_day INTEGER, device TEXT, scores TEXT, location BLOB, stamp TEXT);
CREATE INDEX exams_location ON exams (location);
CREATE INDEX exams_facts ON exams (patient, laterality, visit_day, device, scores, stamp);
CREATE TABLE labels (
    exam INTEGER NOT NULL REFERENCES exams ON DELETE CASCADE, label TEXT NOT NULL, PRIMARY KEY (exam, label)
) WITHOUT ROWID;
CREATE INDEX labels_label ON labels (label, exam);
CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT, exam INTEGER NOT NULL REFERENCES exams ON DELETE CASCADE,
    modality TEXT NOT NULL, embedding BLOB NOT NULL, checksum INTEGER NOT NULL, UNIQUE (exam, modality));
CREATE TABLE thumbnails (item INTEGER PRIMARY KEY REFERENCES items ON DELETE CASCADE, picture BLOB NOT NULL);
CREATE TABLE changes (number INTEGER PRIMARY KEY AUTOINCREMENT, exam INTEGER NOT NULL);
"""
STATEMENTS = [statement for part in _TABLES.split(";") if (statement := part.strip())]
# Not the thumbnails, which are most of the file, and a damaged one misleads nobody.
CHECKED = ("about", "exams", "labels", "items", "changes")


def check_start(path: Path) -> None:
    """Refuse a file that is no database, or was cut short."""
    if not path.exists():
        return
    with path.open("rb") as file:
        header = file.read(100)
        size = file.seek(0, os.SEEK_END)
    if not header:
        return  # new
    if header[:16] != _MAGIC[: len(header)]:
        raise EmbeddingIndexError(f"{path} is no index of embeddings.")
    page = int.from_bytes(header[16:18], "big")
    page = 65536 if page == 1 else page
    pages = int.from_bytes(header[28:32], "big")
    if len(header) < 100 or (size < page * pages and not _has_log(path)):
        raise EmbeddingIndexError(damaged(path))


def has_tables(path: Path, connection: sqlite3.Connection) -> bool:
    """Whether there are tables; refuses those of another program, of a newer version, or changed."""
    # All that is read is of one moment: another process may be making the tables.
    connection.execute("BEGIN")
    try:
        (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        found = connection.execute("SELECT sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        statements = {sql for (sql,) in found.fetchall()}
    finally:
        connection.execute("COMMIT")
    if application != APPLICATION_ID and tables:
        raise EmbeddingIndexError(f"{path} is a database, but no index of embeddings.")
    if version > VERSION:
        raise EmbeddingIndexError(newer(str(path)))
    if not tables:
        return False
    if version < VERSION or statements != set(STATEMENTS):
        raise EmbeddingIndexError(damaged(path))
    return True


def missing(path: Path) -> str:
    """Of an index that is not there."""
    return f"There is no index {path}; octcube index DIR --db {path} makes one."


def _has_log(path: Path) -> bool:
    log = path.with_name(f"{path.name}-wal")
    return log.exists() and log.stat().st_size > 0
