"""The model process: ``python -m octcube_core.worker`` runs models for the viewer, so that the viewer needs no torch.

The viewer writes one JSON line to stdin (the address and key of its listener) and then talks over that connection in
the messages of ``worker_protocol``. One thread computes; another listens, so that a cancel is seen at the next
progress report and the process ends at once when the viewer is gone, also amid a computation.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any, Protocol

from octcube_core.checkpoints.hub import FOLDER_VARIABLE
from octcube_core.errors import AnalysisCancelled, NotEnoughMemory, OCTCubeError
from octcube_core.exam import Exam
from octcube_core.results import Analysis, ExamEmbedding
from octcube_core.worker_protocol import (
    Cancel,
    Cancelled,
    DeviceFound,
    Embed,
    Embedded,
    Explain,
    Explained,
    Failed,
    FindDevice,
    Finished,
    Progress,
    Ready,
    Reply,
    Work,
    receive_message,
    send_message,
)

OnProgress = Callable[[str, float], None]

PROGRESS_INTERVAL_S = 0.04  # more often than this, nobody sees a difference


class Engine(Protocol):
    """What the model process computes with; the tests put a fake one in its place."""

    def device_label(self, device: str = "auto") -> str:
        """'CPU' or the name of the GPU that analyses on this device will use; InputError if it is not here."""

    def load(self, name: str, device: str, precision: str, on_progress: OnProgress) -> Any:
        """Load a model by name or path, reporting a download; an exception from ``on_progress`` aborts."""

    def analyze(self, exam: Exam, model: Any, fast: bool, on_progress: OnProgress) -> Analysis:
        """Analyse an exam, reporting progress often; an exception from ``on_progress`` aborts."""

    def embed(self, exam: Exam, model: Any, name: str) -> ExamEmbedding:
        """Embed an exam by a model that was loaded by a name."""

    def explain(
        self, query: Exam, by: str, neighbour: Exam, to: str, model: Any
    ) -> tuple[Analysis, Analysis]:
        """Explain the similarity of a query to a neighbour, on both."""


class TorchEngine:
    """The real thing. torch is imported here, after the listening thread has started."""

    def device_label(self, device: str = "auto") -> str:
        from octcube_core.runtime import choose_device, device_label

        return device_label(choose_device(device))

    def load(self, name: str, device: str, precision: str, on_progress: OnProgress) -> Any:
        import octcube_core

        return octcube_core.load_model(
            name, device=device, precision=precision, on_progress=on_progress
        )

    def analyze(self, exam: Exam, model: Any, fast: bool, on_progress: OnProgress) -> Analysis:
        import octcube_core

        return octcube_core.analyze(exam, model, fast=fast, on_progress=on_progress)

    def embed(self, exam: Exam, model: Any, name: str) -> ExamEmbedding:
        from octcube_core.embedding import embed, model_identity

        model_identity(model, name)
        return embed(exam, model)

    def explain(
        self, query: Exam, by: str, neighbour: Exam, to: str, model: Any
    ) -> tuple[Analysis, Analysis]:
        from octcube_core.similarity_saliency import explain_similarity

        return explain_similarity(query, by, neighbour, to, model)


class Worker:
    """Answers the viewer's requests one by one and keeps the last model in memory."""

    def __init__(self, connection: Connection, engine: Engine) -> None:
        self._connection = connection
        self._engine = engine
        self._jobs: queue.SimpleQueue[Work | FindDevice] = queue.SimpleQueue()
        self._cancelled: set[int] = set()
        self._model_key: tuple[Any, ...] | None = None
        self._model: Any = None
        self._models_folder = os.environ.get(FOLDER_VARIABLE)

    def run(self) -> None:
        """Serve until the viewer closes the connection, which ends the process."""
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        self._send(Ready(self._engine.device_label()))
        while True:
            self._send(self._answer(self._jobs.get()))

    def _listen(self) -> None:
        try:
            while True:
                request = receive_message(self._connection)
                if isinstance(request, Work | FindDevice):
                    self._jobs.put(request)
                elif isinstance(request, Cancel):
                    self._cancelled.add(request.job)
        except (EOFError, OSError):
            os._exit(0)  # the viewer is gone: nobody wants the result, so do not wait for it
        except BaseException:
            traceback.print_exc()
            os._exit(1)  # a deaf process could neither be cancelled nor notice the viewer's end

    def _send(self, reply: Reply) -> None:
        try:
            send_message(self._connection, reply)
        except OSError:
            os._exit(0)

    def _answer(self, request: Work | FindDevice) -> Reply:
        job = request.job
        try:
            if isinstance(request, FindDevice):
                return DeviceFound(job, self._engine.device_label(request.device))
            report = self._reporter(job)
            report("Loading the model", 0.0)
            model = self._warm_model(request, report)
            report("Preparing the exam", 0.0)
            return self._result(request, model, report)
        except AnalysisCancelled:
            return Cancelled(job)
        except OCTCubeError as error:
            if isinstance(error, NotEnoughMemory):
                # Not kept in a plan that did not help: with memory again, it is to run as asked.
                self._model_key = self._model = None
            return Failed(job, str(error))
        except Exception as error:
            traceback.print_exc()
            what = f"The analysis stopped on an unexpected error ({type(error).__name__})"
            return Failed(job, f"{what}; details are in the terminal.")
        finally:
            self._cancelled.discard(job)

    def _result(self, request: Work, model: Any, report: OnProgress) -> Reply:
        if isinstance(request, Embed):
            report("Running the network", 0.0)
            return Embedded(request.job, self._engine.embed(request.exam, model, request.model))
        if isinstance(request, Explain):
            report("Explaining the similarity", 0.0)
            pair = request.query, request.by, request.neighbour, request.to
            return Explained(request.job, *self._engine.explain(*pair, model))
        return Finished(
            request.job, self._engine.analyze(request.exam, model, request.fast, report)
        )

    def _reporter(self, job: int) -> OnProgress:
        last_stage, last_time = "", 0.0

        def report(stage: str, fraction: float) -> None:
            nonlocal last_stage, last_time
            if job in self._cancelled:
                raise AnalysisCancelled("The analysis was cancelled.")
            now = time.monotonic()
            if stage != last_stage or now - last_time >= PROGRESS_INTERVAL_S:
                last_stage, last_time = stage, now
                self._send(Progress(job, stage, fraction))

        return report

    def _warm_model(self, request: Work, report: OnProgress) -> Any:
        folder = request.models_folder
        self._name_models_folder(folder)
        key = (request.model, _modified(request.model), request.device, request.precision, folder)
        if key != self._model_key:
            self._model_key = self._model = None  # two large models may not fit side by side
            self._model = self._engine.load(
                request.model, request.device, request.precision, report
            )
            self._model_key = key
        return self._model

    def _name_models_folder(self, folder: str) -> None:
        """Look for models in a folder from now on; in that of this process's own environment if it is empty."""
        name = folder or self._models_folder
        if name is None:
            os.environ.pop(FOLDER_VARIABLE, None)
        else:
            os.environ[FOLDER_VARIABLE] = name


def _modified(model: str) -> int | None:
    """When a model file was last changed, so that a retrained one is read again; None for a model's name."""
    try:
        return Path(model).stat().st_mtime_ns
    except OSError:
        return None


def _lower_priority() -> None:
    if hasattr(os, "nice"):
        os.nice(5)  # the viewer must stay fluid on a machine with few cores


def main(engine: Engine | None = None) -> None:
    """Connect to the viewer named on stdin and serve it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in the terminal is meant for the viewer
    line = sys.stdin.readline()
    if not line:
        sys.exit(0)  # the viewer ended before it said where it listens
    hello = json.loads(line)
    try:
        connection = Client(hello["address"], authkey=bytes.fromhex(hello["authkey"]))
    except (OSError, EOFError):
        sys.exit(0)  # it ended meanwhile
    _lower_priority()
    Worker(connection, engine or TorchEngine()).run()


if __name__ == "__main__":
    main()
