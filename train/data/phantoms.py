"""``python -m train phantoms``: a store of synthetic eyes with labels and lesion masks."""

from __future__ import annotations

import argparse
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray
from rich.progress import track
from threadpoolctl import threadpool_limits

from octcube_core.errors import InputError
from octcube_core.phantom import DISEASES, SyntheticExam, make_exam
from octcube_core.preprocess import resize_volume
from train.data.store import GROUP, SHARD, new_store, write_manifest

# Seeds are (purpose, seed, number), so that no purpose ever meets another's eyes, nor the seeds that people type.
TRAINING_EYES = 0x0C7C_0001
BENCHMARK_EYES = 0x0C7C_0002
VALIDATION_SHARE = 0.08


def main(argv: list[str]) -> None:
    """Parse the arguments and make the store."""
    parser = argparse.ArgumentParser(prog="python -m train phantoms", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of the new store")
    parser.add_argument("--n", type=int, required=True, help="number of eyes")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--size",
        type=int,
        nargs=3,
        default=(60, 256, 256),
        metavar=("FRAMES", "HEIGHT", "WIDTH"),
        help="size to store the 60 x 256 x 256 eyes at, as a model of that input size sees them",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    arguments = parser.parse_args(argv)
    if arguments.n < 1 or arguments.workers < 1 or arguments.seed < 0 or min(arguments.size) < 1:
        raise InputError("--n, --workers and --size must be at least 1, and --seed not negative.")
    make_store(arguments.out, arguments.n, tuple(arguments.size), arguments.seed, arguments.workers)


def make_store(
    folder: Path, count: int, size: tuple[int, int, int], seed: int, workers: int
) -> None:
    """Make ``count`` synthetic eyes in parallel, a shard per job, and the manifest."""
    with new_store(folder, count, size) as unfinished:
        write_manifest(unfinished, _make_shards(unfinished, count, size, seed, workers))


def _make_shards(
    folder: Path, count: int, size: tuple[int, int, int], seed: int, workers: int
) -> pd.DataFrame:
    firsts = range(0, count, SHARD)
    job = partial(_make_shard, folder=folder, count=count, size=size, seed=seed)
    # Spawned, as a fork of a process with running threads can hang.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        shards = list(track(pool.map(job, firsts), "Synthetic eyes", total=len(firsts)))
    rows = pd.DataFrame([row for shard in shards for row in shard])
    chosen = np.random.default_rng(seed).permutation(count)[: round(count * VALIDATION_SHARE)]
    rows["split"] = "train"
    rows.loc[chosen, "split"] = "validation"
    return rows


def _make_shard(
    first: int, folder: Path, count: int, size: tuple[int, int, int], seed: int
) -> list[dict[str, Any]]:
    numbers = range(first, min(first + SHARD, count))
    volumes = np.zeros((len(numbers), *size), np.uint8)
    lesions = np.zeros_like(volumes)
    rows = []
    for slot, number in enumerate(numbers):
        # One process per core already: threads of their own would only wait for each other.
        with threadpool_limits(1):
            exam = make_exam((TRAINING_EYES, seed, number))
        volumes[slot] = np.rint(resize_volume(exam.volume, size).numpy() * 255)
        lesions[slot] = lesion_bits(exam, size)
        labels = dict(zip(DISEASES, exam.truth.labels.astype(int), strict=True))
        rows.append({"eye": number, "patient": number, "laterality": exam.laterality, **labels})
    group = zarr.open_group(folder / GROUP, mode="r+")
    group["volumes"][first : first + len(numbers)] = volumes
    group["lesions"][first : first + len(numbers)] = lesions
    return rows


def lesion_bits(exam: SyntheticExam, size: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Lesion masks as bits at another size; a voxel that holds any of a lesion belongs to it, so none gets lost."""
    bits = np.zeros(exam.volume.shape, np.uint8)
    for name, mask in exam.truth.masks.items():
        bits |= mask.astype(np.uint8) << DISEASES.index(name)
    for axis, (new, old) in enumerate(zip(size, exam.volume.shape, strict=True)):
        bits = np.bitwise_or.reduceat(bits, np.arange(new) * old // new, axis=axis)
    return bits
