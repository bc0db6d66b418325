"""``python -m train family``: run the stages one after another, skip what is done, go on where it was killed."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.console import Console

from octcube_core.errors import InputError, OCTCubeError
from octcube_core.whole_file import whole_file
from octcube_core.worker_processes import available_cores
from train.data.only_run import lock_out_others
from train.family.plan import plan
from train.family.ship import ship
from train.family.stages import Stage

STARTED, DONE = "started.json", "done.json"
# Lightning asks for the devices; two processes of one thread use two cores better than one process of two.
ON_CPU = (
    "--trainer.accelerator=cpu",
    f"--trainer.devices={min(available_cores(), 2)}",
    "--trainer.strategy=ddp",
)
ON_GPU = ("--trainer.accelerator=gpu", "--trainer.devices=1", "--trainer.strategy=auto")
# Memory that goes back to a virtual machine is slow to come again: training took twice as long without these.
KEEP_MEMORY = {
    "MALLOC_MMAP_THRESHOLD_": "4000000000",
    "MALLOC_TRIM_THRESHOLD_": "8000000000",
    "OMP_NUM_THREADS": "1",
}


def main(argv: list[str]) -> None:
    """Parse the arguments and run what is not done yet."""
    parser = argparse.ArgumentParser(prog="python -m train family", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/family"), help="the family's folder")
    parser.add_argument("--until", help="stop after this stage")
    parser.add_argument(
        "--small", action="store_true", help="a few eyes and steps, to see that every stage runs"
    )
    parser.add_argument(
        "--ship",
        action="store_true",
        help="then put the models in the place of those in the package, if the proof holds",
    )
    arguments = parser.parse_args(argv)
    stages = plan(small=arguments.small)
    names = [stage.name for stage in stages]
    if arguments.until is not None and arguments.until not in names:
        raise InputError(f"There is no stage {arguments.until!r}; known are {', '.join(names)}.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # ends the stage too
    last = len(names) if arguments.until is None else names.index(arguments.until) + 1
    run(stages[:last], arguments.out)
    if arguments.ship:
        ship(arguments.out)


def run(stages: Sequence[Stage], family: Path) -> None:
    """Run every stage that is not done; raise OCTCubeError when one fails, or another process runs them."""
    family.mkdir(parents=True, exist_ok=True)
    lock = lock_out_others(family / ".lock", family)
    try:
        _run_all(stages, family, lock)
    finally:
        os.close(lock)


def _run_all(stages: Sequence[Stage], family: Path, lock: int) -> None:
    console, prints = Console(), dict[str, str]()
    for number, stage in enumerate(stages, start=1):
        prints[stage.name] = stage.fingerprint(prints)
        title = f"[{number}/{len(stages)}] {stage.name}"
        if _is_done(stage, family, prints[stage.name]):
            console.print(f"{title}: done before")
            continue
        console.print(f"{title}: python -m train {' '.join(stage.command(family))}", soft_wrap=True)
        seconds = _run(stage, family, prints[stage.name], lock)
        console.print(f"{title}: {seconds / 60:.1f} minutes")


def minutes(family: Path) -> dict[str, float]:
    """How long each finished stage took, over all its starts."""
    found = sorted(family.glob(f"*/{DONE}"), key=lambda path: path.stat().st_mtime)
    return {path.parent.name: json.loads(path.read_text())["seconds"] / 60 for path in found}


def _is_done(stage: Stage, family: Path, fingerprint: str) -> bool:
    note = family / stage.name / DONE
    if not note.is_file() or not (family / stage.product).exists():
        return False
    return bool(json.loads(note.read_text())["fingerprint"] == fingerprint)


def _run(stage: Stage, family: Path, fingerprint: str, lock: int) -> float:
    folder = family / stage.name
    before = _seconds_before(folder, fingerprint)
    if before is None:  # what lies there comes from other settings
        shutil.rmtree(folder, ignore_errors=True)
        product = family / stage.product
        shutil.rmtree(product) if product.is_dir() else product.unlink(missing_ok=True)
        shutil.rmtree(product.with_name(f".{product.name}.unfinished"), ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "train", *stage.command(family), *_machine(stage)],
        env={**KEEP_MEMORY, **os.environ},
        # Where this process is killed, its stage may live on, and has the lock until it ends.
        pass_fds=(lock,) if os.name == "posix" else (),
    )
    try:
        while True:
            seconds = (before or 0.0) + time.monotonic() - start
            _note(folder / STARTED, fingerprint, seconds)  # so that a killed start's time counts
            try:
                code = process.wait(timeout=10)
                break
            except subprocess.TimeoutExpired:
                continue
    except BaseException:
        process.terminate()
        process.wait()
        raise
    if code:
        raise OCTCubeError(
            f"The stage {stage.name} ended with exit code {code}; "
            "run the same command again once its error above is mended."
        )
    if not (family / stage.product).exists():
        raise OCTCubeError(f"The stage {stage.name} ended without making {stage.product}.")
    seconds = (before or 0.0) + time.monotonic() - start
    _note(folder / DONE, fingerprint, seconds)
    return seconds


def _machine(stage: Stage) -> tuple[str, ...]:
    if not stage.trains:
        return ()
    return (*(ON_GPU if torch.cuda.is_available() else ON_CPU), "--resume=auto")


def _seconds_before(folder: Path, fingerprint: str) -> float | None:
    """Seconds that killed starts with these settings have taken; None if there was none."""
    note = folder / STARTED
    if not note.is_file():
        return None
    started = json.loads(note.read_text())
    return float(started["seconds"]) if started["fingerprint"] == fingerprint else None


def _note(path: Path, fingerprint: str, seconds: float) -> None:
    with whole_file(path) as partial:
        partial.write_text(json.dumps({"fingerprint": fingerprint, "seconds": round(seconds, 1)}))
