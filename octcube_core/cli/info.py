"""``octcube info``: what an exam is, or which exams a folder or file holds."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any

from octcube_core.cli.arguments import add_exam
from octcube_core.cli.output import print_columns, print_json, print_lines, print_table, progress
from octcube_core.errors import ExamReadError, OCTCubeError

if TYPE_CHECKING:
    from octcube_core.exam import Exam
    from octcube_core.readers.entry import ExamEntry

UNKNOWN = "unknown"


def add(commands: Any) -> None:
    """Add the command."""
    info = commands.add_parser("info", help="say what an exam is, or which exams a folder holds")
    add_exam(info)
    info.add_argument("--json", action="store_true", help="print JSON; for several exams a list")
    info.add_argument(
        "--quick", action="store_true", help="of several exams, say only what their headers tell"
    )
    info.set_defaults(run=_info)


def _info(arguments: argparse.Namespace) -> None:
    from octcube_core.readers import find_exams, read_exam

    path, options = arguments.path, {"axes": arguments.axes, "shape": arguments.shape}
    if arguments.exam is None:
        found = _to_the_end(find_exams(path, **options), path)
        first, second = next(found, None), next(found, None)
        if first is not None and second is not None:
            _several(path, chain((first, second), found), arguments)
            return
        exam = first.read() if first else read_exam(path, **options)
    else:
        exam = read_exam(path, exam=arguments.exam, **options)
    facts = _facts(exam)
    if arguments.json:
        print_json(facts)
    else:
        print_table(_facts_rows(facts), facts["warnings"])


def _to_the_end(found: Iterator[ExamEntry], path: Path) -> Iterator[ExamEntry]:
    """The exams that are listed before an error, then the error as one that cannot be read."""
    any_listed = False
    try:
        for entry in found:
            any_listed = True
            yield entry
    except ExamReadError as error:
        if not any_listed:
            raise
        from octcube_core.readers.entry import unreadable

        yield unreadable(path, error)


def _facts(exam: Exam) -> dict[str, Any]:
    from octcube_core.export import exam_facts

    facts = exam_facts(exam)
    facts["sample_type"] = str(exam.volume.voxels.dtype)
    placed = exam.locations
    facts["bscan_locations"] = placed and {
        "count": len(placed.polylines),
        "image": exam.enface[placed.image].modality,
        "image_index": placed.image,
    }
    return facts


def _facts_rows(facts: dict[str, Any]) -> list[tuple[str, str]]:
    bscans, depth, width = facts["shape"]
    rows = [
        ("Format", facts["format"] or UNKNOWN),
        ("Modalities", ", ".join(facts["modalities"])),
        ("Eye", facts["laterality"] or UNKNOWN),
        ("Device", facts["device"] or UNKNOWN),
        ("Scan pattern", facts["scan_pattern"] or UNKNOWN),
        (
            "Volume",
            f"{bscans} B-scan{'s' if bscans != 1 else ''} of {depth} x {width} (depth x width), {facts['sample_type']}",
        ),
    ]
    names = ("between B-scans", "axial", "lateral")
    spacings = zip(names, facts["spacing_mm"], strict=True)
    rows.append(("Spacing", ", ".join(f"{name} {_micrometres(value)}" for name, value in spacings)))
    for image in facts["enface"]:
        height, columns = image["shape"]
        row, column = (_micrometres(value) for value in image["spacing_mm"])
        pixel = row if row == column else f"{row} x {column}"
        name = "OCT en face" if image["modality"] == "OCT" else image["modality"]
        rows.append((name, f"{height} x {columns} pixels, pixel {pixel}"))
    placed = facts["bscan_locations"]
    places = UNKNOWN
    if placed:
        plural = "s" if placed["count"] > 1 else ""
        places = f"{placed['count']} place{plural} on the {placed['image']} image"
    return [*rows, ("B-scans on en face", places)]


def _several(path: Path, found: Iterator[ExamEntry], arguments: argparse.Namespace) -> None:
    rows = []
    with progress() as on_progress:
        on_progress("Looking for exams", 0.0)
        entries = list(found)
        for number, entry in enumerate(entries, 1):
            on_progress(f"Exam {number} of {len(entries)}", (number - 1) / len(entries))
            rows.append({"exam": number, **_row(path, entry, arguments.quick)})
    if arguments.json:
        print_json(rows)
    else:
        _print_rows(rows)
    if all(row["error"] for row in rows):
        raise ExamReadError(f"None of the {len(rows)} exams in {path.name or path} can be read.")


def _row(path: Path, entry: ExamEntry, quick: bool) -> dict[str, Any]:
    """What is known of one exam of several; the exam itself is not kept."""
    row: dict[str, Any] = {
        "name": entry.name_below(path),
        "format": entry.format,
        "laterality": entry.laterality,
        "scan_pattern": entry.scan_pattern,
        "modalities": list(entry.modalities),
        "shape": list(entry.shape) if entry.shape else None,
        "spacing_mm": None,
        "device": entry.device,
        "warnings": [],
        "error": None,
    }
    if quick and entry.format:
        return row
    try:
        facts = _facts(entry.read())
    except OCTCubeError as error:
        return row | {"error": str(error)}
    return row | {name: facts[name] for name in row if name in facts}


def _print_rows(rows: list[dict[str, Any]]) -> None:
    header = ["#", "Exam", "Format", "Eye", "Scan", "Modalities", "Size", "Spacing (um)", "Device"]
    table = []
    for row in rows:
        size = " x ".join(str(number) for number in row["shape"] or ()) or "?"
        cells = [str(row["exam"]), row["name"], row["format"] or "?", row["laterality"] or "?"]
        cells += [row["scan_pattern"] or "?", ", ".join(row["modalities"]) or "?", size]
        cells += [_spacings(row["spacing_mm"]), row["device"] or "?"]
        table.append([*cells, row["error"] or ""])
    errors = [f"{row['exam']}: {row['error']}" for row in rows if row["error"]]
    if errors and not sys.stdout.isatty():
        print_columns([*header, "Error"], table)
        return
    print_columns(header, [cells[:-1] for cells in table])
    print_lines(*errors)  # a sentence would leave the other columns no room in a terminal


def _spacings(spacing_mm: list[float | None] | None) -> str:
    if spacing_mm is None or all(value is None for value in spacing_mm):
        return "?"
    return " x ".join("?" if value is None else f"{value * 1000:.4g}" for value in spacing_mm)


def _micrometres(spacing_mm: float | None) -> str:
    return UNKNOWN if spacing_mm is None else f"{spacing_mm * 1000:.4g} um"
