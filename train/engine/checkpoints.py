"""Training checkpoints that survive a kill at any moment: written whole, the newest undamaged one picked up."""

from __future__ import annotations

import os
import time
import warnings
import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from octcube_core.errors import InputError
from octcube_core.whole_file import whole_file
from train.engine.distributed import largest

_KEPT = 2
_NAME = "step-{:09d}.ckpt"


class WholeFileIO(TorchCheckpointIO):
    """Lightning's checkpoint files, complete on the disk before they take their name."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | os.PathLike[str], storage_options: Any = None
    ) -> None:
        final = Path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(final) as partial, partial.open("wb") as file:
            torch.save(checkpoint, file)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(final.parent)


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk, where the system can."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def step_checkpoints(folder: Path) -> list[Path]:
    """A run's step checkpoints, newest first."""
    return sorted(folder.glob("step-*.ckpt"), reverse=True)


def newest_whole(folder: Path) -> Path | None:
    """The newest undamaged step checkpoint, with a warning for each damaged one; None if there are none at all.

    Raises InputError if there are some and all are damaged.
    """
    found = step_checkpoints(folder)
    for path in found:
        if _is_whole(path):
            return path
        warnings.warn(f"{path} is damaged and was passed over.", stacklevel=2)
    if found:
        raise InputError(f"All checkpoints in {folder} are damaged; delete them to start anew.")
    return None


def _is_whole(path: Path) -> bool:
    """Whether all parts of a file of torch.save have their checksum."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except (OSError, zipfile.BadZipFile, EOFError):
        return False


class StepCheckpoints(Checkpoint):
    """Save the whole state every so many optimiser steps or minutes and at the end of every epoch; keep the last two.

    Parameters
    ----------
    folder : where the files go
    steps : optimiser steps between two; None for no limit
    minutes : minutes between two; None for no limit
    """

    def __init__(self, folder: Path, steps: int | None, minutes: float | None) -> None:
        self.folder = folder
        self.steps = steps
        self.minutes = minutes
        self._step = 0
        self._time = time.monotonic()

    @property
    def state_key(self) -> str:
        return "StepCheckpoints"

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step, self._time = trainer.global_step, time.monotonic()
        # Lightning loads the loader's place only if nothing asked for the loader before, as the optimiser's
        # configuration does.
        trainer.fit_loop._load_combined_loader_states()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if between_steps(trainer, batch_idx) and self._due(trainer):
            self.save(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.save(trainer)

    def save(self, trainer: L.Trainer) -> None:
        """Write a checkpoint (all processes must call this) and delete all but the last two.

        InputError if the weights are no longer numbers: the whole checkpoints that are there are worth more.
        """
        if largest(not _finite(trainer.lightning_module), trainer.strategy.root_device):
            raise InputError(
                f"After {trainer.global_step} steps the weights are no numbers any more; lower the learning rate or "
                "set trainer.gradient_clip_val, and go on from the checkpoint before with --resume auto."
            )
        trainer.save_checkpoint(self.folder / _NAME.format(trainer.global_step))
        self._step, self._time = trainer.global_step, time.monotonic()
        if trainer.is_global_zero:
            unfinished = self.folder.glob(".*.partial")  # of a killed process
            for old in [*step_checkpoints(self.folder)[_KEPT:], *unfinished]:
                old.unlink(missing_ok=True)

    def _due(self, trainer: L.Trainer) -> bool:
        if self.steps is not None and trainer.global_step - self._step >= self.steps:
            return True
        if self.minutes is None:
            return False
        # The clocks of the processes differ, so all must agree.
        late = time.monotonic() - self._time >= 60 * self.minutes
        return bool(largest(late, trainer.strategy.root_device))


def _finite(module: torch.nn.Module) -> bool:
    """Whether all of this process's weights are finite numbers."""
    local = (getattr(weight, "to_local", lambda w=weight: w)() for weight in module.parameters())
    return all(bool(weight.detach().isfinite().all()) for weight in local)


def between_steps(trainer: L.Trainer, batch_idx: int) -> bool:
    """Whether a checkpoint after this batch can be gone on from.

    Not while gradients of several batches are being accumulated, and not before a validation, which a resumed run
    would leave out; one follows the last batch of an epoch.
    """
    if batch_idx + 1 >= trainer.num_training_batches or trainer.should_stop:
        return False
    if trainer.val_check_batch and (batch_idx + 1) % trainer.val_check_batch == 0:
        return False
    own = getattr(trainer.lightning_module, "accumulation", 1)
    return (batch_idx + 1) % max(trainer.accumulate_grad_batches, own) == 0
