"""The client of the model process: submit, progress, cancel, restart. No Qt: the caller brings its thread."""

from __future__ import annotations

import itertools
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from napari_octcube._model_process import WORKER_COMMAND, ModelProcess
from napari_octcube._session import Session
from napari_octcube._settings import Settings
from octcube_core.exam import Exam, Patient
from octcube_core.worker_protocol import (
    Analyze,
    Cancel,
    Cancelled,
    DeviceFound,
    Failed,
    FindDevice,
    Finished,
    Progress,
    Ready,
    Reply,
    Request,
    Work,
)

Dispatch = Callable[[Callable[[], None]], None]

CANCEL_PATIENCE_S = 0.7  # loading a model reports no progress; after this the process is replaced


@dataclass(frozen=True)
class _Job:
    number: int
    exam: Exam


class InferenceClient:
    """Runs analyses in the model process and writes what it hears into the session.

    All methods, and all changes of the session, happen on the owner's thread.

    Parameters
    ----------
    session : Session
    dispatch : callable
        Runs a function on the owner's thread, from any thread.
    command : sequence of str
        Command line of the model process.
    settings : Settings, optional
        Where and how models run; a change holds from the next request on.
    """

    def __init__(
        self,
        session: Session,
        dispatch: Dispatch,
        command: Sequence[str] = WORKER_COMMAND,
        settings: Settings | None = None,
    ) -> None:
        self._session = session
        self._dispatch = dispatch
        self._command = command
        self.settings = settings or Settings()
        self._device_error = ""
        self._numbers = itertools.count(1)
        self._process: ModelProcess | None = None
        self._job: _Job | None = None
        self._asked: dict[int, Callable[[Reply], None]] = {}
        self._cancelling = False
        session.exam_closed.connect(self._on_exam_closed)
        self.settings.events.device.connect(self._name_device)

    @property
    def pid(self) -> int | None:
        """Process id of the model process, None if there is none."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start the model process if there is none, so that the first run need not wait for it."""
        if self._process is None:
            # the callbacks know their process, so that a late word from a dead one is not taken for the new one's
            process = ModelProcess(
                lambda reply: self._dispatch(lambda: self._on_message(process, reply)),
                lambda code: self._dispatch(lambda: self._on_end(process, code)),
                self._command,
            )
            self._process = process
            process.start()
            if self.settings.device != "auto":
                self._name_device()

    def submit(self) -> None:
        """Analyse the exam in view with the session's model, unless a run is on."""
        exam = self._session.exam
        if exam is None or self._job is not None:
            return
        self.start()
        assert self._process is not None
        self._job = _Job(next(self._numbers), exam)
        self._cancelling = False
        self._session.begin(exam)
        request = Analyze(self._job.number, for_the_model(exam), self._session.model)
        self._process.send(self._as_set(request))

    def ask(self, make: Callable[[int], Request], on_reply: Callable[[Reply], None]) -> None:
        """Ask the model process for something beside the run; it answers when its turn comes.

        Parameters
        ----------
        make : callable
            Makes the request from its job number.
        on_reply : callable
            Gets the answer, which is Failed if the process ends before it answers.
        """
        self.start()
        assert self._process is not None
        number = next(self._numbers)
        self._asked[number] = on_reply
        request = make(number)
        self._process.send(self._as_set(request) if isinstance(request, Work) else request)

    def cancel(self) -> None:
        """Stop the run; within a second the model process is free again."""
        if self._job is None or self._process is None or self._cancelling:
            return
        self._cancelling = True
        self._session.progress("Cancelling", self._session.fraction)
        process, job = self._process, self._job
        process.send(Cancel(job.number))
        timer = threading.Timer(
            CANCEL_PATIENCE_S, lambda: self._dispatch(lambda: self._replace_if_still_at(job))
        )
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        """End the model process; nothing is heard of it afterwards."""
        if self._process is not None:
            process, self._process, self._job = self._process, None, None
            process.kill()
        self._asked = {}

    def _on_message(self, process: ModelProcess, reply: Reply) -> None:
        if process is not self._process:
            return
        if isinstance(reply, Ready):
            if self.settings.device == "auto":
                self._session.device = reply.device
            return
        if reply.job in self._asked:
            if not isinstance(reply, Progress):
                self._asked.pop(reply.job)(reply)
            return
        job = self._job
        if job is None or reply.job != job.number:
            return
        if isinstance(reply, Progress):
            if not self._cancelling:
                self._session.progress(reply.stage, reply.fraction)
            return
        self._job = None
        if isinstance(reply, Cancelled) or self._cancelling:
            self._session.stop()
        elif isinstance(reply, Finished):
            self._session.finish(job.exam, reply.analysis)
        elif isinstance(reply, Failed):
            self._session.fail(reply.message)

    def _on_end(self, process: ModelProcess, code: int | None) -> None:
        if process is not self._process:
            return
        self._process = None
        job, self._job = self._job, None
        asked, self._asked = self._asked, {}
        _fail(asked)
        if job is not None and self._cancelling:
            self._session.stop()
        else:
            self._session.fail(_obituary(code, running=job is not None))

    def _as_set(self, request: Work) -> Work:
        runtime = self.settings.runtime
        if not isinstance(request, Analyze):
            runtime = runtime.for_embeddings
        return replace(
            request,
            device=runtime.device,
            precision=runtime.precision,
            models_folder=runtime.models_folder,
        )

    def _name_device(self) -> None:
        """Ask what the device of the settings is called, or why it cannot be used."""
        if self._process is None:
            return  # the next start asks
        device, process = self.settings.device, self._process

        def on_reply(reply: Reply) -> None:
            session = self._session
            if device != self.settings.device or process is not self._process:
                return
            if self._device_error and session.error == self._device_error:
                session.error = ""
            self._device_error = ""
            if isinstance(reply, DeviceFound):
                session.device = reply.name
            elif isinstance(reply, Failed):
                session.device = f"{device}, which cannot be used here"
                session.error = self._device_error = reply.message

        self.ask(lambda number: FindDevice(number, device), on_reply)

    def _replace_if_still_at(self, job: _Job) -> None:
        if self._job is job:
            asked, self._asked = self._asked, {}
            self.close()
            self._session.stop()
            self.start()
            _fail(asked)

    def _on_exam_closed(self, exam: Exam) -> None:
        if self._job is not None and self._job.exam is exam:
            self.cancel()


def for_the_model(exam: Exam) -> Exam:
    """The exam without the patient's identity, which the model has no use for, and without a phantom's truth."""
    facts = {item.name: getattr(exam, item.name) for item in fields(Exam)}
    return Exam(**{**facts, "patient": Patient()})


def _fail(asked: dict[int, Callable[[Reply], None]]) -> None:
    for number, on_reply in asked.items():
        on_reply(Failed(number, "The model process stopped before it answered; please try again."))


def _obituary(code: int | None, running: bool) -> str:
    killed = code is not None and code == -getattr(signal, "SIGKILL", 9)
    if code is None:
        return "The model process could not be started; please check the installation and press Run again."
    reason = " (killed, perhaps for lack of memory)" if killed else ""
    loss = " during the analysis" if running else ""
    return f"The model process stopped{loss}{reason}; press Run to start it again."
