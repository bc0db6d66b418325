"""``python -m train finetune --config FILE``: train a classifier and write it in the viewer's format."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from octcube_core.checkpoints.format import save_checkpoint
from octcube_core.errors import InputError
from train.data.volumes import VolumeData
from train.tasks.finetune import FinetuneTask


class FinetuneCLI(LightningCLI):
    """Trainer, task and data from one YAML; any value can be overridden on the command line."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add where the trained model goes."""
        parser.add_argument(
            "--export", type=str, default=None, help="the model for the viewer, a .safetensors file"
        )
        parser.add_argument(
            "--resume", type=str, default=None, help="continue from this training checkpoint"
        )


def main(argv: list[str]) -> None:
    """Train, then export the weights of the best validated epoch (or the last, if none was validated)."""
    # Lightning itself warns of arguments that are given and yet stand in sys.argv, where its DDP processes need them.
    warnings.filterwarnings("ignore", "LightningCLI's args parameter is intended")
    cli = FinetuneCLI(
        FinetuneTask,
        VolumeData,
        args=argv,
        run=False,
        save_config_kwargs={"overwrite": True},
        parser_kwargs={"prog": "python -m train finetune"},
    )
    export = cli.config.export
    if export is not None:
        _make_folder(Path(export).absolute().parent)  # now, not after hours of training
    _check(cli)
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.resume)
    if export is not None and cli.trainer.is_global_zero:
        _load_best(cli)
        save_checkpoint(export, cli.model.model, dtype=torch.bfloat16)
        print(f"Wrote {export}")


def _check(cli: FinetuneCLI) -> None:
    """Refuse what would only fail, or silently go wrong, once training runs."""
    cli.datamodule.setup("fit")
    card = cli.model.model.card
    scored = [label.abbreviation for label in card.labels]
    if cli.datamodule.labels != scored:
        raise InputError(
            f"data.labels must be the card's labels in their order: {', '.join(scored)}."
        )
    if tuple(cli.datamodule.input_shape) != card.architecture.input_shape:
        raise InputError(
            f"The store's volumes are {tuple(cli.datamodule.input_shape)}, but the card's grid and cube make "
            f"{card.architecture.input_shape}."
        )
    if cli.config.resume is not None and not Path(cli.config.resume).is_file():
        raise InputError(f"There is no training checkpoint {cli.config.resume} to resume from.")


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"The folder {folder} cannot be made ({error.strerror}).") from error


def _load_best(cli: FinetuneCLI) -> None:
    for callback in cli.trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.best_model_path:
            state = torch.load(callback.best_model_path, map_location="cpu", weights_only=True)
            cli.model.load_state_dict(state["state_dict"])
            return
