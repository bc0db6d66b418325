"""The index of similar eyes, on a thread of its own, so that no file or server ever stops the viewer. No Qt."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from napari_octcube._inference import Dispatch
from octcube_core.errors import OCTCubeError
from octcube_core.results import ModelIdentity
from octcube_core.retrieval.index import EmbeddingIndex

T = TypeVar("T")
OnError = Callable[[str], None]


@dataclass(frozen=True)
class ArchiveFacts:
    """What an open index holds, as the viewer shows it.

    Attributes
    ----------
    address : str
        What to open it by again.
    name : str
        What to call it.
    counts : exams, and embeddings by modality
    """

    address: str
    name: str
    model: ModelIdentity | None
    counts: dict[str, int]
    devices: tuple[str, ...]
    labels: tuple[str, ...]
    read_only: bool
    has_salt: bool

    @property
    def modalities(self) -> tuple[str, ...]:
        """What can be looked among."""
        return tuple(name for name in self.counts if name != "exams")


def facts_of(index: EmbeddingIndex, address: str) -> ArchiveFacts:
    """Ask an index what it holds."""
    name = index.where.rstrip("/").rpartition("/")[2] or index.where
    return ArchiveFacts(
        address,
        name,
        index.model,
        index.counts(),
        tuple(index.distinct("device")),
        tuple(index.distinct("label")),
        index.read_only,
        index.secret is not None,
    )


class Archive:
    """Runs functions on the open index, one after another, off the owner's thread.

    Parameters
    ----------
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    """

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._index: EmbeddingIndex | None = None
        self._latest: dict[str, int] = {}
        self._thread: threading.Thread | None = None

    def open(
        self, address: str, create: bool, on_open: Callable[[ArchiveFacts], None], on_error: OnError
    ) -> None:
        """Open an index in the place of the one before, which stays open if this fails."""

        def work(_: EmbeddingIndex | None) -> ArchiveFacts:
            index = EmbeddingIndex(address, create=create)
            if self._index is not None:
                self._index.close()
            self._index = index
            return facts_of(index, address)

        self._put(work, on_open, on_error, "")

    def run(
        self,
        work: Callable[[EmbeddingIndex], T],
        on_result: Callable[[T], None],
        on_error: OnError,
        replaces: str = "",
    ) -> None:
        """Run a function on the index; its result, or one sentence that says why there is none, comes back.

        Of several calls that replace each other (the same word), those that have not begun when a newer one comes are
        dropped.
        """

        def on_index(index: EmbeddingIndex | None) -> T:
            if index is None:
                raise OCTCubeError("No archive is open; open one or make a new one.")
            return work(index)

        self._put(on_index, on_result, on_error, replaces)

    def close(self) -> None:
        """Close the index once what has begun is done; nothing is heard of it afterwards."""
        self._latest.clear()
        self._dispatch = lambda function: None
        if self._thread is not None:
            self._jobs.put(None)

    def _put(
        self,
        work: Callable[[EmbeddingIndex | None], Any],
        on_result: Callable[[Any], None],
        on_error: OnError,
        replaces: str,
    ) -> None:
        number = self._latest.get(replaces, 0) + 1
        if replaces:
            self._latest[replaces] = number

        def job() -> None:
            if replaces and self._latest.get(replaces) != number:
                return
            try:
                result = work(self._index)
            except OCTCubeError as error:
                message = str(error)
                self._dispatch(lambda: on_error(message))
            except Exception as error:
                kind = type(error).__name__  # its text may quote a path, and so the patient
                message = f"The archive could not do that because of an unexpected error ({kind})."
                self._dispatch(lambda: on_error(message))
            else:
                self._dispatch(lambda: on_result(result))

        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="octcube archive", daemon=True)
            self._thread.start()
        self._jobs.put(job)

    def _serve(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
        if self._index is not None:
            self._index.close()
