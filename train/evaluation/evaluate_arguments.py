"""The command line of ``python -m train evaluate``."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser

from octcube_core.errors import InputError
from train.data.labels import Labels
from train.data.splits import Splits
from train.engine.command_line import in_one_sentence
from train.evaluation.figures import Bootstrap

_SPLIT = "default: test, or validation with --calibrate"
_OPTIONS: dict[str, tuple[Any, Any, str]] = {
    "config": (str | None, None, "recipe whose data.labels, splits and center_slice are the defaults"),
    "labels": (Labels | None, None, "default: columns of the manifest called like the model's"),
    "splits": (Splits | None, None, "default: the manifest's column split"),
    "bootstrap": (Bootstrap, Bootstrap(), "how the intervals are made"),
    "candidates": (int | None, None, "for retrieval: so many exams, drawn by the bootstrap's seed"),
    "query_device": (str | None, None, "for retrieval: exams of this device query (manifest's column device)"),
    "index_device": (str | None, None, "for retrieval: exams of this device are the index"),
    "index_store": (Path | None, None, "for retrieval: exams of this store are the index"),
    "sensitivity": (float | None, None, "to be reached by the thresholds; default: Youden's J"),
    "specificity": (float | None, None, "the same for the specificity"),
    "saliency": (str | None, None, "with --calibrate: METHOD:LAYER to explain it by, e.g. hirescam:norm1"),
    "center_slice": (int, 0, "B-scans of a cube, if the model saw nothing but the middle B-scan"),
    "batch_size": (int, 8, "exams at once"),
    "workers": (int, 2, "threads that read ahead"),
    "device": (str, "auto", "auto, cpu, cuda, cuda:1 or mps"),
    "precision": (str, "auto", "auto, fp32, bf16 or fp16"),
}  # fmt: skip


@dataclass(frozen=True)
class Arguments:
    """What was asked for; see ``--help``."""

    task: Literal["retrieval"] | None
    model: list[str]
    store: Path
    split: str
    out: Path
    labels: Labels | None
    splits: Splits | None
    center_slice: int
    bootstrap: Bootstrap
    batch_size: int
    workers: int
    device: str
    precision: str
    candidates: int | None
    query_device: str | None
    index_device: str | None
    index_store: Path | None
    calibrate: bool
    sensitivity: float | None
    specificity: float | None
    saliency: str | None

    @property
    def crosses(self) -> bool:
        """Whether exams of one device or store are looked for among those of another."""
        return any((self.query_device, self.index_device, self.index_store))


def parse(argv: list[str]) -> Arguments:
    """Read the arguments, those of the data by default as the recipe of ``--config`` has them."""
    parser = _parser()
    try:
        found = parser.parse_args([*_of_recipe(argv), *argv])
        built = parser.instantiate(found)
    except argparse.ArgumentError as error:
        raise InputError(in_one_sentence(str(error))) from error
    values = {name: getattr(built, name) for name in Arguments.__dataclass_fields__}
    calibrate = built.calibrate
    values["split"] = built.split or ("validation" if calibrate else "test")
    arguments = Arguments(**values)
    _check(arguments)
    return arguments


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m train evaluate",
        description="Predict a split of a store: predictions.parquet, metrics.json and metrics.parquet with bootstrap "
        "intervals over patients. With --calibrate: write the model with a temperature and thresholds. The word "
        "retrieval: how well an aligned model finds an eye's other images.",
        exit_on_error=False,
    )
    parser.add_argument(
        "task",
        type=Literal["retrieval"] | None,
        nargs="?",
        default=None,
        help="default: by the model",
    )
    parser.add_argument(
        "--model", type=str, nargs="+", required=True, help="model; of several, the mean is taken"
    )
    parser.add_argument("--store", type=Path, required=True, help="folder of the store")
    parser.add_argument(
        "--out", type=Path, required=True, help="folder of the results, or calibrated .safetensors"
    )
    parser.add_argument(
        "--split", type=Literal["train", "validation", "test"] | None, default=None, help=_SPLIT
    )
    parser.add_argument("--calibrate", action="store_true", help="learn temperature and thresholds")
    for name, (kind, default, purpose) in _OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, default=default, help=purpose)
    return parser


def _of_recipe(argv: list[str]) -> list[str]:
    """Arguments that say what a recipe, or the config.yaml that a run wrote, says of the data."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--config")
    path = first.parse_known_args(argv)[0].config
    if path is None:
        return []
    try:
        recipe = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"The recipe {path} cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no recipe (YAML).") from error
    data: Any = recipe.get("data") if isinstance(recipe, dict) else None
    if not isinstance(data, dict):
        raise InputError(f"{path} is no recipe: it has no section data.")
    names = "labels", "splits", "center_slice"
    return [f"--{name}={json.dumps(data[name])}" for name in names if data.get(name)]


def _check(arguments: Arguments) -> None:
    if arguments.batch_size < 1 or arguments.workers < 0:
        raise InputError("--batch_size is at least 1 and --workers not negative.")
    rates = [rate for rate in (arguments.sensitivity, arguments.specificity) if rate is not None]
    if len(rates) == 2 or any(not 0 < rate <= 1 for rate in rates):
        raise InputError("Give --sensitivity or --specificity, above 0 and at most 1, not both.")
    if rates and not arguments.calibrate:
        raise InputError("--sensitivity and --specificity belong to --calibrate.")
    if arguments.saliency is not None and not (
        arguments.calibrate and arguments.saliency.count(":") == 1
    ):
        raise InputError("--saliency METHOD:LAYER, e.g. hirescam:norm1, belongs to --calibrate.")
    if arguments.calibrate and arguments.out.suffix != ".safetensors":
        raise InputError(
            f"--out of a calibrated model must be called .safetensors, not {arguments.out.name}."
        )
    if arguments.candidates is not None and arguments.candidates < 2:
        raise InputError("--candidates is at least 2.")
    _check_retrieval(arguments)


def _check_retrieval(arguments: Arguments) -> None:
    if arguments.task == "retrieval" and arguments.calibrate:
        raise InputError("Retrieval has no probabilities to calibrate; leave out --calibrate.")
    if not arguments.crosses:
        return
    if arguments.task != "retrieval":
        raise InputError(
            "--query_device, --index_device and --index_store belong to evaluate retrieval."
        )
    if arguments.index_store is not None:
        if arguments.splits is not None:
            raise InputError(
                "With --index_store the manifests' splits count; leave out --splits, or the recipe that has them."
            )
    elif arguments.query_device is None or arguments.index_device is None:
        raise InputError("Within one store give both --query_device and --index_device.")
    elif arguments.query_device == arguments.index_device:
        raise InputError(
            "--query_device and --index_device are the same; leave both out, or name two devices."
        )
