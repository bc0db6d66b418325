"""``octcube bench``: how fast this machine is."""

from __future__ import annotations

import argparse
from typing import Any

from octcube_core.cli.arguments import add_runtime, positive
from octcube_core.cli.output import print_json, print_table


def add(commands: Any) -> None:
    """Add the command."""
    bench = commands.add_parser("bench", help="measure the speed of a ViT-L on this machine")
    bench.add_argument("--json", action="store_true", help="print JSON")
    bench.add_argument(
        "--readers", action="store_true", help="measure how fast exams open instead of the model"
    )
    bench.add_argument("--depth", type=positive, default=24, help="layers of the encoder")
    bench.add_argument(
        "--repeats", type=positive, default=1, help="measure so often (median); readers at least 15"
    )
    add_runtime(bench)
    bench.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace) -> None:
    if arguments.readers:
        _bench_readers(arguments)
        return
    from octcube_core.bench import measure

    result = measure(
        depth=arguments.depth,
        repeats=arguments.repeats,
        device=arguments.device,
        precision=arguments.precision,
    )
    if arguments.json:
        print_json(result)
    else:
        print_table([(name, str(value)) for name, value in result.items()])


def _bench_readers(arguments: argparse.Namespace) -> None:
    from octcube_core.bench_readers import measure

    result = measure(repeats=arguments.repeats)
    if arguments.json:
        print_json(result)
    else:
        _print_readers(result)


def _print_readers(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("Reader", box=None)
    for column in ("Seconds", "Baseline", "Ratio", "Allowed"):
        table.add_column(column, justify="right")
    for reader in result["readers"]:
        table.add_row(
            reader["name"],
            f"{reader['seconds']:.4f}",
            f"{reader['baseline_seconds']:.4f}",
            f"{reader['ratio']:.2f}",
            f"{reader['allowed']:.1f}",
        )
    console = Console()
    size = " x ".join(str(length) for length in result["shape"])
    console.print(f"{size} voxels, median of {result['repeats']}, {result['cores']} cores")
    console.print(table)
