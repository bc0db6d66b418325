"""The command: how many files, which, and what came of them."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.fuzz import case as cases
from tests.fuzz import corpus, pool
from tests.fuzz.pool import Verdict
from tests.fuzz.sample import Sample

COUNT = 6000
OUTCOMES = ("opened", "in part", "refused")
SHOWN = 5  # violations of one kind and format that are printed


def main(argv: Sequence[str] | None = None) -> int:
    """Run and print; 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, help=f"damaged files in all; by default {COUNT}")
    parser.add_argument("--format", choices=tuple(corpus.MODULES), help="this format alone")
    parser.add_argument("--seed", type=int, help="this file of --format alone; else the first")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="copy the offending files there")
    parser.add_argument("--workers", type=int, default=pool.cores())
    arguments = parser.parse_args(argv)
    alone = arguments.seed is not None and arguments.format and arguments.count is None
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="octcube-fuzz-") as folder:
        samples, listing, notes = prepare(Path(folder))
        wanted = [arguments.format] if arguments.format else sorted({s.format for s in samples})
        count = 1 if alone else arguments.count or COUNT
        verdicts = pool.run(
            listing,
            plan(wanted, count, arguments.seed or 0),
            workers=arguments.workers,
            on_verdict=_Progress(count),
        )
        for note in notes:
            _say(f"Note: {note}")
        _say(table(verdicts))
        bad = [verdict for verdict in verdicts if verdict.problems]
        _say(violations(bad))
        if arguments.keep:
            keep(samples, verdicts if alone else bad, arguments.keep)
    slowest, largest = (max(verdicts, key=key) for key in (_seconds, _memory))
    _say(f"Slowest: {slowest.seconds:.2f} s ({slowest.format} --seed {slowest.seed})")
    _say(f"Most memory: {largest.memory >> 20} MiB ({largest.format} --seed {largest.seed})")
    _say(
        f"{len(verdicts)} damaged files in {time.monotonic() - start:.0f} s, {len(bad)} violations"
    )
    return 1 if bad else 0


def prepare(folder: Path) -> tuple[list[Sample], Path, list[str]]:
    """Make the corpus and its listing for the workers in a folder."""
    made = folder / "corpus"
    made.mkdir()
    samples, notes = corpus.build(made)
    listing = folder / "corpus.jsonl"
    listing.write_text("\n".join(sample.to_json() for sample in samples))
    return samples, listing, notes


def plan(formats: Sequence[str], count: int, first_seed: int = 0) -> Iterator[tuple[str, int]]:
    """(format, seed) of each case; the formats take turns."""
    for number in range(count):
        yield formats[number % len(formats)], first_seed + number // len(formats)


def table(verdicts: Sequence[Verdict]) -> str:
    """Count per outcome and format."""
    kinds = sorted({kind for verdict in verdicts for kind, _ in verdict.problems})
    header = ("format", *OUTCOMES, "violations", *kinds)
    rows = []
    for name in (*dict.fromkeys(verdict.format for verdict in verdicts), "all"):
        own = [verdict for verdict in verdicts if name in ("all", verdict.format)]
        outcomes = Counter(verdict.outcome for verdict in own if not verdict.problems)
        counts = Counter(kind for v in own for kind in {kind for kind, _ in v.problems})
        bad = sum(bool(verdict.problems) for verdict in own)
        numbers = *(outcomes[name] for name in OUTCOMES), bad, *(counts[kind] for kind in kinds)
        rows.append((name, *map(str, numbers)))
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in (header, *rows)
    )


def violations(bad: Sequence[Verdict]) -> str:
    """The first few violations of each kind and format, and how to see them again."""
    seen: Counter[tuple[str, str]] = Counter()
    lines = []
    for verdict in bad:
        for kind, detail in verdict.problems:
            seen[verdict.format, kind] += 1
            if seen[verdict.format, kind] <= SHOWN:
                again = f"python -m tests.fuzz --format {verdict.format} --seed {verdict.seed}"
                lines.append(f"VIOLATION {kind}: {again}  ({verdict.done})\n    {detail}")
    return "\n".join(lines)


def keep(samples: Sequence[Sample], verdicts: Sequence[Verdict], folder: Path) -> None:
    """Write the damaged files again, each into a folder of its number."""
    for verdict in verdicts:
        target = folder / f"{verdict.format}-{verdict.seed}"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        cases.make(samples, verdict.format, verdict.seed, target)


def _seconds(verdict: Verdict) -> float:
    return verdict.seconds


def _memory(verdict: Verdict) -> int:
    return verdict.memory


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


class _Progress:
    """A line on stderr, if that is a terminal."""

    def __init__(self, total: int) -> None:
        self._total, self._done, self._bad = total, 0, 0

    def __call__(self, verdict: Verdict) -> None:
        self._done += 1
        self._bad += bool(verdict.problems)
        if sys.stderr.isatty():
            end = "\n" if self._done == self._total else ""
            text = f"\r{self._done} of {self._total}, {self._bad} violations"
            sys.stderr.write(text + end)
            sys.stderr.flush()
