"""Every exam of files and folders through one model, into a table: decoded in parallel, scored one by one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import cloudpickle

from octcube_core.batch import prepared
from octcube_core.batch.columns import Columns, Key, Row, score_facts
from octcube_core.batch.journal import Journal, check_target
from octcube_core.batch.listing import Listed, OnProgress, list_exams
from octcube_core.batch.prepared import Prepared
from octcube_core.batch.report import TableReport
from octcube_core.batch.scoring import score
from octcube_core.embedding import model_identity
from octcube_core.errors import InputError, OCTCubeError
from octcube_core.models.family import Model
from octcube_core.ordered_pool import OrderedPool
from octcube_core.worker_processes import available_cores

_FIRST_ESTIMATE_S = 3.0  # before which the seconds left are anybody's guess


def analyze_table(
    sources: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    model: Model,
    out: str | os.PathLike[str],
    *,
    resume: bool = False,
    fast: bool = False,
    with_patient: bool = False,
    workers: int | None = None,
    axes: str | None = None,
    shape: tuple[int, int, int] | None = None,
    on_progress: OnProgress | None = None,
    on_row: Callable[[Row], None] | None = None,
    report: TableReport | None = None,
) -> TableReport:
    """Analyse all exams in files and folders into a table with a row for each.

    The numbers are those of ``analyze``. An exam that cannot be read or analysed is a row with the reason in the
    column ``error``. Each row is kept at once in a file beside the table, so that a run that is ended at any moment,
    in whatever way, loses none; the table is written at the end, or when the run is interrupted.

    Parameters
    ----------
    sources : one or several files or folders
    model : Model
        In eval mode; of diseases, of values or an aligned one.
    out : path
        ``.parquet`` or ``.csv``.
    resume : bool
        Go on with a table that is there: exams whose files are unchanged are passed over, unless they failed.
    fast : bool
        As for ``analyze``.
    with_patient : bool
        Add the patient's id and the date of the exam.
    workers : int, optional
        Processes that read; by default one for each core.
    axes, shape
        As for ``read_exam``.
    on_progress : callable, optional
        Told what is being done and the fraction done; what it raises ends the run, and loses nothing.
    on_row : callable, optional
        Told each row as it comes; with ``resume`` first of those that are there and stay.
    report : TableReport, optional
        Filled while the run goes on, for who ends it.

    Returns
    -------
    TableReport

    Raises
    ------
    ExamReadError
        If there is no exam at a source.
    InputError
        If ``out`` exists and is not to be resumed, holds results of another model or of other options, or cannot be
        written; or if the model gives no scores.
    """
    target = Path(out)
    check_target(target, resume)
    columns = Columns.of(model.card, with_patient)
    several = (sources,) if isinstance(sources, str | os.PathLike) else tuple(sources)
    listed = list_exams([Path(source) for source in several], axes, shape, on_progress)
    report = TableReport() if report is None else report
    identity = model_identity(model)
    with Journal(target, columns, identity, fast) as journal:
        journal.order([each.key for each in listed])
        todo = [each for each in listed if not _is_known(journal.rows.get(each.key), each)]
        report.known, report.rows = len(listed) - len(todo), len(journal.rows)
        again = {each.key for each in todo}
        if on_row is not None:
            for key, row in list(journal.rows.items()):
                if key not in again:
                    on_row(row)
        run_facts = {"model": identity.title, "model_hash": identity.hash, "fast": fast}
        began = 0.0
        for done, (exam, facts) in enumerate(_results(todo, model, fast, with_patient, workers), 1):
            row = columns.row({**exam.facts, **run_facts, **facts})
            journal.add(row)
            report.rows = len(journal.rows)
            if row["error"] is None:
                report.analysed += 1
            else:
                report.failures.append((_name(exam.key), row["error"]))
            if on_row is not None:
                on_row(row)
            if on_progress is not None:
                began = time.monotonic() if done == 1 else began
                words = _words(done, len(todo), report, time.monotonic() - began)
                on_progress(words, done / len(todo))
    return report


def _is_known(row: Row | None, exam: Listed) -> bool:
    """Whether an exam was analysed as it is now."""
    return (
        row is not None
        and row["error"] is None
        and all(row[name] == exam.facts[name] for name in ("file_bytes", "file_modified_ns"))
    )


def _results(
    todo: Sequence[Listed], model: Model, fast: bool, with_patient: bool, workers: int | None
) -> Iterator[tuple[Listed, dict[str, Any]]]:
    """Each exam with what was found out about it, by column."""
    if model.training:
        raise InputError("The model is in training mode; call its eval() before analysing with it.")
    if not todo:
        return
    pool: OrderedPool[Prepared] = OrderedPool(
        prepared.prepare,
        min(workers or available_cores(), len(todo)),
        prepared.start,
        (
            # By value, with the closures that read each; found again in each process they would cost as much again.
            cloudpickle.dumps([each.entry for each in todo]),
            model.card.to_json(),
            with_patient,
        ),
        prepared.lost,
    )
    with closing(pool.results(range(len(todo)))) as results:
        for number, ready in results:
            yield todo[number], {**ready.facts, **_scores(model, ready, fast)}


def _scores(model: Model, ready: Prepared, fast: bool) -> dict[str, Any]:
    if ready.error:
        return {"error": ready.error}
    try:
        scored = score(model, ready.inputs, fast)
    except OCTCubeError as error:
        return {"error": str(error)}
    except (RuntimeError, ValueError, ArithmeticError) as error:
        # A bad exam never stops the others.
        return {"error": f"It cannot be analysed ({type(error).__name__}); open it by itself."}
    return {
        **score_facts(scored.found.scores, scored.found.measurements),
        "normal_probability": scored.found.normal,
        "top_target": scored.found.top_target,
        "key_bscan": scored.key_bscan,
        "run_device": scored.device,
        "precision": scored.precision,
        "seconds": scored.seconds,
        "notes": " ".join(scored.notes),
    }


def _name(key: Key) -> str:
    path, part = key
    return f"{path} ({part})" if part else path


def _words(done: int, total: int, report: TableReport, elapsed_s: float) -> str:
    failed = f", {len(report.failures)} failed" if report.failures else ""
    left = ""
    # Counted from the first, which had to wait for the processes to start.
    if elapsed_s > _FIRST_ESTIMATE_S and done < total:
        left = f", {_duration(elapsed_s / (done - 1) * (total - done))} left"
    return f"{done} of {total} exams{failed}{left}"


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
