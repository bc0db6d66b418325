"""``octcube index``: fill an index of similar eyes from folders of exams, or say what is in it."""

from __future__ import annotations

import argparse
import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octcube_core.cli.arguments import add_runtime, positive
from octcube_core.cli.output import (
    print_json,
    print_json_line,
    print_lines,
    print_table,
    progress,
    progress_lines,
)
from octcube_core.errors import InputError, printable

if TYPE_CHECKING:
    from octcube_core.models.family import Model
    from octcube_core.retrieval import EmbeddingIndex, FillReport

SHOWN_FAILURES = 20
_SAY_MODEL = "Say with --model which model is to embed the exams, e.g. --model demo-coep."
OnProgress = Callable[[str, float], None]


def add(commands: Any) -> None:
    """Add the command."""
    index = commands.add_parser(
        "index",
        help="fill an index of similar eyes from folders, or show what is in it",
        description="Embed all exams in folders and keep them in an index. What is there already is skipped; a run "
        "that was ended goes on where it was. Without a folder: show what the index holds.",
    )
    index.add_argument(
        "sources", nargs="*", type=Path, metavar="DIR", help="folders or files of exams"
    )
    index.add_argument(
        "--db", required=True, metavar="FILE_OR_URL", help="file of the index, or postgresql://..."
    )
    index.add_argument(
        "--model",
        metavar="NAME_OR_FILE",
        help="e.g. demo-coep; default: the model that made the index",
    )
    index.add_argument(
        "--sync", action="store_true", help="remove exams whose files were in DIR and are gone"
    )
    index.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="CSV: path, and labels or a column of 0 and 1 for each",
    )
    index.add_argument(
        "--scores",
        metavar="NAME_OR_FILE",
        help="classifier whose probabilities are noted with each exam",
    )
    index.add_argument(
        "--patient-folders",
        action="store_true",
        help="where an exam states no patient, the first folder below DIR stands for one",
    )
    index.add_argument(
        "--workers", type=positive, help="processes that read (default: one per core)"
    )
    index.add_argument(
        "--rebuild", action="store_true", help="put a damaged file aside and make the index again"
    )
    index.add_argument(
        "--salt", type=Path, metavar="FILE", help="salt from where the index was made"
    )
    index.add_argument(
        "--check", action="store_true", help="look through the whole index for damage"
    )
    index.add_argument("--json", action="store_true", help="print JSON; progress too, a line each")
    add_runtime(index)
    index.set_defaults(run=_index)


def _index(arguments: argparse.Namespace) -> None:
    from octcube_core.retrieval import EmbeddingIndex

    if arguments.rebuild:
        _put_aside(arguments)
    elif not arguments.sources and (arguments.sync or arguments.labels or arguments.scores):
        raise InputError("Name the folders of the exams (DIR).")
    with EmbeddingIndex(arguments.db, create=bool(arguments.sources)) as index:
        if arguments.salt is not None:
            index.take_salt(arguments.salt)
        if arguments.check:
            index.check()
        if arguments.sources:
            _fill(index, arguments)
        else:
            _describe(index, arguments.json)


def _put_aside(arguments: argparse.Namespace) -> None:
    """Rename a damaged index, so that a new one takes its place and nothing is lost."""
    from octcube_core.retrieval.postgres_address import is_postgres

    if is_postgres(arguments.db) or not arguments.sources:
        raise InputError(
            "--rebuild is for the file of an index, and needs the folders of the exams (DIR)."
        )
    path = Path(arguments.db).expanduser()
    if arguments.model is None:  # as before, if the file still tells, and before anything is moved
        arguments.model = _model_of_damaged(path)
    number = 1
    while path.with_name(f"{path.name}.damaged-{number}").exists():
        number += 1
    for suffix in ("", "-wal", "-shm"):
        part = path.with_name(path.name + suffix)
        if part.exists():
            part.rename(path.with_name(f"{path.name}.damaged-{number}{suffix}"))


