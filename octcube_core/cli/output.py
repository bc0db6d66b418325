"""What the commands share in printing: progress, JSON, tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from octcube_core.errors import printable

_MOST_WRAPPED_ROWS = 300  # wrapping thousands takes longer than listing them
_WORD = 8  # the least room for a column, as far as its words need it, in a narrow terminal


@contextmanager
def progress() -> Iterator[Callable[[str, float], None]]:
    """A progress bar on stderr if that is a terminal, else silence."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda stage, fraction: bar.update(task, description=stage, completed=fraction)


@contextmanager
def progress_lines() -> Iterator[Callable[[str, float], None]]:
    """A line of JSON on stdout for each step, which the viewer reads."""
    yield lambda stage, fraction: print_json_line({"stage": stage, "fraction": fraction})


def print_json_line(data: Any) -> None:
    """Print JSON on one line of stdout, at once."""
    sys.stdout.write(json.dumps(data, allow_nan=False) + "\n")
    sys.stdout.flush()


def print_json(data: Any) -> None:
    """Print JSON on stdout."""
    # ASCII: a terminal or a pipe of any encoding takes it.
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")


def print_table(rows: Sequence[tuple[str, str]], warnings: Sequence[str] = ()) -> None:
    """Print names with their values, then warnings."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(printable(value)))
    console = Console()
    console.print(table)
    for warning in warnings:
        console.print(Text(f"Warning: {warning}"), soft_wrap=True)


def print_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with a header; each row on one line where the output is no terminal or the table is long."""
    from rich.cells import cell_len
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rows = [[printable(cell) for cell in row] for row in rows]
    console = Console()
    if not console.is_terminal or len(rows) > _MOST_WRAPPED_ROWS:
        widths = [max(map(cell_len, column)) for column in zip(header, *rows, strict=True)]
        for row in (header, *rows):
            padded = (
                cell + " " * (width - cell_len(cell))
                for cell, width in zip(row, widths, strict=True)
            )
            print_lines("  ".join(padded).rstrip())
        return
    table = Table(*header, box=None, padding=(0, 2, 0, 0))
    for column, cells in zip(table.columns, zip(header, *rows, strict=True), strict=True):
        column.overflow = "fold"
        longest = max(len(word) for cell in cells for word in [*cell.split(), ""])
        column.min_width = min(longest, _WORD)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def print_lines(*lines: str) -> None:
    """Print text after a table, line by line."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))
