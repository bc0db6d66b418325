"""Indexing a folder in the background, in a process of its own, which can be stopped and goes on another day. No Qt."""

from __future__ import annotations

from pathlib import Path

from napari_octcube._background_command import ERROR, BackgroundCommand, last_line, told_in
from napari_octcube._inference import Dispatch
from napari_octcube._similar import SimilarEyes

COMMAND = ("-m", "octcube_core.cli", "index")


class FolderIndexing:
    """Runs ``octcube index`` for the tab's archive and tells the state how far it is."""

    def __init__(self, similar: SimilarEyes, dispatch: Dispatch) -> None:
        self._similar = similar
        self._dispatch = dispatch
        self._command: BackgroundCommand | None = None
        self._report: dict[str, object] = {}

    def start(self, folder: Path) -> None:
        """Index a folder, unless another is being indexed."""
        state = self._similar.state
        model = self._similar.known_model()
        if state.archive is None or model is None or self._command is not None:
            return
        state.error = state.note = ""
        state.indexing, state.fraction = f"Indexing {folder.name}", 0.0
        self._report = {}
        runtime = self._similar.settings.runtime.for_embeddings
        arguments = (
            *(*COMMAND, str(folder), "--json"),
            *("--db", state.archive.address, "--model", model),
            *runtime.arguments,
        )
        self._command = BackgroundCommand(
            arguments, self._dispatch, self._on_line, self._on_end, runtime.environment
        )
        self._command.start()

    def stop(self) -> None:
        """End it; what it has added stays, and the next time it goes on."""
        if self._command is not None:
            self._similar.state.indexing = "Stopping …"
            self._command.stop()

    def close(self) -> None:
        """End it; nothing is heard of it afterwards."""
        command, self._command = self._command, None
        if command is not None:
            command.stop()

    def _on_line(self, line: str) -> None:
        told, state = told_in(line), self._similar.state
        if self._command is None:
            return
        if "report" in told:
            self._report = told["report"]
        elif "stage" in told:
            state.indexing, state.fraction = str(told["stage"]), float(told["fraction"])

    def _on_end(self, code: int | None, errors: str) -> None:
        if self._command is None:
            return
        self._command = None
        state = self._similar.state
        state.indexing = ""
        if code == 0 and self._report:
            state.note = _words(self._report)
        elif code is not None and code not in (143, -15):
            last = last_line(errors) or "The folder could not be indexed."
            self._similar.fail(last.removeprefix(ERROR))
        else:
            state.note = "Stopped; what was indexed stays, and the next time it goes on from there."
        self._similar.refresh()


def _words(report: dict[str, object]) -> str:
    failures = report["failures"]
    assert isinstance(failures, list)
    failed = ""
    if failures:
        exams = "exam" if len(failures) == 1 else "exams"
        failed = f"; {len(failures)} {exams} could not be read, e.g. {failures[0]['error']}"
    return f"{report['added']} exams added, {report['known']} were there{failed}"
