"""``octcube analyze``: scores, saliency and a montage of one exam."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from octcube_core.checkpoints.card import SALIENCY_METHODS
from octcube_core.cli.arguments import add_exam, add_runtime, read_chosen
from octcube_core.cli.output import progress


def add(commands: Any) -> None:
    """Add the command."""
    analyze = commands.add_parser("analyze", help="score an exam and show why")
    add_exam(analyze)
    analyze.add_argument("--model", required=True, metavar="NAME_OR_FILE", help="e.g. demo")
    analyze.add_argument("--out", required=True, type=Path, metavar="DIR", help="results folder")
    add_runtime(analyze)
    analyze.add_argument(
        "--saliency", choices=tuple(SALIENCY_METHODS), help="default: what the model's card says"
    )
    analyze.set_defaults(run=_analyze)


def _analyze(arguments: argparse.Namespace) -> None:
    from octcube_core.export import result_folder, scores_report, write_results

    # Before the model is loaded: a folder that cannot be written to must not cost minutes.
    with result_folder(arguments.out) as folder, progress() as on_progress:
        on_progress("Reading the exam", 0.0)
        exam = read_chosen(arguments)
        on_progress("Loading the model", 0.0)
        from octcube_core.analysis import analyze
        from octcube_core.checkpoints import load_model

        model = load_model(
            arguments.model,
            device=arguments.device,
            precision=arguments.precision,
            on_progress=on_progress,
        )
        analysis = analyze(exam, model, saliency=arguments.saliency, on_progress=on_progress)
        on_progress("Writing the results", 1.0)
        write_results(folder, exam, analysis)
    report = scores_report(exam, analysis)
    _print_scores(report, analysis.card.title, arguments.out)


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
