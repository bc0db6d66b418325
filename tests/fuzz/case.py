"""A damaged file by its number: the same format, seed and corpus give the same bytes."""

from __future__ import annotations

import gzip
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.fuzz import mutate
from tests.fuzz.sample import Sample


@dataclass(frozen=True)
class Case:
    """One damaged exam.

    Attributes
    ----------
    sample : Sample
        What it was.
    opened : Path
        What the reader is given.
    done : str
        The damage, for a person.
    truncated : bool
        Whether a file was cut and nothing else was done.
    cleared : bool
        Whether bytes were set to zero, so that black voxels may be true to the file.
    """

    sample: Sample
    opened: Path
    done: str
    truncated: bool
    cleared: bool


def make(samples: Sequence[Sample], kind: str, seed: int, folder: Path) -> Case:
    """Write the damaged exam of this number into an empty folder."""
    rng = np.random.default_rng((zlib.crc32(kind.encode()), seed))
    own = [sample for sample in samples if sample.format == kind]
    sample = own[int(rng.integers(len(own)))]
    root = folder / "exam"
    shutil.copytree(sample.root, root) if len(sample.victims) > 1 else _copy_one(sample, root)
    files = list(sample.victims)
    weights = np.array(list(sample.victims.values()), float)
    victim = root / files[int(rng.choice(len(files), p=weights / weights.sum()))]
    names = mutate.choose(rng)
    data = victim.read_bytes()
    packed = victim.suffix == ".gz" and rng.random() < 0.5
    if packed:
        data = gzip.decompress(data)
    for name in names:
        data = mutate.MUTATIONS[name](data, rng) if data else data
    if "join" in names:
        data = _joined(data, samples, rng)
    victim.write_bytes(gzip.compress(data, 1, mtime=0) if packed else data)
    opened = root / sample.opened
    if "rename" in names:
        new = victim.with_name(mutate.renamed(victim.name, rng))
        victim.rename(new)
        opened = new if opened == victim else opened
    what = f"{' and '.join(names)} of {victim.name}{', repacked' if packed else ''}"
    return Case(sample, opened, what, names == ("truncate",), "zero" in names or "swap" in names)


def _copy_one(sample: Sample, root: Path) -> None:
    (only,) = sample.victims
    target = root / only
    target.parent.mkdir(parents=True)
    shutil.copyfile(sample.root / only, target)


def _joined(data: bytes, samples: Sequence[Sample], rng: np.random.Generator) -> bytes:
    made = [sample for sample in samples if not sample.real]
    other = made[int(rng.integers(len(made)))]
    files = list(other.victims)
    behind = (other.root / files[int(rng.integers(len(files)))]).read_bytes()
    return data + behind if rng.random() < 0.5 else behind + data
