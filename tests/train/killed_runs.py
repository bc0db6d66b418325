"""Runs of the toy stage that can be killed at any moment, without paying seconds of imports for each.

A process that has imported everything forks each run. It must have no threads and have trained nothing itself, so
it is a process of its own, ``python -m tests.train.killed_runs``, which reads its orders from stdin.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Runner:
    """The forking process, as a context manager."""

    def __enter__(self) -> Runner:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.train.killed_runs"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stdin.close()
        self.process.wait(60)

    def run(
        self,
        arguments: list[str],
        log: Path,
        processes: int = 1,
        env: dict[str, str] | None = None,
    ) -> Ended:
        """Run the toy stage to its end; what it prints is added to the file ``log``."""
        order = {
            "arguments": arguments, "log": str(log), "processes": processes, "env": env or {}
        }  # fmt: skip
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        return Ended(answer["codes"], answer["seconds"], log.read_text())


class Ended:
    """A run that has ended: exit codes by rank (negative: killed by that signal), seconds, and what it printed."""

    def __init__(self, codes: list[int], seconds: float, output: str) -> None:
        self.codes, self.seconds, self.output = codes, seconds, output


def _serve() -> None:
    from tests.train import toy_stage
    from tests.train.two_processes import free_port

    for line in sys.stdin:
        order = json.loads(line)
        began, port = time.monotonic(), free_port()
        children = []
        for rank in range(order["processes"]):
            child = os.fork()
            if child == 0:
                _become_run(order, rank, port, toy_stage.main)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        answer = {"codes": codes, "seconds": time.monotonic() - began}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _become_run(order: dict[str, Any], rank: int, port: int, main: Any) -> None:
    os.setsid()
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(order["env"])
    if order["processes"] > 1:
        os.environ.update(
            RANK=str(rank), LOCAL_RANK=str(rank), GROUP_RANK="0",
            WORLD_SIZE=str(order["processes"]), LOCAL_WORLD_SIZE=str(order["processes"]),
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), TORCHELASTIC_RUN_ID="toy",
        )  # fmt: skip
    code = 1
    try:
        code = main(order["arguments"])
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)


if __name__ == "__main__":
    _serve()
