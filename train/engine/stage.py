"""One training stage: from a recipe to a trained model, through any number of interruptions."""

from __future__ import annotations

import signal
import sys
import tempfile
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from octcube_core.checkpoints.format import save_checkpoint
from octcube_core.errors import InputError
from octcube_core.models.blocks import Block
from octcube_core.models.family import Model
from train.engine.checkpoints import newest_whole, step_checkpoints
from train.engine.command_line import StageCLI, parse
from train.engine.defaults import BEST, checkpoint_folder
from train.engine.interruption import Interrupted, end_or_requeue
from train.engine.quiet import silence_what_is_meant_so
from train.engine.strategy import ShardedStrategy


def run_stage(
    task_class: type[L.LightningModule],
    data_class: type[L.LightningDataModule],
    argv: list[str],
    command: str,
) -> None:
    """Train as a recipe says, then export the weights of the best validated epoch (or the last).

    Parameters
    ----------
    task_class : a LightningModule. Its ``check(data)`` raises InputError, before training, for what would fail or
        silently go wrong later; ``exported()`` gives the model, with its card, that is written; ``monitor`` and
        ``monitor_mode`` name the validated value that chooses the best epoch, unless the recipe does.
    data_class : a LightningDataModule with ``batch_size`` (per process)
    argv : arguments after ``python -m train COMMAND``
    command : name of the stage

    Raises
    ------
    InputError
        If the recipe, or what it needs, is not right.
    SystemExit
        After a signal, once a checkpoint is written.
    """
    silence_what_is_meant_so()
    cli = parse(task_class, data_class, argv, command)
    dry = bool(cli.config.trainer.fast_dev_run)
    if cli.config.export is not None and not dry:
        _make_folder(Path(cli.config.export).absolute().parent)  # now, not after hours of training
    start = None if dry else _start(cli)
    cli.datamodule.setup("fit")
    if hasattr(cli.model, "check"):
        cli.model.check(cli.datamodule)
    if cli.config.compile:
        compile_blocks(cli.model)
    _fit(cli, start)
    if cli.config.export is not None and cli.trainer.is_global_zero:
        _export(cli, dry)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made ({error.strerror}).") from error


def _start(cli: StageCLI) -> Path | None:
    """The checkpoint to go on from."""
    resume, folder = cli.config.resume, checkpoint_folder(cli.config)
    if resume == "auto":
        return newest_whole(folder)
    if resume is not None:
        if not Path(resume).is_file():
            raise InputError(f"There is no training checkpoint {resume} to resume from.")
        return Path(resume)
    if step_checkpoints(folder):
        raise InputError(
            f"{folder} holds checkpoints of an earlier run: go on from them with --resume auto, delete them, or choose "
            "another --trainer.default_root_dir."
        )
    return None


def compile_blocks(module: torch.nn.Module) -> None:
    """Compile every transformer block in place, which leaves the names of weights alone.

    Blocks are alike, so one compilation serves all of them.
    """
    for part in module.modules():
        if isinstance(part, Block):
            part.compile()


def _fit(cli: StageCLI, start: Path | None) -> None:
    trainer = cli.trainer
    try:
        trainer.fit(cli.model, cli.datamodule, ckpt_path=start)
    except Interrupted as interrupted:
        # A child's exit code other than 0 would make Lightning's launcher kill this process.
        root = cli.config.trainer.default_root_dir
        sys.exit(end_or_requeue(interrupted, root) if trainer.is_global_zero else 0)
    except MisconfigurationException as error:
        raise InputError(" ".join(str(error).split())) from error
    except BaseException as error:
        # The others would wait for this process.
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGKILL)
        if type(error).__module__.partition(".")[0] == "wandb":
            words = " ".join(str(error).split()).rstrip(".")
            raise InputError(f"Weights & Biases: {words}; or leave out --wandb.") from error
        if isinstance(error, torch.OutOfMemoryError):
            raise InputError(
                "The device's memory ran out; set model.activation_checkpointing to true, or take smaller batches."
            ) from error
        raise


def _export(cli: StageCLI, dry: bool) -> None:
    if dry:
        with tempfile.TemporaryDirectory() as folder:
            save_checkpoint(Path(folder) / "model.safetensors", cli.model.exported())
        print(f"The dry run ended well; {cli.config.export} was not written.")
        return
    save_checkpoint(cli.config.export, _trained(cli), dtype=torch.bfloat16)
    print(f"Wrote {cli.config.export}")


def _best(cli: StageCLI, folder: Path) -> Path | None:
    """The checkpoint of the best epoch; None without one, as where the monitored value never was a number."""
    monitor, path = cli.config.monitor, folder / f"{BEST}.ckpt"
    if monitor is None or not path.is_file():
        return None
    for callback in cli.trainer.checkpoint_callbacks:
        if not isinstance(callback, ModelCheckpoint) or callback.monitor != monitor:
            continue
        score = callback.best_model_score
        if score is not None and not torch.isfinite(score):
            print(
                f"{monitor} was never a number, so the last epoch is exported; choose another --monitor."
            )
            return None
    return path


def _trained(cli: StageCLI) -> Model:
    """The model with the weights of the best epoch, or the last; averaged ones, if they were averaged."""
    folder, task = checkpoint_folder(cli.config), cli.model
    chosen = _best(cli, folder) or newest_whole(folder)
    if isinstance(cli.trainer.strategy, ShardedStrategy):  # this process has a part of the weights
        task = cli.parser.instantiate_classes(cli.config).model
        if hasattr(task, "check"):  # which completes what the data must say
            task.check(cli.datamodule)
    if chosen is not None:
        state = torch.load(chosen, map_location="cpu", weights_only=True)
        task.load_state_dict(state["state_dict"])
    return task.exported()
