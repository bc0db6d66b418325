"""A time limit or a plea to end (SIGUSR1, SIGTERM): finish the step, write a checkpoint, requeue under SLURM, end.

Lightning's own handlers save from inside the signal, wherever training stands, which a resumed run cannot repeat bit
for bit and which blocks where only one process got the signal; so these replace them.
"""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Checkpoint

from octcube_core.errors import InputError
from train.engine.checkpoints import StepCheckpoints, between_steps
from train.engine.distributed import largest

SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))


class Interrupted(Exception):
    """Training ended early at a signal, its state being on the disk."""

    def __init__(self, signal_number: int) -> None:
        super().__init__()
        self.signal_number = signal_number


class Interruption(Checkpoint):
    """At a signal to any process, all save at the end of the same step and raise ``Interrupted``.

    Parameters
    ----------
    checkpoints : what saves
    """

    def __init__(self, checkpoints: StepCheckpoints) -> None:
        self.checkpoints = checkpoints
        self.received = 0
        self._before: dict[int, Any] = {}

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Only now, after Lightning has installed its own.
        for number in SIGNALS:
            self._before[number] = signal.signal(number, self._receive)

    def _receive(self, number: int, frame: Any) -> None:
        self.received = number

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if between_steps(trainer, batch_idx):
            self._end_if_asked(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.fit_loop.epoch_progress.current.processed != trainer.max_epochs:
            self._end_if_asked(trainer)

    def _end_if_asked(self, trainer: L.Trainer) -> None:
        if number := largest(self.received, trainer.strategy.root_device):
            self.checkpoints.save(trainer)
            raise Interrupted(number)

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        while self._before:
            number, handler = self._before.popitem()
            signal.signal(number, handler)


def end_or_requeue(interrupted: Interrupted, run_folder: str) -> int:
    """Put a SLURM job that nears its time limit back into the queue, or say how to go on; returns the exit code.

    SIGTERM does not requeue: it comes from scancel, or from a preemption, after which SLURM requeues by itself.
    Raises InputError if SLURM refuses.
    """
    job = _slurm_job()
    if job is None or interrupted.signal_number == signal.SIGTERM:
        print(f"Stopped by a signal; go on from the checkpoint in {run_folder} with --resume auto.")
        return 128 + interrupted.signal_number
    result = subprocess.run(["scontrol", "requeue", job], check=False)
    if result.returncode:
        raise InputError(f"scontrol could not requeue job {job}; submit it again, it will go on.")
    print(f"Job {job} saved its state and was put back into the queue.")
    return 0


def _slurm_job() -> str | None:
    """The job's number as scontrol knows it, None outside SLURM."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ.get("SLURM_JOB_ID")
