"""``octcube analyze DIR --out FILE.parquet``: all exams of a folder into a table."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octcube_core.cli.arguments import positive
from octcube_core.cli.output import print_json_line, print_lines, progress, progress_lines
from octcube_core.errors import InputError, printable

if TYPE_CHECKING:
    from octcube_core.batch.report import TableReport

SHOWN_FAILURES = 20
_OF_A_FOLDER = {
    "exam": "--exam",
    "saliency": "--saliency",
    "layer": "--layer",
    "dicom": "--dicom",
}
_OF_A_TABLE = {
    "resume": "--resume",
    "workers": "--workers",
    "with_patient": "--with-patient",
    "json": "--json",
}


def add(analyze: argparse.ArgumentParser) -> None:
    """Add what only a table takes."""
    table = analyze.add_argument_group("for a table")
    table.add_argument(
        "--resume",
        action="store_true",
        help="go on with a table: exams that have not changed are passed over, those that failed are tried again",
    )
    table.add_argument(
        "--workers", type=positive, help="processes that read (default: one per core)"
    )
    table.add_argument(
        "--with-patient",
        action="store_true",
        help="add the patient's id and the date of the exam to the table",
    )
    table.add_argument(
        "--json", action="store_true", help="print JSON, a line for each step and each exam"
    )


def wanted(arguments: argparse.Namespace) -> bool:
    """Whether a table is asked for; InputError if what else is asked for does not go with that."""
    from octcube_core.batch.table_file import is_table

    table = is_table(arguments.out)
    excluded = _OF_A_FOLDER if table else _OF_A_TABLE
    given = [text for name, text in excluded.items() if getattr(arguments, name)]
    if given and table:
        raise InputError(f"A table holds the scores of all exams; leave {given[0]} out.")
    if given:
        raise InputError(
            f"{given[0]} is for a table of all exams; end --out in .parquet or .csv, or leave {given[0]} out."
        )
    return table


def run(arguments: argparse.Namespace) -> None:
    """Analyse all exams into a table and print what was done, also if that was cut short."""
    from octcube_core.batch.journal import check_target
    from octcube_core.batch.report import TableReport

    out = arguments.out.expanduser()
    # Before the model is loaded, which may take minutes.
    check_target(out, arguments.resume)
    report, began = TableReport(), False

    def on_begin() -> None:
        nonlocal began
        began = True

    try:
        _fill(arguments, out, report, on_begin)
    except (KeyboardInterrupt, SystemExit):
        if began:
            _print_report(report, out, True, arguments.json)
        raise
    _print_report(report, out, False, arguments.json)
    if report.failures and not (report.analysed or report.known):
        raise InputError(f"No exam could be analysed: {report.failures[0][1]}")


def _fill(
    arguments: argparse.Namespace, out: Path, report: TableReport, on_begin: Callable[[], None]
) -> None:
    with progress_lines() if arguments.json else progress() as on_progress:
        on_progress("Loading the model", 0.0)
        from octcube_core.batch.columns import Columns
        from octcube_core.batch.run import analyze_table
        from octcube_core.checkpoints import load_model

        model = load_model(
            arguments.model,
            device=arguments.device,
            precision=arguments.precision,
            on_progress=on_progress,
        )
        if arguments.json:
            print_json_line({"columns": Columns.of(model.card, arguments.with_patient).about})
        on_progress("Looking for exams", 0.0)
        on_begin()
        analyze_table(
            arguments.path,
            model,
            out,
            resume=arguments.resume,
            fast=arguments.fast,
            with_patient=arguments.with_patient,
            workers=arguments.workers,
            axes=arguments.axes,
            shape=arguments.shape,
            on_progress=on_progress,
            on_row=(lambda row: print_json_line({"row": row})) if arguments.json else None,
            report=report,
        )


def _print_report(report: TableReport, out: Path, stopped: bool, as_json: bool) -> None:
    if as_json:
        print_json_line({"report": {**_as_json(report), "out": str(out), "stopped": stopped}})
        return
    known = f", {report.known} were there" if report.known else ""
    failed = f", {len(report.failures)} could not be" if report.failures else ""
    state = f"{out} holds {report.rows}" if report.rows else f"{out} was not written"
    more = "; --resume goes on" if stopped else ""
    print_lines(
        printable(f"{report.analysed} exams analysed{failed}{known}; {state}{more}."),
        *(printable(f"{name}: {text}") for name, text in report.failures[:SHOWN_FAILURES]),
    )
    if len(report.failures) > SHOWN_FAILURES:
        more_failures = len(report.failures) - SHOWN_FAILURES
        print_lines(f"... and {more_failures} more, in the column 'error'.")


def _as_json(report: TableReport) -> dict[str, Any]:
    return {
        "analysed": report.analysed,
        "known": report.known,
        "failed": len(report.failures),
        "rows": report.rows,
    }
