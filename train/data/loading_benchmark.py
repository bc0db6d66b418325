"""``python -m train benchmark --data``: how fast volumes come from a store, and what compression would cost."""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from octcube_core.errors import InputError
from octcube_core.worker_processes import available_cores
from train.data.datasets import StoreDataset
from train.data.loader import TrainingLoader
from train.data.sampler import EpochSampler
from train.data.store import (
    SHARD,
    StoreLayout,
    VolumeStore,
    new_store,
    write_manifest,
    write_shard,
)

CODECS = ("none", "zstd")


def main(argv: list[str]) -> None:
    """Parse the arguments, measure, print a table or JSON."""
    parser = argparse.ArgumentParser(prog="python -m train benchmark --data", description=__doc__)
    parser.add_argument("--data", action="store_true", help="measure loading, not a model")
    parser.add_argument("--n", type=int, default=64, help="volumes in the temporary store")
    parser.add_argument(
        "--size",
        type=int,
        nargs=3,
        default=(60, 256, 256),
        metavar=("FRAMES", "HEIGHT", "WIDTH"),
    )
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=1, help="reading threads; default: 1")
    parser.add_argument("--rounds", type=int, default=5, help="how often all volumes are read")
    parser.add_argument(
        "--folder", type=Path, help="where to make the store, to measure a disk; default: temporary"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args(argv)
    counts = (arguments.n, arguments.batch_size, arguments.rounds, *arguments.size)
    if min(counts) < 1 or arguments.workers < 0 or arguments.n < arguments.batch_size:
        raise InputError(
            "Sizes, --n, --rounds and --batch-size are at least 1, --workers is not negative, and --n fills a batch."
        )
    with tempfile.TemporaryDirectory(dir=arguments.folder, prefix="octcube-loading-") as folder:
        result = measure(
            Path(folder),
            arguments.n,
            tuple(arguments.size),
            batch_size=arguments.batch_size,
            workers=arguments.workers,
            rounds=arguments.rounds,
        )
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        _print_table(result)


def measure(
    folder: Path,
    count: int,
    size: tuple[int, int, int],
    *,
    batch_size: int,
    workers: int,
    rounds: int,
) -> dict[str, Any]:
    """Write the same volumes as ``.npy`` and as stores, and read them in turns from the page cache.

    Returns
    -------
    dict
        ``codecs``: for each codec ``ratio``, the median time of reading a volume over that of copying one out of the
        memory-mapped file (each measured in turn with the other); ``read_ms`` and ``mapped_ms`` themselves;
        ``volumes_per_s`` through the whole loader into this process, and the ``cpu_ms`` that each took of all its
        threads; ``bytes_per_voxel`` on disk.
    """
    volumes = np.lib.format.open_memmap(
        folder / "volumes.npy", mode="w+", dtype=np.uint8, shape=(count, *size)
    )
    for row in range(count):
        volumes[row] = noisy_layers(size, seed=row)
    volumes.flush()
    volumes = np.load(folder / "volumes.npy", mmap_mode="r")
    codecs = {}
    for codec in track(CODECS, "Codecs", console=Console(stderr=True)):
        _write(folder / codec, volumes, codec)
        store = VolumeStore.open(folder / codec)
        codecs[codec] = {
            **_reading(store, volumes, rounds),
            **_feeding(store, batch_size, workers, rounds),
            "bytes_per_voxel": _bytes_on_disk(folder / codec) / volumes.size,
        }
    return {
        "volumes": count,
        "size": list(size),
        "batch_size": batch_size,
        "workers": workers,
        "rounds": rounds,
        "cores": available_cores(),
        "codecs": codecs,
    }


def noisy_layers(size: tuple[int, int, int], seed: int) -> NDArray[np.uint8]:
    """A bright band with speckle on a dark, faintly noisy ground, which compresses about as OCT does."""
    _, height, width = size
    draw = np.random.default_rng(seed)
    depth = np.linspace(-1, 1, height)[:, None] + 0.1 * np.sin(np.linspace(0, 3, width))
    signal = 150 * np.exp(-((depth / 0.25) ** 2)) + 6
    speckle = draw.rayleigh(0.8, size=size).astype(np.float32)
    return np.clip(signal * speckle, 0, 255).astype(np.uint8)


def _write(folder: Path, volumes: NDArray[np.uint8], codec: str) -> None:
    count = len(volumes)
    with new_store(folder, StoreLayout(count, volumes.shape[1:], codec=codec)) as unfinished:
        for first in range(0, count, SHARD):
            write_shard(unfinished, first, volumes[first : first + SHARD])
        names = [str(row) for row in range(count)]
        rows = pd.DataFrame({"eye": names, "patient": names, "visit": 1, "laterality": None})
        rows[["device", "split"]] = "synthetic", "train"
        rows[["spacing_z_mm", "spacing_y_mm", "spacing_x_mm"]] = np.nan
        rows["modalities"] = [["OCT"]] * count
        write_manifest(unfinished, rows)


def _reading(store: VolumeStore, mapped: NDArray[np.uint8], rounds: int) -> dict[str, float]:
    """Medians of reading a volume into new memory; the first round, which fills the page cache, does not count."""
    times: list[tuple[float, float]] = []
    order = np.random.default_rng(0)
    for number in range(rounds + 1):
        for row in map(int, order.permutation(len(mapped))):
            pair = (
                _seconds(lambda row=row: np.array(mapped[row])),
                _seconds(lambda row=row: store.read(row)),
            )
            if number:
                times.append(pair)
    from_mapped, from_store = (median(column) for column in zip(*times, strict=True))
    return {
        "ratio": from_store / from_mapped,
        "read_ms": 1000 * from_store,
        "mapped_ms": 1000 * from_mapped,
    }


def _seconds(read: Callable[[], object]) -> float:
    start = time.perf_counter()
    held = read()  # freed after the clock stops
    seconds = time.perf_counter() - start
    del held
    return seconds


def _feeding(store: VolumeStore, batch_size: int, workers: int, rounds: int) -> dict[str, float]:
    """Medians over epochs of what the training process gets, each page of it touched."""
    dataset = StoreDataset(store, np.arange(len(store.manifest)))
    loader = TrainingLoader(dataset, EpochSampler(len(dataset), batch_size), workers)
    speeds, costs = [], []
    for _ in range(rounds):
        fed, start, used = 0, time.perf_counter(), time.process_time()
        for batch in loader:
            batch["volume"].view(-1)[::4096].sum()
            fed += len(batch["row"])
        speeds.append(fed / (time.perf_counter() - start))
        costs.append(1000 * (time.process_time() - used) / fed)
    return {"volumes_per_s": median(speeds), "cpu_ms": median(costs)}


def _bytes_on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _print_table(result: dict[str, Any]) -> None:
    size = " x ".join(map(str, result["size"]))
    table = Table(
        title=f"{result['volumes']} volumes of {size} from the page cache, {result['workers']} worker(s)"
    )
    for column in (
        "codec",
        "read, ms",
        "of mapped .npy",
        "loader, volumes/s",
        "CPU ms each",
        "bytes/voxel",
    ):
        table.add_column(column, justify="left" if column == "codec" else "right")
    for codec, figures in result["codecs"].items():
        table.add_row(
            codec,
            f"{figures['read_ms']:.2f}",
            f"{figures['ratio']:.2f} x",
            f"{figures['volumes_per_s']:.0f}",
            f"{figures['cpu_ms']:.2f}",
            f"{figures['bytes_per_voxel']:.2f}",
        )
    Console().print(table)
