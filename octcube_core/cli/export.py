"""``octcube export``: an exam as DICOM, OME-TIFF or a folder of images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from octcube_core.cli.arguments import add_exam, read_chosen


def add(commands: Any) -> None:
    """Add the command."""
    from octcube_core.writers import TARGETS, TRANSFER_SYNTAXES

    export = commands.add_parser(
        "export", help="write an exam as DICOM, OME-TIFF or images, without the patient's identity"
    )
    add_exam(export)
    export.add_argument("--to", required=True, choices=TARGETS, help="what to write")
    export.add_argument(
        "--out",
        type=Path,
        help="a new folder (default: exam-dicom, exam-folder), for ome-tiff a new file (exam.ome.tif)",
    )
    export.add_argument(
        "--keep-identity",
        action="store_true",
        help="write name, id, birth date and exam date into DICOM files",
    )
    export.add_argument(
        "--transfer-syntax",
        choices=TRANSFER_SYNTAXES,
        default="explicit",
        help="how DICOM files are stored, always without loss (default: explicit)",
    )
    export.set_defaults(run=_export)


def _export(arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.text import Text

    from octcube_core.writers import write_exam

    # The name of the source may tell the patient's, so that it is no default.
    out = arguments.out or Path(
        "exam.ome.tif" if arguments.to == "ome-tiff" else f"exam-{arguments.to}"
    )
    notes = write_exam(
        read_chosen(arguments),
        out,
        arguments.to,
        keep_identity=arguments.keep_identity,
        transfer_syntax=arguments.transfer_syntax,
    )
    console = Console()
    for note in notes:
        console.print(Text(f"Note: {note}"), soft_wrap=True)
    console.print(Text(f"Written: {out}"), soft_wrap=True)
