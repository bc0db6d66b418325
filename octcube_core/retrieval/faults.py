"""What can go wrong with an index, in one sentence that says what to do."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg


def damaged(path: Path) -> str:
    """Of a file whose content is not what was written."""
    return (
        f"The index {path} is damaged; make it again from the exams with octcube index DIR --db {path} --rebuild, which"
        " keeps the damaged file beside it."
    )


def newer(where: str) -> str:
    """Of tables that this version does not know."""
    return f"{where} was made by a newer version of napari-octcube; please update."


def sqlite_sentence(path: Path, error: sqlite3.Error | OSError, patience_s: float) -> str:
    """Of what SQLite or the file system raised."""
    if isinstance(error, OSError):
        return f"The index {path} cannot be opened ({error.strerror})."
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if isinstance(error, sqlite3.ProgrammingError):
        return f"The index {path} was closed; open it again."
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return (
            f"Another program has kept the index {path} locked for {patience_s:.0f} seconds; close it"
            " or try again later."
        )
    if code in (sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
        return (
            f"The index {path} is read-only: it can be searched, but nothing added; change its permissions"
            " or copy it elsewhere."
        )
    if code == sqlite3.SQLITE_FULL:
        return (
            f"The disk is full, so that the last exams were not added to the index {path}; make room and go"
            " on: nothing that was in it is lost."
        )
    if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, 0):
        # Its tables or texts are not what was written; what is asked of them is always the same.
        return damaged(path)
    if code == sqlite3.SQLITE_CANTOPEN:
        return (
            f"The index {path} cannot be opened or made; check that its folder exists and may be"
            " written to."
        )
    return f"The index {path} cannot be used ({error})."


def postgres_sentence(where: str, error: psycopg.Error) -> str:
    """Of what the server or the connection to it raised."""
    import psycopg

    first = " ".join((str(error).splitlines() or [type(error).__name__])[0].split())
    if isinstance(error, psycopg.errors.UndefinedFile | psycopg.errors.FeatureNotSupported):
        return f"The server of {where} has no pgvector; ask its administrator to install the extension."
    if isinstance(
        error, psycopg.errors.InsufficientPrivilege | psycopg.errors.ReadOnlySqlTransaction
    ):
        return f"You may not do that with the index {where} ({first}); ask its administrator."
    if isinstance(error, psycopg.errors.LockNotAvailable | psycopg.errors.QueryCanceled):
        return f"Others keep the index {where} locked; try again later."
    if isinstance(error, psycopg.errors.DiskFull):
        return (
            f"The disk of {where} is full, so that the last exams were not added; nothing that was in it is"
            " lost."
        )
    if isinstance(error, psycopg.OperationalError):
        _, refused, reason = " ".join(str(error).split()).partition("FATAL: ")
        if refused:
            return (
                f"The server of the index {where} refuses ({reason.strip()}); correct the address."
            )
        return f"The index {where} cannot be reached; check the address and the network, then try again."
    return f"The index {where} cannot be used ({first})."