def _model_of_damaged(path: Path) -> str:
    """What the model of a damaged index was loaded by; InputError if that cannot be told."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            (about,) = connection.execute("SELECT value FROM about WHERE name = 'model'").fetchone()
        source = json.loads(about)["model_source"]
    except (sqlite3.Error, OSError, ValueError, TypeError, KeyError):
        source = None
    if not source or not isinstance(source, str):
        raise InputError(_SAY_MODEL)
    return source


def _fill(index: EmbeddingIndex, arguments: argparse.Namespace) -> None:
    from octcube_core.retrieval.fill import fill
    from octcube_core.retrieval.fill_plan import plan_filling
    from octcube_core.retrieval.label_table import LabelTable

    labels = LabelTable.read(arguments.labels) if arguments.labels is not None else None
    with progress_lines() if arguments.json else progress() as on_progress:
        plan = plan_filling(arguments.sources, index, on_progress)
        model = scorer = None
        if plan.todo:
            model = _load(_model_name(index, arguments), arguments, on_progress)
            if arguments.scores is not None:
                scorer = _load(arguments.scores, arguments, on_progress)
        report = fill(
            plan,
            index,
            model,
            sync=arguments.sync,
            labels=labels,
            scorer=scorer,
            patient_folders=arguments.patient_folders,
            workers=arguments.workers,
            on_progress=on_progress,
        )
    counts = index.counts()
    if arguments.json:
        print_json_line({"report": _as_json(report), "index": counts})
    else:
        _print_report(report, index, counts)
    if report.failures and not counts["exams"]:
        raise InputError(report.failures[0][1])


def _model_name(index: EmbeddingIndex, arguments: argparse.Namespace) -> str:
    if arguments.model is not None:
        return str(arguments.model)
    if index.model is None:
        raise InputError(_SAY_MODEL)
    if not index.model.source:
        raise InputError(f"Say with --model where {index.model.title} is, which made the index.")
    return index.model.source


def _load(name: str, arguments: argparse.Namespace, on_progress: OnProgress) -> Model:
    from octcube_core.checkpoints import load_model
    from octcube_core.embedding import model_identity

    on_progress("Loading the model", 0.0)
    model = load_model(
        name, device=arguments.device, precision=arguments.precision, on_progress=on_progress
    )
    model_identity(model, name)
    return model


def _as_json(report: FillReport) -> dict[str, Any]:
    return {
        "added": report.added,
        "known": report.known,
        "relabelled": report.relabelled,
        "removed": report.removed,
        "failures": [{"exam": name, "error": text} for name, text in report.failures],
    }


def _print_report(report: FillReport, index: EmbeddingIndex, counts: dict[str, int]) -> None:
    relabelled = f", {report.relabelled} labelled anew" if report.relabelled else ""
    removed = f", {report.removed} removed" if report.removed else ""
    failed = f", {len(report.failures)} could not be read" if report.failures else ""
    print_lines(
        f"{report.added} exams added, {report.known} were there{relabelled}{removed}{failed};"
        f" {printable(index.where)} holds {counts['exams']}."
    )
    for name, text in report.failures[:SHOWN_FAILURES]:
        print_lines(printable(f"{name}: {text}"))
    if len(report.failures) > SHOWN_FAILURES:
        print_lines(f"... and {len(report.failures) - SHOWN_FAILURES} more; --json lists all.")


def _describe(index: EmbeddingIndex, as_json: bool) -> None:
    counts = index.counts()
    model = index.model
    facts = {
        "index": index.where,
        "model": None if model is None else {"title": model.title, "hash": model.hash},
        "counts": counts,
        "devices": index.distinct("device"),
        "labels": index.distinct("label"),
        "salt": str(index.salt_file) if index.secret else None,
        "read_only": index.read_only,
    }
    if as_json:
        print_json(facts)
        return
    salt = str(index.salt_file) if index.secret else "not on this computer (--salt FILE takes it)"
    embedded = ", ".join(f"{count} {name}" for name, count in counts.items() if name != "exams")
    print_table(
        (
            ("Index", index.where),
            ("Model", "none yet" if model is None else f"{model.title} ({model.hash[:8]})"),
            ("Exams", str(counts["exams"])),
            ("Embeddings", embedded or "none"),
            ("Devices", "; ".join(index.distinct("device")) or "unknown"),
            ("Labels", ", ".join(index.distinct("label")) or "none"),
            ("Salt", salt),
        )
    )
