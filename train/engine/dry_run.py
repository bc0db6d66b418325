"""``--fast_dev_run``: one batch of any recipe on the machine at hand, however big its cluster and wherever its data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch.utilities import rank_zero_info

from octcube_core.runtime import choose_precision
from train.data.store import MANIFEST, OCT
from train.engine.made_up_store import make_store


def fit_to_this_machine(config: Namespace) -> None:
    """Change a parsed recipe so that one training and one validation batch of it run here.

    The model keeps its size. Devices, nodes, strategy and precision become this machine's, the batch as small as it
    can be; a store that is not here is made up, and weights to start from that are not here become random ones.
    """
    _use_this_machine(config.trainer)
    _start_from_what_is_here(config.model)
    if "activation_checkpointing" in config.model:
        config.model.activation_checkpointing = True
    config.data.batch_size = 2 if len(config.data.get("modalities") or [OCT]) > 1 else 1
    config.data.workers = 0
    if not (Path(config.data.store) / MANIFEST).is_file():
        _say(f"there is no store {config.data.store}, so the data are made up")
        config.data.store = str(make_store(config))
        if config.data.get("labels") is not None:
            config.data.labels.file = None
        if config.data.get("splits") is not None:
            config.data.splits = None


def _use_this_machine(trainer: Namespace) -> None:
    trainer.fast_dev_run = True
    trainer.devices, trainer.num_nodes, trainer.strategy = 1, 1, "auto"
    trainer.accumulate_grad_batches = 1
    if not torch.cuda.is_available():
        trainer.accelerator = "auto"
        half = choose_precision("auto", torch.device("cpu")) == torch.bfloat16
        trainer.precision = "bf16-mixed" if half else "32-true"


def _start_from_what_is_here(part: Any) -> None:
    """Leave out ``start_from...`` files that do not exist, at any depth; nothing is downloaded for a dry run."""
    for name, value in list(vars(part).items()):
        if isinstance(value, Namespace):
            _start_from_what_is_here(value)
        elif name.startswith("start_from") and isinstance(value, str) and not Path(value).is_file():
            _say(f"{value} is not here, so the weights are random")
            part[name] = None


def _say(what: str) -> None:
    rank_zero_info(f"Dry run: {what}.")
