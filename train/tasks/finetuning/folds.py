"""K-fold cross-validation: one run after another, and their predictions put together."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from jsonargparse import ArgumentParser, Namespace
from lightning.pytorch.utilities import rank_zero_only
from numpy.typing import NDArray

from octcube_core.checkpoints import load_model
from octcube_core.errors import InputError
from octcube_core.models.family import Model
from octcube_core.runtime import choose_device
from octcube_core.whole_file import whole_file
from train.data.module import StoreData
from train.engine.command_line import StageCLI, parse
from train.engine.interruption import SIGNALS
from train.evaluation.predictions import predict, predictions_table, said
from train.tasks.finetune import FinetuneTask


def without_folds(argv: list[str]) -> tuple[int | None, list[str]]:
    """The number after ``--folds``, if it is there, and the other arguments."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--folds", type=int)
    known, rest = parser.parse_known_args(argv)
    if known.folds is not None and known.folds < 2:
        raise InputError(f"--folds must be at least 2, not {known.folds}.")
    return known.folds, rest


def run_folds(argv: list[str], folds: int) -> None:
    """Train a model per fold, each in a process of its own, then write what they predict.

    From ``--export NAME.safetensors`` come ``NAME.fold-1.safetensors`` and so on, and ``NAME.predictions.parquet``.
    Folds whose model is there already are not trained again, and one that was interrupted goes on.

    Raises
    ------
    InputError
        If no ``--export`` is given.
    SystemExit
        With the code of a fold that failed.
    """
    config = read_recipe(argv)
    if config.export is None:
        raise InputError("--folds needs --export: the models' names are made of it.")
    export, root = Path(config.export), Path(config.trainer.default_root_dir)
    first, dry = rank_zero_only.rank == 0, bool(config.trainer.fast_dev_run)
    models = [export.with_suffix(f".fold-{number + 1}.safetensors") for number in range(folds)]
    for number, model in enumerate(models):
        if model.is_file():
            print(f"{model} is there already; fold {number + 1} is not trained again.")
            continue
        command = [sys.executable, "-m", "train", "finetune", *argv, "--resume=auto"]
        command += [f"--data.splits.folds={folds}", f"--data.splits.fold={number}"]
        command += [
            f"--export={model}",
            f"--trainer.default_root_dir={root / f'fold-{number + 1}'}",
        ]
        code = passing_signals_on(command)
        requeued = first and not dry and not model.is_file()  # at a time limit, to go on later
        if code or requeued:
            raise SystemExit(code)
    if first and not dry:
        table = fold_predictions(models, config.data, str(config.trainer.accelerator))
        _write(table, export.with_suffix(".predictions.parquet"))


def passing_signals_on(command: list[str]) -> int:
    """Exit code of a command, which gets the signals to this process that ask for an end."""
    child = subprocess.Popen(command)
    before = {
        number: signal.signal(number, lambda sent, _: child.send_signal(sent)) for number in SIGNALS
    }
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def read_recipe(argv: list[str]) -> Namespace:
    """The recipe with what overrides it; nothing is made of it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "LightningCLI's args parameter is intended")
        return parse(FinetuneTask, StoreData, argv, "finetune", _ReadOnly).config


class _ReadOnly(StageCLI):
    """Reads the recipe and makes nothing of it."""

    def instantiate_classes(self) -> None:
        """Leave it."""


def fold_predictions(models: list[Path], data_config: Namespace, accelerator: str) -> pd.DataFrame:
    """What each fold's model predicts for its validation exams, and what they predict on average for the test's.

    Returns
    -------
    DataFrame
        As ``predictions_table``, with ``split`` ("validation" or "test") and ``fold`` (from 1; 0 for the average).
    """
    device = str(choose_device("cpu" if accelerator == "cpu" else "auto"))
    parts, testing = [], []
    for number, path in enumerate(models):
        data = _data(data_config, len(models), number)
        model = load_model(path, device=device, precision="fp32")
        predicted = _predicted(model, data, data.validation.rows)
        parts.append(
            _described(model, data, data.validation.rows, predicted, "validation", number + 1)
        )
        if len(data.test):
            testing.append(_predicted(model, data, data.test.rows))
    if testing:
        average = np.mean(testing, axis=0)
        parts.append(_described(model, data, data.test.rows, average, "test", 0))
    return pd.concat(parts, ignore_index=True)


def _predicted(model: Model, data: StoreData, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    outputs = predict(model, data.opened, rows, batch_size=data.batch_size, workers=data.workers)
    return said(outputs, model.card)


def _described(
    model: Model,
    data: StoreData,
    rows: NDArray[np.int64],
    predicted: NDArray[np.float64],
    split: str,
    fold: int,
) -> pd.DataFrame:
    names = [each.abbreviation for each in (*model.card.labels, *model.card.targets)]
    truth = data.label_table.iloc[rows]
    table = predictions_table(data.opened.manifest, rows, truth, predicted, names)
    table.insert(3, "split", split)
    table.insert(4, "fold", fold)
    return table


def _data(config: Namespace, folds: int, fold: int) -> StoreData:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(StoreData, "data")
    settings = config.as_dict()
    settings["splits"] = {**(settings["splits"] or {}), "folds": folds, "fold": fold}
    data: StoreData = parser.instantiate_classes(parser.parse_object({"data": settings})).data
    data.setup("fit")
    return data


def _write(table: pd.DataFrame, path: Path) -> None:
    with whole_file(path) as partial:
        table.to_parquet(partial, index=False)
    print(f"Wrote {path}")
