"""The command ``octcube``: info, analyze, bench. What is wrong with the input is said in one line, with exit code 2."""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

from octcube_core import __version__
from octcube_core.checkpoints.card import SALIENCY_METHODS
from octcube_core.errors import InputError, OCTCubeError

BAD_INPUT, BROKEN_PIPE, INTERRUPTED, TERMINATED = 2, 1, 130, 143
PRECISIONS = ("auto", "fp32", "bf16", "fp16")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        signal.signal(signal.SIGTERM, _terminate)
        if isinstance(sys.stdout, io.TextIOWrapper):
            # A name that the terminal cannot show must not end the command.
            sys.stdout.reconfigure(errors="backslashreplace")
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
        sys.stdout.flush()
    except (OCTCubeError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            # The interpreter flushes stdout once more when it exits.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        print(f"octcube: error: {' '.join(str(error).split())}", file=sys.stderr)  # noqa: T201
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _terminate(*_: object) -> NoReturn:
    """End as after Ctrl-C, so that what is half written is removed."""
    raise SystemExit(TERMINATED)


class _Parser(argparse.ArgumentParser):
    """Reports a bad argument like any other bad input: in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message} (see {self.prog} --help)")

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        sys.stdout.flush()  # a closed pipe is noticed here, not when the interpreter ends
        super().exit(status, message)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="octcube",
        description="Retinal OCT with the OCTCube-M models. Research use only; not for diagnosis.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    info = commands.add_parser("info", help="say what an exam is")
    info.add_argument("path", type=Path, metavar="PATH", help="file or folder of the exam")
    info.add_argument("--json", action="store_true", help="print JSON")
    info.set_defaults(run=_info)

    analyze = commands.add_parser("analyze", help="score an exam and show why")
    analyze.add_argument("path", type=Path, metavar="PATH", help="file or folder of the exam")
    analyze.add_argument("--model", required=True, metavar="NAME_OR_FILE", help="e.g. demo")
    analyze.add_argument("--out", required=True, type=Path, metavar="DIR", help="results folder")
    analyze.add_argument(
        "--device", type=_device, default="auto", help="auto, cpu, cuda, cuda:1, mps"
    )
    analyze.add_argument("--precision", choices=PRECISIONS, default="auto")
    analyze.add_argument(
        "--saliency", choices=tuple(SALIENCY_METHODS), help="default: what the model's card says"
    )
    analyze.set_defaults(run=_analyze)

    bench = commands.add_parser("bench", help="measure the speed of a ViT-L on this machine")
    bench.add_argument("--json", action="store_true", help="print JSON")
    bench.add_argument("--depth", type=_positive, default=24, help="layers of the encoder")
    bench.add_argument("--repeats", type=_positive, default=1, help="measure so often (median)")
    _add_runtime(bench)
    bench.set_defaults(run=_bench)
    return parser


def _add_runtime(command: argparse.ArgumentParser) -> None:
    """Add what says where and how a model runs."""
    command.add_argument(
        "--device", type=_device, default="auto", help="auto, cpu, cuda, cuda:1, mps"
    )
    command.add_argument("--precision", choices=PRECISIONS, default="auto")


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", text):
        raise argparse.ArgumentTypeError(f"unknown device {text!r}: auto, cpu, cuda, cuda:N or mps")
    return text


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _info(arguments: argparse.Namespace) -> None:
    from octcube_core.export import exam_facts
    from octcube_core.readers import read_exam

    facts = exam_facts(read_exam(arguments.path))
    if arguments.json:
        _print_json(facts)
    else:
        _print_table(_facts_rows(facts), facts["warnings"])


def _analyze(arguments: argparse.Namespace) -> None:
    from octcube_core.export import result_folder, scores_report, write_results

    # Before the model is loaded: a folder that cannot be written to must not cost minutes.
    with result_folder(arguments.out) as folder, _progress() as on_progress:
        on_progress("Reading the exam", 0.0)
        from octcube_core.readers import read_exam

        exam = read_exam(arguments.path)
        on_progress("Loading the model", 0.0)
        from octcube_core.analysis import analyze
        from octcube_core.checkpoints import load_model

        model = load_model(arguments.model, device=arguments.device, precision=arguments.precision)
        analysis = analyze(exam, model, saliency=arguments.saliency, on_progress=on_progress)
        on_progress("Writing the results", 1.0)
        write_results(folder, exam, analysis)
    report = scores_report(exam, analysis)
    _print_scores(report, analysis.card.title, arguments.out)


def _bench(arguments: argparse.Namespace) -> None:
    from octcube_core.bench import measure

    result = measure(
        depth=arguments.depth,
        repeats=arguments.repeats,
        device=arguments.device,
        precision=arguments.precision,
    )
    if arguments.json:
        _print_json(result)
    else:
        _print_table([(name, str(value)) for name, value in result.items()])


@contextmanager
def _progress() -> Iterator[Callable[[str, float], None]]:
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


def _print_json(data: dict[str, Any]) -> None:
    # ASCII: a terminal or a pipe of any encoding takes it.
    sys.stdout.write(json.dumps(data, indent=2, allow_nan=False) + "\n")


def _print_table(rows: Sequence[tuple[str, str]], warnings: Sequence[str] = ()) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, Text(value))
    console = Console()
    console.print(table)
    for warning in warnings:
        console.print(Text(f"Warning: {warning}"), soft_wrap=True)


def _facts_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    bscans, depth, width = facts["shape"]
    rows = [
        ("Format", facts["format"] or "unknown"),
        ("Modalities", ", ".join(facts["modalities"])),
        ("Eye", facts["laterality"] or "unknown"),
        ("Device", facts["device"] or "unknown"),
        ("Scan pattern", facts["scan_pattern"] or "unknown"),
        ("Volume", f"{bscans} B-scans of {depth} x {width} (depth x width)"),
    ]
    names = ("between B-scans", "axial", "lateral")
    spacings = zip(names, facts["spacing_mm"], strict=True)
    rows.append(("Spacing", ", ".join(f"{name} {_micrometres(value)}" for name, value in spacings)))
    for image in facts["enface"]:
        height, columns = image["shape"]
        row, column = (_micrometres(value) for value in image["spacing_mm"])
        pixel = row if row == column else f"{row} x {column}"
        rows.append((image["modality"], f"{height} x {columns} pixels, pixel {pixel}"))
    placed = "known" if facts["bscan_locations_known"] else "unknown"
    return [*rows, ("B-scans on en face", placed)]


def _micrometres(spacing_mm: float | None) -> str:
    return "unknown" if spacing_mm is None else f"{spacing_mm * 1000:.4g} um"


def _print_scores(report: dict[str, Any], model: str, out: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("Disease", box=None)
    table.add_column("Probability", justify="right")
    table.add_column("Threshold", justify="right")
    table.add_column("")
    for disease in sorted(report["diseases"], key=lambda item: -item["probability"]):
        table.add_row(
            Text(f"{disease['name']} ({disease['abbreviation']})"),
            f"{disease['probability']:.3f}",
            f"{disease['threshold']:.3f}",
            "present" if disease["present"] else "",
        )
    table.add_row("Normal", f"{report['normal_probability']:.3f}", "", "")
    console = Console()
    console.print(Text(f"{model}: {report['disclaimer']}"), soft_wrap=True)
    console.print(table)
    for warning in report["exam"]["warnings"] + report["run"]["warnings"]:
        console.print(Text(f"Warning: {warning}"), soft_wrap=True)
    console.print(Text(f"Results: {out}"), soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())
