"""The command line of a stage: LightningCLI with the options that all stages share, and errors of one sentence."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lightning as L
from jsonargparse import ArgumentError
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from octcube_core.errors import InputError
from train.engine.defaults import shared_parts
from train.engine.dry_run import fit_to_this_machine
from train.engine.launched import take_from_launcher

_OPTIONS: dict[str, tuple[Any, str]] = {
    "export": (str, "file of the trained model, .safetensors"),
    "resume": (str, "auto: go on from the run's newest checkpoint, if there is one; or a checkpoint"),
    "ema": (float, "decay of a moving average of the weights, e.g. 0.9999, which is then validated and exported"),
    "patience": (int, "end after so many validations without a better one"),
    "save_every_steps": (int, "optimiser steps between two checkpoints"),
    "wandb": (str, "project of Weights & Biases to log to, beside TensorBoard"),
}  # fmt: skip


class StageCLI(LightningCLI):
    """Trainer, task and data from one YAML; any value can be overridden on the command line."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options that all stages share."""
        for name, (kind, purpose) in _OPTIONS.items():
            parser.add_argument(f"--{name}", type=kind | None, default=None, help=purpose)
        parser.add_argument(
            "--save_every_minutes", type=float | None, default=15.0, help="the same in minutes"
        )
        parser.add_argument(
            "--monitor",
            type=str | None,
            default=getattr(self.model_class, "monitor", None),
            help="validated value that chooses the epoch to export; without one it is the last",
        )
        parser.add_argument(
            "--monitor_mode",
            type=str,
            choices=("min", "max"),
            default=getattr(self.model_class, "monitor_mode", "min"),
            help="which value is the best",
        )
        parser.add_argument("--compile", action="store_true", help="compile the transformer blocks")
        parser.add_argument(
            "--fast_dev_run",
            action="store_true",
            help="dry run: one batch on this machine, with made-up data if the recipe's is not here",
        )

    def before_instantiate_classes(self) -> None:
        """Let the launcher say how many processes there are, and make a dry run one that this machine can do."""
        take_from_launcher(self.config.trainer)
        if self.config.fast_dev_run or self.config.trainer.fast_dev_run:
            fit_to_this_machine(self.config)

    def instantiate_trainer(self, **options: Any) -> L.Trainer:
        """Lightning's Trainer with what every stage shares beside what the recipe asks for."""
        trainer = super().instantiate_trainer(
            **shared_parts(self.config, self.config_init.trainer), **options
        )
        # With a limit of steps, Lightning would count an ended epoch twice where a run is resumed after it.
        trainer.fit_loop._iteration_based_training = lambda: False
        return trainer


def parse(
    task_class: type,
    data_class: type,
    argv: list[str],
    command: str,
    cli_class: type[StageCLI] = StageCLI,
) -> StageCLI:
    """Read the recipe and make trainer, task and data; InputError, in one sentence, if something is wrong with it."""
    _check_recipe_exists(argv)
    try:
        return cli_class(
            task_class,
            data_class,
            args=argv,
            run=False,
            seed_everything_default=1,
            save_config_kwargs={"overwrite": True},
            trainer_defaults={"default_root_dir": f"runs/{command}"},
            parser_kwargs={"prog": f"python -m train {command}", "exit_on_error": False},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )
    except ArgumentError as error:
        raise InputError(in_one_sentence(str(error))) from error
    except MisconfigurationException as error:
        raise InputError(" ".join(str(error).split())) from error


def _check_recipe_exists(argv: list[str]) -> None:
    for number, argument in enumerate(argv):
        name, _, value = argument.partition("=")
        if name in ("--config", "-c"):
            path = value or "".join(argv[number + 1 : number + 2])
            if not Path(path).is_file():
                raise InputError(f"There is no recipe {path or '(no name given)'}.")


def in_one_sentence(message: str) -> str:
    """What jsonargparse says in many lines, in one sentence."""
    key = re.search(r"[Pp]arser key \"([^\"]+)\"", message)
    given = re.search(r"^\s*Given value: (.*)$", message, re.MULTILINE)
    if key and given:
        expected = re.findall(r"Expected (?:a|an|type) ([^.\n;]+)", message)
        wanted = f"; expected {' or '.join(dict.fromkeys(expected))}" if expected else ""
        return f"{key[1]} cannot be {given[1][:80]}{wanted}."
    return message.strip().splitlines()[0]
