"""Analysing a folder in a process of its own, which can be stopped and goes on another day. No Qt."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import platformdirs
from psygnal import Signal, SignalGroupDescriptor

from napari_octcube._background_command import ERROR, BackgroundCommand, last_line, told_in
from napari_octcube._batch_rows import BatchRow
from napari_octcube._inference import Dispatch
from napari_octcube._portions import Portions
from napari_octcube._settings import Settings
from octcube_core.batch.columns import path_text
from octcube_core.batch.journal import journal_of
from octcube_core.errors import ExamReadError
from octcube_core.exam import Exam
from octcube_core.readers import find_exams

COMMAND = ("-m", "octcube_core.cli", "analyze")
PORTION = 200  # rows that an observer is told of at once, so that each telling is short
STOPPED = "Stopped; what was analysed is in the table, and Resume goes on from there."
DIED = "The analysis ended unexpectedly; Resume goes on from where it was."


def default_table(folder: Path) -> Path:
    """Where the results of a folder go: next to it, or where that may not be written, into the user's documents."""
    name = f"{folder.name or 'exams'} scores.parquet"
    if os.access(folder.parent, os.W_OK):
        return folder.parent / name
    return platformdirs.user_documents_path() / name


def is_begun(table: Path) -> bool:
    """Whether there are results to go on with."""
    return table.exists() or journal_of(table).exists()


def reader_of_row(row: BatchRow, folder: Path) -> Callable[[], Exam]:
    """The function that reads the exam of a row; what lists it may take a while, so that happens in there too."""

    def read() -> Exam:
        if not Path(row.path).exists():
            raise ExamReadError(
                f"{Path(row.path).name} is no longer there; analyse its folder again."
            )
        entries = list(find_exams(row.path))
        same = [entry for entry in entries if path_text(entry.part) == row.part]
        if not same and len(entries) == 1:  # opened by itself it is the only one, and has no part
            same = entries
        if len(same) != 1:
            same = [
                entry
                for entry in find_exams(folder)
                if (path_text(str(entry.path.resolve())), path_text(entry.part))
                == (row.path, row.part)
            ]
        if not same:
            raise ExamReadError(f"{row.name} is no longer there; analyse its folder again.")
        return same[0].read()

    return read


@dataclass(eq=False)
class BatchState:
    """What is shown of a run; ``events.<field>`` tells when a field changes.

    Attributes
    ----------
    running : bool
    stage, fraction : str, float
        What is being done and how far it is, 0 to 1.
    note, error : str
        How the last run ended; empty before.
    """

    running: bool = False
    stage: str = ""
    fraction: float = 0.0
    note: str = ""
    error: str = ""

    events: ClassVar[SignalGroupDescriptor] = SignalGroupDescriptor()


class FolderAnalysis:
    """Runs ``octcube analyze FOLDER --out TABLE`` and hands over its rows in portions, on the owner's thread.

    Parameters
    ----------
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    command : sequence of str
        What follows ``python``.
    settings : Settings, optional
        Where and how models run.
    """

    described: ClassVar[Signal] = Signal(dict)  # what each column of the model is, by name
    added: ClassVar[Signal] = Signal(list)  # of BatchRow

    def __init__(
        self,
        dispatch: Dispatch,
        command: Sequence[str] = COMMAND,
        settings: Settings | None = None,
    ) -> None:
        self._settings = settings or Settings()
        self.state = BatchState()
        self._dispatch = dispatch
        self._arguments = command
        self._run: _Run | None = None

    def start(self, folder: Path, model: str, table: Path) -> None:
        """Analyse a folder into a table, or go on with it if it is there."""
        if self._run is not None:
            return
        state = self.state
        state.note = state.error = ""
        state.stage, state.fraction = "Starting", 0.0
        state.running = True
        resume = ("--resume",) if is_begun(table) else ()
        runtime = self._settings.runtime
        arguments = (*self._arguments, str(folder), "--model", model, "--out", str(table))
        options = ("--json", *resume, *runtime.arguments)
        self._run = _Run((*arguments, *options), folder, self, runtime.environment)
        self._run.start()

    def stop(self) -> None:
        """End it; what it has analysed stays."""
        if self._run is not None:
            self.state.stage = "Stopping …"
            self._run.stop()

    def close(self) -> None:
        """End it; nothing is heard of it afterwards."""
        run, self._run = self._run, None
        if run is not None:
            run.stop()

    def dispatch(self, run: _Run, function: Callable[[], None]) -> None:
        """Run a function on the owner's thread, if the run still counts."""
        self._dispatch(lambda: function() if run is self._run else None)

    def take(self, portion: list[dict[str, Any]]) -> None:
        """What a run has told, in order."""
        rows = [told["row"] for told in portion if "row" in told]
        for told in portion:
            if "columns" in told:
                self.described.emit(told["columns"])
        steps = [told for told in portion if "stage" in told]
        if rows:
            self.added.emit(rows)
        if steps and self.state.stage != "Stopping …":
            self.state.stage = str(steps[-1]["stage"])
            self.state.fraction = float(steps[-1]["fraction"])

    def end(self, run: _Run, code: int | None, errors: str, report: dict[str, Any]) -> None:
        """A run is over."""
        self._run = None
        state = self.state
        if code == 0 and report:
            state.note, state.fraction = _words(report), 1.0
        elif run.stopped:
            state.note = STOPPED
        else:
            last = last_line(errors)
            state.error = last.removeprefix(ERROR) if last.startswith(ERROR) else DIED
        state.stage = ""
        state.running = False


class _Run:
    """One run, which gathers what it tells until the owner's thread has time for it."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        owner: FolderAnalysis,
        environment: Mapping[str, str],
    ) -> None:
        self.stopped = False
        self._folder = folder
        self._owner = owner
        self._lines: Portions[dict[str, Any]] = Portions(
            PORTION, lambda take: owner.dispatch(self, take), self._take
        )
        self._report: dict[str, Any] = {}
        # Lines become rows on the command's thread: thousands come at once when a run goes on.
        self._command = BackgroundCommand(
            arguments, lambda function: function(), self._on_line, self._on_end, environment
        )

    def start(self) -> None:
        self._command.start()

    def stop(self) -> None:
        self.stopped = True
        self._command.stop()

    def _on_line(self, line: str) -> None:
        told = told_in(line)
        if "row" in told:
            told["row"] = BatchRow(told["row"], self._folder)
        if told:  # else it is a library's word
            self._lines.add(told)

    def _on_end(self, code: int | None, errors: str) -> None:
        self._lines.add({"end": (code, errors)})  # the last of all

    def _take(self, portion: list[dict[str, Any]], more: bool) -> None:
        for told in portion:
            self._report = told.get("report", self._report)
        self._owner.take(portion)
        if portion and "end" in portion[-1]:
            self._owner.end(self, *portion[-1]["end"], self._report)


def _words(report: dict[str, Any]) -> str:
    known = f", {report['known']} were there" if report["known"] else ""
    failed = f", {report['failed']} could not be" if report["failed"] else ""
    return f"{report['analysed']} exams analysed{failed}{known}. Results: {report['out']}"
