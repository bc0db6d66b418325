"""Several training processes on the CPU (gloo), for tests of what they compute together."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp


def run(function: Callable[..., Any], *arguments: Any, processes: int = 2) -> list[Any]:
    """Call ``function(*arguments)`` in processes of one group; returns what each returned, in the order of ranks.

    The function stands at the top of its module; arguments and results can be pickled. An error in one process ends
    all and is raised here with its traceback.
    """
    with TemporaryDirectory() as folder:
        mp.spawn(_work, (processes, free_port(), folder, function, arguments), processes)
        return [
            torch.load(Path(folder, str(rank)), weights_only=False) for rank in range(processes)
        ]


def _work(
    rank: int,
    processes: int,
    port: int,
    folder: str,
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"tcp://127.0.0.1:{port}",
        rank=rank,
        world_size=processes,
        timeout=timedelta(seconds=60),
    )
    try:
        torch.save(function(*arguments), Path(folder, str(rank)))
    finally:
        dist.destroy_process_group()


def free_port() -> int:
    """A port of this machine that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
