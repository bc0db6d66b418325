"""Makes the map of the archive in a process of its own, and finds the place of the eye in view on it. No Qt."""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_octcube._background_command import BackgroundCommand, last_line
from napari_octcube._inference import Dispatch
from napari_octcube._similar import SimilarEyes
from napari_octcube._similar_state import ShownMap
from octcube_core.errors import OCTCubeError
from octcube_core.retrieval.archive_map import read_map
from octcube_core.retrieval.index import EmbeddingIndex

COMMAND = ("-m", "octcube_core.retrieval.archive_map")
MAKING = "Making the map …"


class MapMaking:
    """Makes one map at a time; the state gets it."""

    def __init__(self, similar: SimilarEyes, dispatch: Dispatch) -> None:
        self._similar = similar
        self._dispatch = dispatch
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # once a map is made
        self._command: BackgroundCommand | None = None
        similar.state.events.found.connect(self._place)

    def start(self, method: str) -> None:
        """Lay out the eyes of the modality that is looked among."""
        state = self._similar.state
        if state.archive is None or self._command is not None:
            return
        state.error = ""
        state.busy = MAKING
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(
                prefix="octcube-map-", ignore_cleanup_errors=True
            )
        modality, file = state.to, Path(self._folder.name) / "map.npz"
        arguments = (
            *(*COMMAND, "--db", state.archive.address, "--modality", modality),
            *("--method", method, "--out", str(file)),
        )
        self._command = BackgroundCommand(
            arguments,
            self._dispatch,
            lambda line: None,
            lambda code, errors: self._on_end(code, errors, file, modality, method),
        )
        self._command.start()

    def close(self) -> None:
        """End what is being made; nothing is heard of it afterwards."""
        command, self._command = self._command, None
        if command is not None:
            command.stop()
        if self._folder is not None:
            self._folder.cleanup()

    def _on_end(
        self, code: int | None, errors: str, file: Path, modality: str, method: str
    ) -> None:
        if self._command is None:
            return
        self._command = None
        if code != 0:
            self._similar.fail(last_line(errors) or "The map could not be made.")
            return

        def read(index: EmbeddingIndex) -> ShownMap:
            try:
                archive_map = read_map(file)
            except (OSError, ValueError) as error:
                raise OCTCubeError("The map could not be read; please try again.") from error
            exams = archive_map.exams.tolist()
            labels = index.labels_of(exams)
            return ShownMap(archive_map, modality, method, labels, *_classes(exams, labels))

        self._similar.archive.run(read, self._on_map, self._similar.fail)

    def _on_map(self, shown: ShownMap) -> None:
        self._similar.state.busy = ""
        self._similar.state.map = shown
        self._place()

    def _place(self) -> None:
        """Find where the eye in view lies."""
        state, vector = self._similar.state, self._similar.query_vector()
        shown = state.map
        if shown is None:
            return
        here = None
        if state.found is not None and vector is not None:
            near = {each.exam: each.similarity for each in state.found.neighbours}
            if shown.modality == state.found.to:
                here = shown.archive_map.place(np.asarray(vector, np.float32), near)
        if here is not None or shown.here is not None:
            state.map = replace(shown, here=here)


def _classes(
    exams: list[int], labels: dict[int, tuple[str, ...]]
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """First labels by their frequency, and the place of each exam's among them; -1 without one."""
    first = [labels[exam][0] if exam in labels else None for exam in exams]
    ranked = [name for name, _ in Counter(filter(None, first)).most_common()]
    numbers = {name: number for number, name in enumerate(ranked)}
    return tuple(ranked), np.array([numbers.get(name or "", -1) for name in first], np.int64)
