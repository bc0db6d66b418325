"""What the viewer and the model process say to each other. No torch, so that both sides can import it.

A message is a small frozen dataclass. Its arrays travel outside the pickle (protocol 5), so that sending a volume
of 100 MB copies nothing while the interpreter lock is held and the viewer keeps drawing.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from octcube_core.exam import Exam
from octcube_core.results import Analysis, ExamEmbedding


@dataclass(frozen=True)
class Analyze:
    """Viewer: analyse an exam; the answer is Finished, Cancelled or Failed with the same job number.

    ``models_folder`` is where models that have a name are looked for first; empty for what the environment says.
    """

    job: int
    exam: Exam
    model: str
    device: str = "auto"
    precision: str = "auto"
    models_folder: str = ""
    fast: bool = False


@dataclass(frozen=True)
class Embed:
    """Viewer: embed an exam; the answer is Embedded, Cancelled or Failed."""

    job: int
    exam: Exam
    model: str
    device: str = "auto"
    precision: str = "auto"
    models_folder: str = ""


@dataclass(frozen=True)
class Explain:
    """Viewer: explain the similarity of two exams' images; the answer is Explained, Cancelled or Failed."""

    job: int
    query: Exam
    by: str
    neighbour: Exam
    to: str
    model: str
    device: str = "auto"
    precision: str = "auto"
    models_folder: str = ""


@dataclass(frozen=True)
class FindDevice:
    """Viewer: what is a device called, if it is here? The answer is DeviceFound or Failed."""

    job: int
    device: str


@dataclass(frozen=True)
class Cancel:
    """Viewer: stop a job, whether it runs or waits."""

    job: int


@dataclass(frozen=True)
class Ready:
    """Model process: the libraries are loaded and analyses would run on ``device`` ('CPU' or a GPU's name)."""

    device: str


@dataclass(frozen=True)
class DeviceFound:
    """Model process: the device is here; ``name`` is 'CPU' or a GPU's name."""

    job: int
    name: str


@dataclass(frozen=True)
class Progress:
    """Model process: how far a job is, ``fraction`` in [0, 1]."""

    job: int
    stage: str
    fraction: float


@dataclass(frozen=True)
class Finished:
    """Model process: a job's result."""

    job: int
    analysis: Analysis


@dataclass(frozen=True)
class Embedded:
    """Model process: the embeddings of an exam."""

    job: int
    embedding: ExamEmbedding


@dataclass(frozen=True)
class Explained:
    """Model process: why two exams are alike, on the query and on the neighbour."""

    job: int
    query: Analysis
    neighbour: Analysis


@dataclass(frozen=True)
class Cancelled:
    """Model process: a job stopped because it was asked to."""

    job: int


@dataclass(frozen=True)
class Failed:
    """Model process: a job failed; ``message`` is one sentence for the user."""

    job: int
    message: str


Work = Analyze | Embed | Explain
Request = Work | FindDevice | Cancel
Reply = Ready | DeviceFound | Progress | Finished | Embedded | Explained | Cancelled | Failed


def send_message(connection: Connection, message: Request | Reply) -> None:
    """Send a message; raise OSError if the other side is gone."""
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(message, protocol=5, buffer_callback=buffers.append)
    views = [buffer.raw() for buffer in buffers]
    connection.send((body, [view.nbytes for view in views]))
    for view in views:
        if view.nbytes:  # a message of no bytes means end of file on Windows pipes
            connection.send_bytes(view)


def receive_message(connection: Connection) -> Any:
    """Wait for a message; raise EOFError or OSError if the other side is gone."""
    body, sizes = connection.recv()
    buffers = [bytearray(size) for size in sizes]
    for buffer in buffers:
        if buffer:
            connection.recv_bytes_into(buffer)
    return pickle.loads(body, buffers=buffers)
