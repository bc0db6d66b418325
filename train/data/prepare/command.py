"""The command line of ``python -m train prepare``."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from octcube_core.checkpoints.card import CROSS_DEVICE_RULES
from octcube_core.errors import InputError
from octcube_core.exam import Modality, ScanPattern
from octcube_core.worker_processes import available_cores
from train.data.prepare.build import ERRORS, Built, build
from train.data.prepare.exam_rows import Recipe
from train.data.prepare.plan import Plan
from train.data.store import VolumeStore

SHOWN = 5  # kinds of errors that nobody foresaw

DESCRIPTION = """Make a store for training from exams: files, folders and DICOM archives of any format that octcube
info opens, the AI-READI data set, and the folders of the reference implementation. The store keeps no name, id or
date: patients are salted hashes (salt.txt in the store has the salt; leave it out of what you publish), visits are
numbers. A killed run goes on when the same command is given again. An exam that cannot be used is a row of
errors.parquet in the store, in which the hash stands for the patient's folder too; other parts of a path stay. Exit
status: 0; 1 if the store is finished, but an exam failed in a way that nobody foresaw; 2 after any other error."""


def main(argv: list[str]) -> None:
    """Parse the arguments, make the store and say what it holds."""
    arguments = _parser().parse_args(argv)
    plan = _plan(arguments)
    with _Bar() as bar:
        built = build(plan, arguments.store, arguments.workers, arguments.salt_file, bar.show)
    _report(arguments.store, built, list_errors=arguments.list_errors)
    if any(unexpected for _, _, unexpected in built.unusable):
        raise SystemExit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train prepare", description=DESCRIPTION)
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="file or folder with exams; one folder per patient in it",
    )
    add("--store", type=Path, required=True, metavar="DIR", help="folder of the new store")
    add("--size", type=int, nargs=3, default=(60, 256, 256), metavar=("FRAMES", "HEIGHT", "WIDTH"))
    add("--image-size", type=int, nargs=2, default=(384, 384), metavar=("ROWS", "COLUMNS"))
    add(
        "--modalities",
        nargs="*",
        default=["IR", "FAF", "CFP"],
        metavar="NAME",
        help="en-face images to store (default IR FAF CFP; those that no exam has take no room)",
    )
    add(
        "--cross-device",
        choices=tuple(CROSS_DEVICE_RULES),
        default="auto",
        help="crop to the foreground and clip intensities: of devices other than Heidelberg's (auto), always, never",
    )
    add(
        "--scan-patterns",
        nargs="+",
        choices=get_args(ScanPattern),
        default=["raster"],
        help="known patterns to take (default raster); a single B-scan is a line",
    )
    add(
        "--names",
        metavar="REGEX",
        help="file names that hold the patient: a regular expression with a group (?P<patient>...), and slice, visit, "
        "eye, group where there are",
    )
    add(
        "--split",
        type=float,
        nargs=3,
        default=(0.8, 0.1, 0.1),
        metavar=("TRAIN", "VALIDATION", "TEST"),
        help="shares of the patients",
    )
    add("--seed", type=int, default=0, help="of the split")
    add(
        "--salt-file",
        type=Path,
        metavar="FILE",
        help="salt of the hashes, for several stores to share; made if it does not exist",
    )
    add(
        "--codec",
        choices=("none", "zstd"),
        default="none",
        help="of the store: none is fastest, zstd saves disk",
    )
    add("--workers", type=int, default=available_cores(), help="processes (default: one per core)")
    add(
        "--list-errors",
        action="store_true",
        help="print the real path of every exam that cannot be used; of a finished store too",
    )
    return parser


def _plan(arguments: argparse.Namespace) -> Plan:
    if arguments.workers < 1 or min(*arguments.size, *arguments.image_size) < 1:
        raise InputError("--workers, --size and --image-size must be at least 1.")
    if min(arguments.split) < 0 or abs(sum(arguments.split) - 1) > 1e-6 or arguments.seed < 0:
        raise InputError("--split needs three shares whose sum is 1, and --seed is not negative.")
    modalities = dict.fromkeys(name.upper() for name in arguments.modalities)
    known = [name for name in get_args(Modality) if name != "OCT"]
    if unknown := [name for name in modalities if name not in known]:
        raise InputError(
            f"--modalities knows no {unknown[0]}; choose of {', '.join(known)} (the OCT volume is always stored)."
        )
    recipe = Recipe(
        tuple(arguments.size),
        tuple(arguments.image_size),
        tuple(modalities),
        arguments.cross_device,
        tuple(dict.fromkeys(arguments.scan_patterns)),
    )
    sources, shares = tuple(arguments.sources), tuple(arguments.split)
    return Plan(sources, recipe, shares, arguments.seed, arguments.names, arguments.codec)


def _report(folder: Path, built: Built, *, list_errors: bool) -> None:
    manifest = VolumeStore.open(folder).manifest
    splits = manifest.groupby("patient")["split"].first().value_counts()
    counts = ", ".join(f"{number} {split}" for split, number in splits.items())
    already = " is finished already" if built.finished_before else ""
    patients = manifest["patient"].nunique()
    print(f"{folder}{already}: {len(manifest)} exams of {patients} patients ({counts}).")
    if built.by_folder:
        print(
            f"{built.by_folder} exams state no patient; each folder in a SOURCE counts as one.",
            file=sys.stderr,
        )
    if built.loose:
        print(
            f"Warning: {built.loose} exams state no patient and lie in no folder of one, so that each counts as a "
            "patient: exams of one person may be in different splits.",
            file=sys.stderr,
        )
    if not built.unusable:
        return
    if list_errors:
        for path, reason, _ in built.unusable:
            print(f"{path}: {reason}", file=sys.stderr)
    print(
        f"{len(built.unusable)} exams could not be used; {folder / ERRORS} says why, and the same command with "
        "--list-errors names their files.",
        file=sys.stderr,
    )
    unexpected = Counter(where for _, _, where in built.unusable if where)
    if unexpected:
        kinds = ", ".join(f"{where} ({count})" for where, count in unexpected.most_common(SHOWN))
        print(
            f"{unexpected.total()} of them failed in a way that nobody foresaw, which may be an error of this program; "
            f"please report it: {kinds}.",
            file=sys.stderr,
        )


class _Rate(ProgressColumn):
    """Exams per second, or seconds per exam."""

    def render(self, task: Task) -> Text:
        """What the column shows."""
        if not task.speed:
            return Text("")
        slow = task.speed < 1
        return Text(f"{1 / task.speed:.1f} s/exam" if slow else f"{task.speed:.1f} exams/s")


class _Bar:
    """Progress on the terminal: exams done, rate, time left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Rate(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def __enter__(self) -> _Bar:
        self._progress.start()
        self._task = self._progress.add_task("Looking for exams", total=None)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, done: int, total: int) -> None:
        """Bring the bar up to date."""
        if self._progress.tasks[0].total is None:
            # Anew, so that what an earlier run did is not counted into the rate.
            self._progress.reset(
                self._task, total=total, completed=done, description="Preparing exams"
            )
        self._progress.update(self._task, completed=done)
