"""``octcube bench``: how fast this machine is."""

from __future__ import annotations

import argparse
from typing import Any

from octcube_core.cli.arguments import add_runtime, positive
from octcube_core.cli.output import print_columns, print_json, print_lines, progress
from octcube_core.errors import InputError

PARTS = ("speed", "plain", "fp32", "fast", "precision", "memory", "gpu")


def add(commands: Any) -> None:
    """Add the command."""
    bench = commands.add_parser(
        "bench",
        help="measure the speed of a ViT-L on this machine",
        description="Measure speed, precision and memory of an analysis with a ViT-L on this machine, each with what "
        "is allowed. On two cores all parts take about ten minutes.",
    )
    bench.add_argument("--json", action="store_true", help="print JSON")
    bench.add_argument(
        "--readers", action="store_true", help="measure how fast exams open instead of the model"
    )
    bench.add_argument(
        "--retrieval",
        action="store_true",
        help="measure indices of embeddings instead of the model; a million need 5 GB of memory and 3 GB of disk",
    )
    bench.add_argument(
        "--items",
        nargs="+",
        type=positive,
        metavar="N",
        help="sizes of the indices; default: 100000 1000000",
    )
    bench.add_argument(
        "--postgres",
        metavar="URL",
        help="measure the smallest index on this server with pgvector too, in a schema that is dropped afterwards",
    )
    bench.add_argument(
        "--parts",
        nargs="+",
        choices=PARTS,
        default=PARTS,
        metavar="PART",
        help=f"what to measure, of {', '.join(PARTS)}; default: all",
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
    if arguments.retrieval:
        _bench_retrieval(arguments)
        return
    if arguments.items or arguments.postgres:
        raise InputError("--items and --postgres belong to octcube bench --retrieval.")
    from octcube_core.bench import measure

    with progress() as on_progress:
        result = measure(
            parts=tuple(arguments.parts),
            depth=arguments.depth,
            repeats=arguments.repeats,
            device=arguments.device,
            precision=arguments.precision,
            on_progress=on_progress,
        )
    if arguments.json:
        print_json(result)
    else:
        _print_model(result)


def _print_model(result: dict[str, Any]) -> None:
    model, shape = result["model"], " x ".join(str(size) for size in result["input_shape"])
    print_lines(
        f"{model['depth']} layers of width {model['embed_dim']}, {shape}, {result['precision']} on "
        f"{result['device']}, {result['threads']} threads, median of {result['repeats']}"
    )
    if "forward_s" in result:
        print_lines(f"A forward pass takes {result['forward_s']:.2f} s")
    _print_figures(result)


def _print_figures(result: dict[str, Any]) -> None:
    rows = [
        (
            figure["name"],
            f"{figure['value']:.3g} {figure['unit']}".strip(),
            _limit(figure),
            {True: "yes", False: "NO", None: ""}[figure["ok"]],
            figure["note"],
        )
        for figure in result["figures"]
    ]
    print_columns(("Figure", "Value", "Allowed", "OK", "Note"), rows)
    for part, details in result["parts"].items():
        if "skipped" in details:
            print_lines(f"{part}: skipped, {details['skipped']}")


def _limit(figure: dict[str, Any]) -> str:
    return "" if figure["allowed"] is None else f"{figure['bound']} {figure['allowed']:g}"


def _bench_retrieval(arguments: argparse.Namespace) -> None:
    from octcube_core.bench.retrieval import PROMISED_ITEMS, measure

    with progress() as on_progress:
        result = measure(
            arguments.items or PROMISED_ITEMS,
            postgres_url=arguments.postgres,
            on_progress=on_progress,
        )
    if arguments.json:
        print_json(result)
        return
    print_lines(f"Embeddings of {result['features']} numbers, {result['cores']} cores")
    for figure in result["figures"]:
        figure["name"] = f"{figure['part']}: {figure['name']}"
    _print_figures(result)


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
