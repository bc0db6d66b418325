"""``octcube analyze``: scores of one exam, and pictures of why, or of many exams, as a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octcube_core.checkpoints.card import SALIENCY_LAYERS, SALIENCY_METHODS
from octcube_core.cli import analyze_table
from octcube_core.cli.arguments import add_exam, add_runtime, read_chosen
from octcube_core.cli.output import progress
from octcube_core.errors import printable

if TYPE_CHECKING:
    from rich.table import Table


def add(commands: Any) -> None:
    """Add the command."""
    analyze = commands.add_parser(
        "analyze",
        help="score an exam and show why, or all exams of a folder into a table",
        description="Score an exam and show why, in a results folder. With --out FILE.parquet or FILE.csv: score "
        "every exam of a folder or file, a row each. What cannot be analysed is a row that says why; a run that was "
        "ended goes on with --resume. The table holds each exam's path, without which it would be of no use, and "
        "nothing else of who the patient is unless --with-patient asks for it.",
    )
    add_exam(analyze)
    analyze.add_argument("--model", required=True, metavar="NAME_OR_FILE", help="e.g. demo")
    analyze.add_argument(
        "--out",
        required=True,
        type=Path,
        metavar="DIR",
        help="results folder; or FILE.parquet or FILE.csv, a table of all exams",
    )
    add_runtime(analyze)
    analyze.add_argument(
        "--saliency", choices=tuple(SALIENCY_METHODS), help="default: what the model's card says"
    )
    analyze.add_argument(
        "--layer",
        choices=SALIENCY_LAYERS,
        help="norm of the last block that saliency looks at: norm1 before its attention, norm2 after it "
        "(default: what the model's card says)",
    )
    analyze.add_argument(
        "--fast",
        action="store_true",
        help="leave most of the background out: about twice as fast or more, with slightly other probabilities",
    )
    analyze.add_argument(
        "--dicom",
        action="store_true",
        help="write the saliency as DICOM Parametric Maps as well, which refer to the exam's DICOM files by UID and "
        "hold nothing else of the patient",
    )
    analyze_table.add(analyze)
    analyze.set_defaults(run=_analyze)


def _analyze(arguments: argparse.Namespace) -> None:
    if analyze_table.wanted(arguments):
        analyze_table.run(arguments)
        return
    from octcube_core.export import result_folder, scores_report, write_results
    from octcube_core.writers.dicom_reasons import check_dicom

    # Before the model is loaded: a folder that cannot be written to must not cost minutes.
    with result_folder(arguments.out) as folder, progress() as on_progress:
        on_progress("Reading the exam", 0.0)
        exam = read_chosen(arguments)
        if arguments.dicom:
            check_dicom(exam)
        on_progress("Loading the model", 0.0)
        from octcube_core.analysis import analyze
        from octcube_core.checkpoints import load_model

        model = load_model(
            arguments.model,
            device=arguments.device,
            precision=arguments.precision,
            on_progress=on_progress,
        )
        analysis = analyze(
            exam,
            model,
            saliency=arguments.saliency,
            layer=arguments.layer,
            fast=arguments.fast,
            on_progress=on_progress,
        )
        on_progress("Writing the results", 1.0)
        write_results(folder, exam, analysis)
        if arguments.dicom:
            from octcube_core.writers.dicom_saliency import write_all_saliency_dicom

            write_all_saliency_dicom(folder, exam, analysis)
    _print_report(scores_report(exam, analysis), analysis.card.title, arguments.out)


def _print_report(report: dict[str, Any], model: str, out: Path) -> None:
    from rich.console import Console
    from rich.text import Text

    lines = [f"Note: {note}" for note in report["run"]["notes"]]
    warnings = report["exam"]["warnings"] + report["run"]["warnings"]
    lines += [f"Warning: {warning}" for warning in warnings]
    console = Console()
    console.print(Text(f"{printable(model)}: {report['disclaimer']}"), soft_wrap=True)
    if report["diseases"]:
        console.print(_diseases(report))
    if report["measurements"]:
        console.print(_measurements(report))
    if not (report["diseases"] or report["measurements"]):
        embedded = ", ".join(
            f"{modality} ({embedding['features']} features)"
            for modality, embedding in report["embeddings"].items()
        )
        console.print(
            Text(f"This model gives no scores; its result is the embedding of {embedded}."),
            soft_wrap=True,
        )
    for line in (*lines, f"Results: {out}"):
        console.print(Text(line), soft_wrap=True)


def _diseases(report: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("Disease", box=None)
    table.add_column("Probability", justify="right")
    table.add_column("Threshold", justify="right")
    table.add_column("")
    for disease in sorted(report["diseases"], key=lambda item: -item["probability"]):
        table.add_row(
            Text(printable(f"{disease['name']} ({disease['abbreviation']})")),
            f"{disease['probability']:.3f}",
            f"{disease['threshold']:.3f}",
            "present" if disease["present"] else "",
        )
    if report["normal_probability"] is not None:
        table.add_row("Normal", f"{report['normal_probability']:.3f}", "", "")
    return table


def _measurements(report: dict[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("Measurement", box=None)
    table.add_column("Value", justify="right")
    table.add_column("")
    for measurement in report["measurements"]:
        table.add_row(
            Text(printable(f"{measurement['name']} ({measurement['abbreviation']})")),
            f"{measurement['value']:.3f}",
            Text(printable(measurement["unit"])),
        )
    return table
