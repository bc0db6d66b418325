"""Runs cases in processes, one per core, that are killed when a case hangs; nothing stops the run."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz.judge import SECONDS, Problem

DEFAULT_READER = "tests.fuzz.judge:open_all"
START_SECONDS = 120.0
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Verdict:
    """What came of one case: 'opened', 'in part', 'refused' or 'lost' (no answer), and what was wrong with that.

    ``seconds`` and ``memory`` (bytes, an upper bound) are what it took to open it.
    """

    format: str
    seed: int
    done: str
    outcome: str
    problems: tuple[Problem, ...]
    seconds: float = 0.0
    memory: int = 0


def cores() -> int:
    """The processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    corpus: Path,
    cases: Iterable[tuple[str, int]],
    *,
    reader: str = DEFAULT_READER,
    seconds: float = SECONDS,
    workers: int | None = None,
    on_verdict: Callable[[Verdict], None] = lambda _: None,
) -> list[Verdict]:
    """Judge cases.

    Parameters
    ----------
    corpus : file with a sample in JSON on each line
    cases : of (format, seed)
    reader : 'module:function' under test
    seconds : a case is killed after so long
    workers : by default one for each core
    on_verdict : told of each verdict as it comes, one at a time

    Returns
    -------
    list of Verdict
        In the order of the cases.
    """
    waiting: queue.SimpleQueue[tuple[int, str, int]] = queue.SimpleQueue()
    for number, (format_, seed) in enumerate(cases):
        waiting.put((number, format_, seed))
    verdicts: dict[int, Verdict] = {}
    lock = threading.Lock()

    def work() -> None:
        worker = _Worker(corpus, reader, seconds)
        try:
            while True:
                try:
                    number, format_, seed = waiting.get_nowait()
                except queue.Empty:
                    return
                verdict = worker.judge(format_, seed)
                with lock:
                    verdicts[number] = verdict
                    on_verdict(verdict)
        finally:
            worker.stop()

    threads = [
        threading.Thread(target=work) for _ in range(min(workers or cores(), waiting.qsize()))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [verdicts[number] for number in sorted(verdicts)]


class _Worker:
    """One process; started anew after it was lost."""

    def __init__(self, corpus: Path, reader: str, seconds: float) -> None:
        self._command = [sys.executable, "-m", "tests.fuzz.worker", str(corpus), reader]
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._buffer = b""

    def judge(self, format_: str, seed: int) -> Verdict:
        if self._process is None:
            self._start()
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"format": format_, "seed": seed}).encode() + b"\n")
        self._process.stdin.flush()
        done = self._answer(START_SECONDS).get("started", "a damage that was not finished")
        answer = self._answer(self._seconds)
        problems = tuple((kind, detail) for kind, detail in answer.get("problems", ()))
        if answer.get("lost"):
            self.stop()
            return Verdict(format_, seed, done, "lost", ((answer["lost"], answer["detail"]),))
        if any(kind == "memory" for kind, _ in problems):
            self.stop()  # the peak that later cases are measured against must be low again
        return Verdict(
            format_, seed, done, answer["outcome"], problems, answer["seconds"], answer["memory"]
        )

    def _start(self) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._buffer = b""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=_ROOT,
            env=environment,
            start_new_session=True,
        )
        if not self._answer(START_SECONDS).get("ready"):
            process = self._process
            self.stop()
            assert process.stderr is not None
            raise RuntimeError(f"The worker does not start: {process.stderr.read().decode()}")

    def _answer(self, seconds: float) -> dict[str, Any]:
        """The next line of the process, or how it was lost."""
        assert self._process is not None
        assert self._process.stdout is not None
        stdout, end = self._process.stdout, time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while b"\n" not in self._buffer:
                if not selector.select(max(end - time.monotonic(), 0)):
                    return {"lost": "hang", "detail": f"no answer within {seconds:g} s"}
                part = os.read(stdout.fileno(), 1 << 16)
                if not part:
                    return {"lost": "crash", "detail": f"ended with {self._process.wait()}"}
                self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def stop(self) -> None:
        """End the process and what it may have started."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
