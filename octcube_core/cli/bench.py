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
    bench.add_argument("--depth", type=positive, default=24, help="layers of the encoder")
    bench.add_argument("--repeats", type=positive, default=1, help="measure so often (median)")
    add_runtime(bench)
    bench.set_defaults(run=_bench)


def _bench(arguments: argparse.Namespace) -> None:
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
