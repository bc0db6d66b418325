"""What every stage's Trainer has, so that recipes need not say it: checkpoints, randomness, logs, progress."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import Namespace
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    ModelCheckpoint,
    ProgressBar,
    RichProgressBar,
)
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from lightning.pytorch.plugins.environments import SLURMEnvironment, TorchElasticEnvironment

from octcube_core.errors import InputError
from train.engine.checkpoints import StepCheckpoints, WholeFileIO
from train.engine.interruption import Interruption
from train.engine.randomness import BatchRandomness

BEST = "best"


def checkpoint_folder(config: Namespace) -> Path:
    """Where a run's checkpoints are."""
    return Path(config.trainer.default_root_dir) / "checkpoints"


def shared_parts(config: Namespace, given: Namespace) -> dict[str, Any]:
    """Callbacks, loggers and plugins of a Trainer: the recipe's (``given``, as objects) and those of every stage."""
    callbacks = _as_list(given.callbacks)
    return {
        "callbacks": callbacks + _callbacks(config, callbacks),
        "logger": _loggers(config, given.logger),
        "plugins": _as_list(given.plugins) + _plugins(),
    }


def _callbacks(config: Namespace, given: list[Callback]) -> list[Callback]:
    callbacks: list[Callback] = [BatchRandomness(int(config.seed_everything)), LearningRate()]
    if config.trainer.enable_progress_bar is not False and not any(
        isinstance(callback, ProgressBar) for callback in given
    ):
        callbacks.append(RichProgressBar())
    if config.ema is not None:
        if config.trainer.strategy == "fsdp2":
            raise InputError("--ema averages whole models, which fsdp2 divides; leave out one.")
        callbacks.append(EMAWeightAveraging(decay=config.ema))
    if config.trainer.fast_dev_run:
        return callbacks
    folder = checkpoint_folder(config)
    if config.monitor is not None:
        callbacks.append(_best(folder, config.monitor, config.monitor_mode))
        if config.patience is not None:
            callbacks.append(
                _Patience(config.monitor, mode=config.monitor_mode, patience=config.patience)
            )
    elif config.patience is not None:
        raise InputError("--patience needs --monitor, the value that shall get better.")
    steps = StepCheckpoints(folder, config.save_every_steps, config.save_every_minutes)
    # After the best one, whose bookkeeping it stores.
    return [*callbacks, steps, Interruption(steps)]


def _best(folder: Path, monitor: str, mode: str) -> ModelCheckpoint:
    return ModelCheckpoint(folder, BEST, monitor, mode=mode, enable_version_counter=False)


def _loggers(config: Namespace, given: Any) -> list[Logger] | bool:
    if given is False or config.trainer.fast_dev_run:
        return False
    root = config.trainer.default_root_dir
    loggers = [] if given in (None, True) else _as_list(given)
    loggers = loggers or [TensorBoardLogger(root, name="", version="tensorboard")]
    if config.wandb is not None:
        try:
            loggers.append(WandbLogger(project=config.wandb, name=Path(root).name, save_dir=root))
        except ModuleNotFoundError as error:
            raise InputError(
                "wandb is not installed; run pip install wandb, or leave out --wandb."
            ) from error
    return loggers


def _plugins() -> list[Any]:
    plugins: list[Any] = [WholeFileIO()]
    if SLURMEnvironment.detect() and not TorchElasticEnvironment.detect():
        plugins.append(SLURMEnvironment(auto_requeue=False))  # the callback Interruption requeues
    return plugins


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


class _Patience(EarlyStopping):
    """Early stopping that a resumed run remembers, which else would train another epoch each time."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class LearningRate(Callback):
    """Log the highest learning rate of all groups, which is that of the heads."""

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        rates = [
            group["lr"] for optimizer in trainer.optimizers for group in optimizer.param_groups
        ]
        pl_module.log("train/learning_rate", max(rates))
