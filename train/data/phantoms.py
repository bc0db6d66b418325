"""``python -m train phantoms``: a store of synthetic exams with labels and lesion masks.

A killed run goes on, shard by shard, when the same command is given again, and ends with the same store.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from concurrent.futures import as_completed
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.progress import Progress
from threadpoolctl import threadpool_limits

from octcube_core.errors import InputError
from octcube_core.phantom import BENCHMARK_DIFFICULTY
from octcube_core.whole_file import whole_file
from octcube_core.worker_processes import available_cores, worker_pool
from train.data.only_run import lock_out_others
from train.data.phantom_rows import (
    BENCHMARK_EYES,
    KINDS,
    SALT_OF_NOBODY,
    SHAPE,
    TRAINING_EYES,
    Job,
    Request,
    jobs_of,
    lesion_bits,
    pictures_of,
    row_of,
)
from train.data.salt import SALT
from train.data.store import SHARD, StoreLayout, create_arrays, write_manifest, write_shard

__all__ = ["BENCHMARK_EYES", "TRAINING_EYES", "lesion_bits", "make_store"]

VALIDATION_SHARE = 0.08


def main(argv: list[str]) -> None:
    """Parse the arguments and make the store."""
    arguments = _parser().parse_args(argv)
    count = arguments.n if arguments.patients is None else arguments.patients
    sizes = (*arguments.size, *arguments.image_size)
    if min(count, arguments.workers, *sizes) < 1 or arguments.seed < 0:
        raise InputError(
            "--n, --patients, --workers and sizes must be at least 1, and --seed not negative."
        )
    if not (arguments.difficulty > 0 and 0 <= arguments.test_share < 1 - VALIDATION_SHARE):
        raise InputError("--difficulty must be above 0 and --test-share between 0 and 0.9.")
    request = Request(
        arguments.kind,
        count,
        arguments.patients is not None,
        tuple(arguments.size),
        tuple(arguments.image_size),
        arguments.seed,
        BENCHMARK_EYES if arguments.unseen else TRAINING_EYES,
        arguments.difficulty,
    )
    fill_store(arguments.out, request, arguments.workers, arguments.test_share)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m train phantoms", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the new store")
    parser.add_argument("--kind", choices=KINDS, default="eyes")
    size = parser.add_mutually_exclusive_group(required=True)
    size.add_argument("--patients", type=int, help="patients with two eyes and several visits")
    size.add_argument("--n", type=int, help="single exams, each of another patient")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--size",
        type=int,
        nargs=3,
        default=SHAPE,
        metavar=("FRAMES", "HEIGHT", "WIDTH"),
        help="size to store the 60 x 256 x 256 volumes at, as a model of that input size sees them",
    )
    parser.add_argument(
        "--image-size",
        type=int,
        nargs=2,
        default=(256, 256),
        metavar=("HEIGHT", "WIDTH"),
        help="size to store IR and FAF images at",
    )
    parser.add_argument(
        "--difficulty",
        type=float,
        default=BENCHMARK_DIFFICULTY,
        help=f"above 1 fainter lesions and more noise; the benchmark's is {BENCHMARK_DIFFICULTY}",
    )
    parser.add_argument(
        "--unseen",
        action="store_true",
        help="eyes that no training store holds, all of split 'test': for evaluation only",
    )
    parser.add_argument(
        "--test-share", type=float, default=0.0, help="share of the patients for split 'test'"
    )
    parser.add_argument("--workers", type=int, default=available_cores())
    return parser


def make_store(
    folder: Path, count: int, size: tuple[int, int, int], seed: int, workers: int
) -> None:
    """Make ``count`` single synthetic eyes in parallel, a shard per job, and the manifest."""
    fill_store(folder, Request("eyes", count, False, size, seed=seed), workers)


def fill_store(folder: Path, request: Request, workers: int, test_share: float = 0.0) -> None:
    """Make a store, or go on with one of the same request that was not finished.

    Raises
    ------
    InputError
        ``folder`` exists, another process is making it, or an unfinished store beside it was begun with another
        request.
    """
    folder = Path(folder)
    jobs = jobs_of(request)
    with _unfinished(folder, request, len(jobs)) as partial:
        _make_shards(partial, request, jobs, workers)
        rows = [
            row
            for first in range(0, len(jobs), SHARD)
            for row in json.loads(_rows_file(partial, first).read_text())
        ]
        manifest = pd.DataFrame(rows)
        unseen = request.purpose == BENCHMARK_EYES
        manifest["split"] = (
            "test" if unseen else split_patients(manifest["patient"], request.seed, test_share)
        )
        (partial / SALT).write_text(SALT_OF_NOBODY)
        write_manifest(partial, manifest)
        for first in range(0, len(jobs), SHARD):
            _rows_file(partial, first).unlink()
        (partial / _REQUEST).unlink()
        for left in partial.glob(".*.partial"):  # of a killed process
            left.unlink()


def split_patients(patients: pd.Series[str], seed: int, test_share: float) -> pd.Series[str]:
    """'train', 'validation' or 'test' for each row, the same for all rows of a patient."""
    known = patients.unique()
    order = np.random.default_rng(seed).permutation(len(known))
    validation = round(len(known) * VALIDATION_SHARE)
    test = round(len(known) * test_share)
    split = dict.fromkeys(known, "train")
    split |= dict.fromkeys(known[order[:validation]], "validation")
    split |= dict.fromkeys(known[order[validation : validation + test]], "test")
    return patients.map(split)


_REQUEST = "request.json"


@contextmanager
def _unfinished(folder: Path, request: Request, count: int) -> Iterator[Path]:
    """The hidden folder that becomes ``folder`` when the block ends well, and stays to be gone on with if not."""
    partial = folder.with_name(f".{folder.name}.unfinished")
    lock = folder.with_name(f".{folder.name}.lock")
    folder.parent.mkdir(parents=True, exist_ok=True)
    locked = lock_out_others(lock, folder)
    try:
        if folder.exists():
            raise InputError(f"{folder} exists already; choose another folder or delete it first.")
        _begin(partial, request, count)
        yield partial
        partial.rename(folder)
    finally:
        with suppress(PermissionError):  # Windows removes no open file
            lock.unlink()
        os.close(locked)


def _begin(partial: Path, request: Request, count: int) -> None:
    """Make the empty store, unless one of the same request is there."""
    wanted = json.dumps(asdict(request))
    begun = partial / _REQUEST
    if begun.is_file() and begun.read_text() != wanted:
        raise InputError(
            f"{partial} is an unfinished store of another command; delete it or finish that one first."
        )
    if not begun.is_file():
        partial.mkdir(parents=True, exist_ok=True)
        images = dict.fromkeys(request.modalities, request.image_shape)
        create_arrays(partial, StoreLayout(count, request.volume_shape, images, lesions=True))
        _write(begun, wanted)


def _make_shards(folder: Path, request: Request, jobs: list[Job], workers: int) -> None:
    firsts = [n for n in range(0, len(jobs), SHARD) if not _rows_file(folder, n).is_file()]
    with worker_pool(workers) as pool, Progress() as progress:
        task = progress.add_task("Synthetic exams", total=len(jobs))
        waiting = {
            pool.submit(_make_shard, folder, request, first, jobs[first : first + SHARD])
            for first in firsts
        }
        progress.advance(task, len(jobs) - sum(len(jobs[n : n + SHARD]) for n in firsts))
        try:
            for done in as_completed(waiting):
                progress.advance(task, done.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _make_shard(folder: Path, request: Request, first: int, jobs: list[Job]) -> int:
    volumes = np.zeros((len(jobs), *request.volume_shape), np.uint8)
    lesions = np.zeros_like(volumes)
    images = {
        name: np.zeros((len(jobs), *request.image_shape), np.uint8) for name in request.modalities
    }
    rows: list[dict[str, Any]] = []
    for slot, job in enumerate(jobs):
        # One process per core already: threads of their own would only wait for each other.
        with threadpool_limits(1):
            exam = job.make()
            volumes[slot], pictures = pictures_of(exam, request)
        lesions[slot] = lesion_bits(exam, request.volume_shape)
        for name, picture in pictures.items():
            images[name][slot] = picture
        rows.append(row_of(job, exam))
    write_shard(folder, first, volumes, images, lesions)
    # Last, as a shard counts as made once its rows are there.
    _write(_rows_file(folder, first), json.dumps(rows))
    return len(jobs)


def _rows_file(folder: Path, first: int) -> Path:
    return folder / f"rows-{first:08d}.json"


def _write(path: Path, text: str) -> None:
    with whole_file(path) as partial:
        partial.write_text(text)
